"""Services of one revision alone, `NAME-REVISION`: what weights by revision are given to.

Pure. Providers Router and GatewayAPI build them; the endpoint, Service NAME, is `service`'s.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from model_operator import naming
from model_operator.observed import Observed, Resource
from model_operator.route import Route
from model_operator.traffic import service

Body = dict[str, Any]


def revision_service(resource: Resource, revision: str) -> Body:
    """Service NAME-REVISION."""
    labels = naming.revision_labels(resource.name, revision)
    name = naming.revision_child(resource.name, revision)
    return service.of_one_revision(resource, name, labels, revision)


def nameable(route: Route, known: Container[str]) -> Route:
    """The route, without a canary of weight 0 that is not among the known: it gets no request, so
    nothing waits until it can be named.
    """
    return route if route.weight or route.canary in known else Route(route.stable)


def running(observed: Observed) -> list[str]:
    """Revisions that have pods or are asked to have some. Each has its Service, so that going to
    it waits for none.
    """
    return [
        revision
        for revision, deployment in observed.deployments.items()
        if deployment["spec"].get("replicas", 1) or observed.pods.get(revision)
    ]


def unused(observed: Observed, used: Iterable[str]) -> list[tuple[str, str]]:
    """Kind and name of those that exist for other revisions than the ones that are used."""
    kept = frozenset(used)
    return [
        ("Service", naming.revision_child(observed.resource.name, revision))
        for revision in sorted(observed.revision_services)
        if revision not in kept
    ]
