"""Every name under which a pass may write something. Pure; asked by `observe`, which looks whether
somebody else has an object of that name: an apply would take it over.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_operator import autoscaling, budgets, naming, resolver, revisions
from model_operator.observed import Observed, Resolution
from model_operator.traffic import providers, side_services

Key = tuple[str, str]
"""Kind and name."""


def may_be_written(observed: Observed) -> Iterator[Key]:
    """Whatever the step is, and whether or not it is known what the spec means."""
    resource = observed.resource
    found = _revisions(observed)
    names = [naming.revision_child(resource.name, r) for r in found]
    provider = providers.name_of(observed)
    kinds = ["ControllerRevision", "Deployment"]
    if provider != "Service":
        kinds.append("Service")
    yield from ((kind, name) for name in names for kind in kinds)
    for name, revision in zip(names, found, strict=True):
        if budgets.may_be_written(observed, revision):
            yield budgets.KIND, name
    yield from providers.names(resource, provider)
    if job := resolver.name_to_be_written(observed):
        yield resolver.KIND, job
    if autoscaling.is_on(observed):
        yield autoscaling.KIND, resource.name
    if resource.spec is not None:
        yield from side_services.names(resource.name, resource.spec.strategy.type)


def _revisions(observed: Observed) -> list[str]:
    """Those that there are, that serve, or that the spec means: any of them may be gone back to."""
    found = {*observed.records, *observed.deployments}
    if isinstance(observed.resolution, Resolution):
        model = observed.resolution.model
        found.add(revisions.revision_id(model.sha256, observed.resource.server))
    if observed.resource.status.stable is not None:
        found.add(observed.resource.status.stable.revision)
    return sorted(found)
