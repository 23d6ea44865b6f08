"""All traffic providers by their names in the spec, and the way from one to another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from model_operator import resources
from model_operator.observed import Observed, Resource
from model_operator.route import Reading
from model_operator.traffic import gateway_api, gateway_parents, router, router_objects
from model_operator.traffic.gateway_api import GatewayApi
from model_operator.traffic.provider import Provider, Providers
from model_operator.traffic.router import ROUTER
from model_operator.traffic.service import SERVICE
from model_operator.verdict import Verdict

PROVIDERS: Providers = {"Service": SERVICE, "Router": ROUTER, "GatewayAPI": GatewayApi()}


def chosen(observed: Observed) -> Provider:
    """The provider by which requests are divided now."""
    return PROVIDERS[name_of(observed)]


def name_of(observed: Observed) -> str:
    """The one that the spec names. What an invalid spec says of traffic may be lost, and nothing
    new starts by it: with such a spec it is the one that is in use.
    """
    spec = observed.resource.spec
    if spec is not None and not observed.resource.invalid:
        return spec.traffic.provider
    if observed.http_route is not None:
        return "GatewayAPI"
    return "Router" if router.endpoint_names_router(observed) else "Service"


def read(observed: Observed, provider: Provider) -> Reading:
    """What the provider says; while clients are still sent to the router of a provider before,
    what that one says, as something that is not confirmed.
    """
    if provider is ROUTER or not router.endpoint_names_router(observed):
        return provider.read(observed)
    why = "clients are still sent to the router"
    return replace(ROUTER.read(observed), confirmed=False, actual={}, why=why)


def obsolete(observed: Observed) -> Iterator[tuple[str, str]]:
    """What no provider needs any more, by kind and name, each once."""
    every = [key for provider in PROVIDERS.values() for key in provider.obsolete(observed)]
    return iter(dict.fromkeys(every))


def look_again(observed: Observed, reading: Reading) -> timedelta | None:
    """When to look at a data plane again that has not confirmed yet, and tells nobody when."""
    if reading.confirmed or not reading.why:
        return None
    name = name_of(observed)
    if name == "Router":
        return router.look_again(observed)
    return gateway_api.POLL if name == "GatewayAPI" else None


def obstacle(observed: Observed) -> Verdict | None:
    """What somebody has to mend before the provider that the spec names can work."""
    return gateway_api.obstacle(observed) or router.obstacle(observed)


def names(resource: Resource, provider: str) -> tuple[tuple[str, str], ...]:
    """Kind and name of what a provider writes beside the endpoint and the revisions."""
    router_name = router_objects.router_name(resource)
    beside = {
        "Router": tuple(
            (kind, router_name) for kind in ("ConfigMap", "Deployment", resources.BUDGET_KIND)
        ),
        "GatewayAPI": ((gateway_parents.KIND, resource.name),),
    }
    return beside.get(provider, ())


def is_router(resource: Resource, pod: Mapping[str, Any]) -> bool:
    """Whether a pod is one of the resource's router."""
    wanted = router_objects.pod_selector(resource.name)
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return wanted.items() <= labels.items()
