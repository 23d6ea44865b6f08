"""Traffic through a Gateway of the cluster's: an HTTPRoute whose backends have weights.

Pure, as every provider. The HTTPRoute `NAME` gives each revision's Service its percent, and an
annotation of it, written in the same apply, says which of them is stable. Service `NAME` gives
clients within the cluster stable alone. Protocol: https://gateway-api.sigs.k8s.io/api-types/httproute/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from model_operator import api, naming, reasons, resources
from model_operator.diagnosis import is_ready
from model_operator.observed import Observed
from model_operator.route import Reading, Route
from model_operator.traffic import (
    gateway_parents,
    revision_services,
    router_objects,
    service,
)
from model_operator.traffic.gateway_parents import GROUP, KIND
from model_operator.verdict import Verdict

Body = dict[str, Any]

STABLE_ANNOTATION = f"{api.GROUP}/stable-revision"
"""Of the HTTPRoute: which of its backends is stable."""
POLL = timedelta(seconds=2)
"""When to look again while a Gateway's controller has not confirmed."""
_PORT = service.PORTS[0]["port"]


class GatewayApi:
    """Exact weights by the Gateways that `spec.traffic.gateway.parentRefs` names."""

    exact = True

    def objects(self, observed: Observed, route: Route) -> Sequence[Body]:
        """The revisions' Services, the HTTPRoute, then the endpoint.

        A backend whose Service a Gateway does not know answers 500. So the HTTPRoute waits until
        every Service that it names has been seen, and so does an endpoint that exists already.
        """
        resource = observed.resource
        revisions = route.weights | dict.fromkeys(revision_services.running(observed), 0)
        services = [revision_services.revision_service(resource, r) for r in revisions]
        attached = _attachment(observed)
        route = revision_services.nameable(route, observed.revision_services)
        stable, routes = route.stable, []
        if attached is not None and route.weights.keys() <= observed.revision_services.keys():
            routes = [http_route(observed, route, attached)]
        elif attached is not None and (written := written_route(observed)):
            stable = written.stable
        endpoint = service.endpoint(observed, naming.pod_selector(resource.name, stable))
        return [*services, *routes, endpoint]

    def read(self, observed: Observed) -> Reading:
        """The route that is written, confirmed once every parent has taken it over and the
        endpoint lists the stable revision's ready pods. Before the first, what the endpoint gives.
        """
        written, endpoint = written_route(observed), service.SERVICE.read(observed)
        if written is None:
            why = _why_no_route(observed)
            return Reading(endpoint.route, reachable=endpoint.reachable, why=why)
        why = next(gateway_parents.doubts(observed.http_route or {}), "")
        confirmed = not why and endpoint.route == Route(written.stable) and endpoint.confirmed
        ready = {r: sum(map(is_ready, observed.pods.get(r, ()))) for r in written.weights}
        return Reading(
            route=written,
            confirmed=confirmed,
            actual=written.weights if confirmed else {},
            reachable=ready,
            why=why,
        )

    def cannot_divide(self, observed: Observed, route: Route) -> str:
        """No Gateway can know a Service that is not there yet."""
        route = revision_services.nameable(route, observed.revision_services)
        missing = sorted(route.weights.keys() - observed.revision_services.keys())
        names = (naming.revision_child(observed.resource.name, revision) for revision in missing)
        return f"Service {', '.join(names)} is not there yet" if missing else ""

    def obsolete(self, observed: Observed) -> Sequence[tuple[str, str]]:
        """The HTTPRoute once the spec names another provider, and after it the Services that
        neither a route nor a router, an ending one included, gives requests to. A revision that
        has pods keeps its Service, so that going back to it waits for nothing.
        """
        spec = observed.resource.spec
        provider = spec.traffic.provider if spec else "GatewayAPI"
        if provider != "GatewayAPI" and observed.http_route is not None:
            return [(KIND, observed.resource.name)]
        if provider == "Service" and not router_objects.written_text(observed):
            return revision_services.unused(observed, ())
        reading = self.read(observed)
        if provider != "GatewayAPI" or reading.route is None or not reading.confirmed:
            return []
        return revision_services.unused(
            observed, {*reading.route.weights, *revision_services.running(observed)}
        )


def must_be_read(provider: str, services: bool) -> bool:  # noqa: FBT001 - one fact of two
    """Whether there may be an HTTPRoute: the spec asks for one, or Services of one revision each
    are left of the time when it did. They go after the HTTPRoute, so none is forgotten.
    """
    return provider == "GatewayAPI" or services


def obstacle(observed: Observed) -> Verdict | None:
    """What somebody has to mend before this provider can work; None where nothing is known."""
    spec = observed.resource.spec
    if spec is None or spec.traffic.provider != "GatewayAPI":
        return None
    if observed.gateway_api is None:
        return Verdict(True, reasons.GATEWAY_API_MISSING, _MISSING)
    for words in gateway_parents.refusals(observed.http_route or {}):
        return Verdict(True, reasons.ROUTE_REFUSED, words)
    return None


_MISSING = (
    f"spec.traffic.provider is GatewayAPI, but this cluster serves no {KIND} ({GROUP}, v1 or "
    "v1beta1): install the Gateway API and a controller for it, or choose another provider"
)


def http_route(observed: Observed, route: Route, attached: Body) -> Body:
    """The HTTPRoute, with the parents and host names in `attached`. A weight of 0 is written, too:
    so the Gateway knows the backend before its first request.
    """
    resource = observed.resource
    labels = naming.identity_labels(resource.name)
    metadata = resources.metadata(resource, resource.name, labels)
    backends = [
        {"name": naming.revision_child(resource.name, revision), "port": _PORT, "weight": weight}
        for revision, weight in route.weights.items()
    ]
    return {
        "apiVersion": f"{GROUP}/{observed.gateway_api}",
        "kind": KIND,
        "metadata": {**metadata, "annotations": {STABLE_ANNOTATION: route.stable}},
        "spec": {**attached, "rules": [{"backendRefs": backends}]},
    }


def _attachment(observed: Observed) -> Body | None:
    """Parents and host names; None where no HTTPRoute can be written. Those of an invalid spec
    may be lost: those that clients use now stay.
    """
    spec, live = observed.resource.spec, observed.http_route
    if observed.gateway_api is None:
        return None
    if observed.resource.invalid and live:
        return {
            key: live["spec"][key] for key in ("parentRefs", "hostnames") if key in live["spec"]
        }
    if spec is None or spec.traffic.gateway is None:
        return None
    gateway = spec.traffic.gateway
    parents = [p.model_dump(by_alias=True, exclude_none=True) for p in gateway.parent_refs]
    return {
        "parentRefs": parents,
        **({"hostnames": list(gateway.hostnames)} if gateway.hostnames else {}),
    }


def written_route(observed: Observed) -> Route | None:
    """The route that the HTTPRoute gives; None without one, or where it is not as this module
    writes it: somebody has changed it, and it is applied anew.
    """
    if observed.http_route is None:
        return None
    stable = observed.http_route["metadata"].get("annotations", {}).get(STABLE_ANNOTATION)
    weights = _weights(observed.http_route, f"{observed.resource.name}-")
    total = sum(weights.values())
    others = [revision for revision in weights if revision != stable]
    if stable not in weights or len(others) > 1 or not total:
        return None
    if not others:
        return Route(stable)
    return Route(stable, others[0], round(100 * weights[others[0]] / total))


def _weights(live: Mapping[str, Any], prefix: str) -> dict[str, int]:
    """Weights as they are written, by revision; empty where a backend is not a revision's."""
    rules = live["spec"].get("rules") or ()
    backends = [backend for rule in rules for backend in rule.get("backendRefs") or ()]
    names = [backend["name"] for backend in backends]
    if len(rules) != 1 or not all(name.startswith(prefix) for name in names):
        return {}
    return {b["name"].removeprefix(prefix): b.get("weight", 1) for b in backends}


def _why_no_route(observed: Observed) -> str:
    if observed.gateway_api is None:
        return _MISSING
    if observed.http_route is None:
        return f"{KIND} {observed.resource.name} is not written yet"
    return f"{KIND} {observed.resource.name} was changed by somebody else: it is written anew"
