"""Changes of the world, and what the operator must make of each: material for `views`.

Each is named with the one watch event that speaks of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_operator import naming, reasons
from tests.fault import workflows
from tests.fault.faults import Event
from tests.fault.paths import Request
from tests.fault.stage import NAME, Scene
from tests.operator.pod_player import Part

Check = Callable[[Scene], Awaitable[bool]]


@dataclass(frozen=True)
class LostNews:
    """A change whose news is lost."""

    name: str
    change: Callable[[Scene], Awaitable[None]]
    repaired: Check
    lost: Callable[[Request, Event], bool]
    """The one event that speaks of it."""


async def edit(scene: Scene) -> None:
    """Three pods instead of two."""
    await scene.submit(version=1, replicas=3)


async def three_serve(scene: Scene) -> bool:
    """The edit was followed."""
    return [body["spec"]["replicas"] for body in (await scene.deployments()).values()] == [3]


async def delete_deployment(scene: Scene) -> None:
    """Somebody deletes what serves."""
    (name,) = await scene.deployments()
    target = scene.path("deployments", naming.revision_child(NAME, name))
    await scene.admin.call("DELETE", target, {"propagationPolicy": "Background"})


async def scale_deployment(scene: Scene) -> None:
    """Somebody takes a pod from what serves."""
    (name,) = await scene.deployments()
    target = scene.path("deployments", naming.revision_child(NAME, name))
    await scene.admin.patch(target, {"spec": {"replicas": 1}})


async def two_serve(scene: Scene) -> bool:
    """What serves has its size again."""
    return [body["spec"]["replicas"] for body in (await scene.deployments()).values()] == [2]


async def misdirect_service(scene: Scene) -> None:
    """Somebody points the endpoint at a revision that does not exist."""
    labels = {naming.REVISION_LABEL: "0000000000"}
    await scene.admin.patch(scene.path("services"), {"spec": {"selector": labels}})


async def delete_service(scene: Scene) -> None:
    """Somebody deletes the endpoint."""
    await scene.admin.call("DELETE", scene.path("services"))


async def service_selects_stable(scene: Scene) -> bool:
    """The endpoint is right again."""
    found = await scene.admin.get(scene.path("services"))
    (name,) = await scene.deployments()
    return found is not None and found["spec"]["selector"].get(naming.REVISION_LABEL) == name


async def delete_record(scene: Scene) -> None:
    """Somebody deletes the record of what serves."""
    (name,) = await scene.deployments()
    record = naming.revision_child(NAME, name)
    path = f"/apis/apps/v1/namespaces/{scene.namespace}/controllerrevisions/{record}"
    await scene.admin.call("DELETE", path)


async def record_exists(scene: Scene) -> bool:
    """It was written again."""
    path = f"/apis/apps/v1/namespaces/{scene.namespace}/controllerrevisions"
    return len(await scene.admin.items(path)) == 1


async def delete_budget(scene: Scene) -> None:
    """Somebody deletes the budget of what serves."""
    path = await scene.admin.path_of_budgets(scene.namespace)
    (budget,) = await scene.admin.items(path)
    await scene.admin.call("DELETE", f"{path}/{budget['metadata']['name']}")


async def budget_exists(scene: Scene) -> bool:
    """It was written again."""
    path = await scene.admin.path_of_budgets(scene.namespace)
    return len(await scene.admin.items(path)) == 1


async def let_pods_be_ready(scene: Scene) -> None:
    """The pods of version 2, held until now, become ready."""
    scene.play(Part())


async def second_version_serves(scene: Scene) -> bool:
    """All requests go to version 2, and status says so."""
    status = (await scene.resource() or {}).get("status") or {}
    return bool((status.get("stable") or {}).get("version") == "2")


async def delete_and_recreate(scene: Scene) -> None:
    """Another resource under the same name, with another model."""
    await scene.delete()
    await workflows.gone(scene)
    await scene.submit(version=2)


async def is_ready(scene: Scene) -> bool:
    """The resource is ready in its present generation."""
    found = await scene.resource() or {}
    status = found.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    current = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
    return current and conditions.get(reasons.READY) == "True"


def _event(plural: str, *types: str) -> Callable[[Request, Event], bool]:
    def matches(request: Request, event: Event) -> bool:
        return request.plural == plural and event["type"] in types

    return matches


def _edited(request: Request, event: Event) -> bool:
    return (
        request.plural == "modeldeployments"
        and event["type"] == "MODIFIED"
        and event["object"]["metadata"]["generation"] > 1
    )


NEWS = (
    LostNews("the spec is edited", edit, three_serve, _edited),
    LostNews(
        "its Deployment is deleted", delete_deployment, two_serve, _event("deployments", "DELETED")
    ),
    LostNews(
        "its Deployment is scaled", scale_deployment, two_serve, _event("deployments", "MODIFIED")
    ),
    LostNews(
        "its Service is misdirected",
        misdirect_service,
        service_selects_stable,
        _event("services", "MODIFIED"),
    ),
    LostNews(
        "its Service is deleted",
        delete_service,
        service_selects_stable,
        _event("services", "DELETED"),
    ),
    LostNews(
        "its record is deleted",
        delete_record,
        record_exists,
        _event("controllerrevisions", "DELETED"),
    ),
    LostNews(
        "its budget is deleted",
        delete_budget,
        budget_exists,
        _event("poddisruptionbudgets", "DELETED"),
    ),
    LostNews(
        "it is deleted and made anew",
        delete_and_recreate,
        second_version_serves,
        _event("modeldeployments", "DELETED", "ADDED"),
    ),
)
NEWS_OF_A_ROLLOUT = (
    LostNews(
        "a pod becomes ready",
        let_pods_be_ready,
        second_version_serves,
        _event("pods", "MODIFIED"),
    ),
    LostNews(
        "the endpoints change",
        let_pods_be_ready,
        second_version_serves,
        _event("endpoints", "MODIFIED"),
    ),
)
