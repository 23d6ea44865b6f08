"""PodDisruptionBudgets: a drain of nodes takes one pod of a revision that serves at a time. Pure;
asked by `children`.

There is one for each revision that gets requests and is asked to have two pods or more, under the
name of its Deployment and over its pods alone: no pod is under two budgets, which the eviction API
would refuse to evict. A single pod has none: a budget could not keep it, and would hold up a drain
while it is not ready.

A revision keeps its budget until it is stopped. Until then it is the way back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model_operator import naming, resources, revisions
from model_operator.observed import Observed
from model_operator.rollout.view import Step
from model_operator.route import Route

Body = Mapping[str, Any]
Key = tuple[str, str]
KIND = resources.BUDGET_KIND
LEAST_PODS = 2
"""A revision with fewer has no budget."""


def wanted(observed: Observed, step: Step | None, route: Route | None) -> list[Body]:
    """The budgets as they have to be; none where the cluster has no such kind."""
    version = observed.budget_api
    if version is None:
        return []
    reached = {revision for revision, weight in route.weights.items() if weight} if route else set()
    covered = reached | {revision for revision, _ in _present(observed)}
    sizes = step.replicas if step else {}

    def size(revision: str) -> int:
        """What is asked of it; while it gets requests, not less than what it has still."""
        present = _present_size(observed, revision)
        asked = sizes.get(revision, present)
        return max(asked, present) if revision in reached else asked

    return [
        _budget(observed, revision, version)
        for revision in sorted(covered)
        if size(revision) >= LEAST_PODS
    ]


def unused(observed: Observed, kept: Iterable[Body]) -> list[Key]:
    """Kind and name of those that exist beside the ones that are kept."""
    names = {body["metadata"]["name"] for body in kept}
    return [(KIND, name) for _, name in _present(observed) if name not in names]


def may_be_written(observed: Observed, revision: str) -> bool:
    """Whether a pass may write a revision's budget: not while it rests, or is too small."""
    spec, deployment = observed.resource.spec, observed.deployments.get(revision)
    most = 0
    if spec is not None:
        most = spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas
    present = _present_size(observed, revision)
    rests = deployment is not None and not present and not observed.pods.get(revision)
    return not rests and max(present, most) >= LEAST_PODS


def _present(observed: Observed) -> list[tuple[str, str]]:
    """Revision and name of each that there is; the router's budget is none of them."""
    found = [
        (naming.revision_of(observed.resource.name, body), name)
        for (kind, name), body in observed.others.items()
        if kind == KIND
    ]
    return [(revision, name) for revision, name in found if revisions.is_id(revision)]


def _present_size(observed: Observed, revision: str) -> int:
    """How many pods a revision has been asked to have: a step may leave it alone."""
    deployment = observed.deployments.get(revision)
    size: int = deployment["spec"].get("replicas", 1) if deployment else 0
    return size


def _budget(observed: Observed, revision: str, version: str) -> Body:
    resource = observed.resource
    name = naming.revision_child(resource.name, revision)
    return resources.disruption_budget(
        resources.metadata(resource, name, naming.revision_labels(resource.name, revision)),
        naming.pod_selector(resource.name, revision),
        version,
    )
