"""Traffic through one Service: its selector says whose pods get requests. Provider Service.

Pure: a route to objects, objects to a confirmed route. While one revision has all requests the
selector names it: one write moves every new connection at once, and is the commit of a rollout.
While two divide them it names only the ModelDeployment, and the ratio of ready pods decides; an
annotation, written with it, says which of them is stable and what was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from model_operator import api, diagnosis, naming, resources
from model_operator.api import ServiceSettings
from model_operator.observed import Observed, Resource
from model_operator.route import Reading, Route

Body = dict[str, Any]

PORTS = ({"name": "http", "port": 80}, {"name": "http-8000", "port": 8000})


ROUTE_ANNOTATION = f"{api.GROUP}/route"


class ServiceProvider:
    """Divides requests by the number of ready pods, per connection."""

    exact = False

    def objects(self, observed: Observed, route: Route) -> Sequence[Body]:
        """The endpoint alone. It gives stable everything while it cannot divide, and with a canary
        of weight 0: a selector can name no revision without giving it requests.
        """
        resource = observed.resource
        if route.weight and not self.cannot_divide(observed, route):
            return [endpoint(observed, naming.server_selector(resource.name), _as_text(route))]
        return [endpoint(observed, naming.pod_selector(resource.name, route.stable))]

    def read(self, observed: Observed) -> Reading:
        """By the selector, the annotation and the pods that the endpoint lists."""
        route = _written(observed.service)
        if route is None:
            return Reading(approximate=True)
        confirmed = is_confirmed(observed, *route.weights)
        reachable = {
            revision: len(_ready(observed, revision) & (observed.endpoint_pods or frozenset()))
            for revision in route.weights
        }
        return Reading(
            route=route,
            confirmed=confirmed,
            actual=_percent(route, reachable) if confirmed else {},
            reachable=reachable,
            approximate=True,
        )

    def cannot_divide(self, observed: Observed, route: Route) -> str:
        """A selector that names no revision would also reach the pods of a retired one."""
        if not route.weight:
            return ""
        retired = sum(
            not diagnosis.is_terminating(pod)
            for revision, pods in observed.pods.items()
            if revision not in (route.stable, route.canary)
            for pod in pods
        )
        if retired == 1:
            return "1 pod of an older revision has to end first"
        return f"{retired} pods of older revisions have to end first" if retired else ""

    def obsolete(self, observed: Observed) -> Sequence[tuple[str, str]]:  # noqa: ARG002
        """Nothing: the endpoint is always there."""
        return ()


SERVICE = ServiceProvider()


def endpoint(observed: Observed, selector: Mapping[str, str], route: str | None = None) -> Body:
    """The Service that clients use, selecting the pods that get the requests."""
    resource = observed.resource
    settings = _settings(observed)
    metadata = resources.metadata(resource, resource.name, naming.identity_labels(resource.name))
    annotations = {
        **((settings.annotations if settings else None) or {}),
        **({ROUTE_ANNOTATION: route} if route else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
        "spec": {
            **({"type": settings.type} if settings else {}),
            "selector": dict(selector),
            "ports": _ports(),
        },
    }


def of_one_revision(
    resource: Resource, name: str, labels: Mapping[str, str], revision: str
) -> Body:
    """A Service that has exactly one revision's pods, on the endpoint's ports. It is reached from
    within the cluster alone: the endpoint's type and annotations are not its own.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": resources.metadata(resource, name, labels),
        "spec": {
            "type": "ClusterIP",
            "selector": naming.pod_selector(resource.name, revision),
            "ports": _ports(),
        },
    }


def _ports() -> list[Body]:
    return [{**port, "targetPort": "http", "protocol": "TCP"} for port in PORTS]


def _settings(observed: Observed) -> ServiceSettings | None:
    """The spec's. An invalid spec may have lost them: those that clients use now stay."""
    resource, live = observed.resource, observed.service
    if not resource.invalid or live is None:
        return resource.spec.traffic.service if resource.spec else None
    annotations = live["metadata"].get("annotations") or {}
    return ServiceSettings.model_construct(
        type=live["spec"].get("type", "ClusterIP"),
        annotations={k: v for k, v in annotations.items() if k != ROUTE_ANNOTATION} or None,
    )


def _as_text(route: Route) -> str:
    return json.dumps(
        {"stable": route.stable, "canary": route.canary, "weight": route.weight},
        sort_keys=True,
    )


def serving_revision(service: Mapping[str, Any] | None) -> str | None:
    """The revision that the endpoint gives all requests to; None where its selector names none."""
    if service is None:
        return None
    revision: str | None = service["spec"].get("selector", {}).get(naming.REVISION_LABEL)
    return revision


def is_confirmed(observed: Observed, *revisions: str) -> bool:
    """Whether the endpoint lists exactly the ready pods of the revisions, and at least one."""
    expected = frozenset().union(*(_ready(observed, revision) for revision in revisions))
    return bool(expected) and observed.endpoint_pods == expected


def _written(service: Mapping[str, Any] | None) -> Route | None:
    """The route that a live endpoint stands for; None where it stands for none."""
    if service is None:
        return None
    if revision := serving_revision(service):
        return Route(revision)
    text = (service["metadata"].get("annotations") or {}).get(ROUTE_ANNOTATION, "")
    try:
        read = json.loads(text)
        stable, canary, weight = read["stable"], read["canary"], read["weight"]
    except (ValueError, KeyError, TypeError):
        return None
    well_formed = isinstance(stable, str) and isinstance(canary, str) and type(weight) is int
    return Route(stable, canary, weight) if well_formed and 0 < weight <= 100 else None


def _ready(observed: Observed, revision: str) -> frozenset[str]:
    pods = observed.pods.get(revision, ())
    return frozenset(pod["metadata"]["name"] for pod in pods if diagnosis.is_ready(pod))


def _percent(route: Route, reachable: Mapping[str, int]) -> dict[str, int]:
    """Whole percents that sum to 100."""
    canary = reachable.get(route.canary or "", 0)
    share = round(100 * canary / sum(reachable.values()))
    if route.canary is None or not route.weight:
        return {route.stable: 100}
    return {route.stable: 100 - share, route.canary: share}
