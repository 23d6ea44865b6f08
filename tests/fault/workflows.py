"""What users do to a ModelDeployment, as the campaign plays it: one function for each workflow.

A workflow first prepares a scene, undisturbed; then it acts, and that is where the operator dies.
It waits for what the world shows, never for the operator, so it runs the same way over a death.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from model_operator import naming, reasons
from tests.fault.pod_answers import Says
from tests.fault.stage import NAME, READY_AFTER_SECONDS, Scene
from tests.operator.builders import crashed
from tests.operator.pod_player import Part

Act = Callable[[Scene], Awaitable[None]]
Body = dict[str, Any]
GONE_DEADLINE_SECONDS = 120.0
REST_OF_STATUS = {"ready": False, "restartCount": 1, "imageID": ""}


@dataclass(frozen=True)
class Workflow:
    """One story; `act` ends when its outcome is there."""

    name: str
    prepare: Act
    act: Act


async def ready(scene: Scene) -> None:
    """The present generation is rolled out and everything older has stopped."""
    await scene.until_condition(reasons.READY, "True", reasons.COMPLETE)
    await scene.until_settled()


async def nothing(scene: Scene) -> None:
    """Prepares nothing."""


async def one_serves(scene: Scene) -> None:
    """Version 1 serves with two pods."""
    await scene.submit(version=1)
    await ready(scene)


async def one_serves_alone(scene: Scene) -> None:
    """Version 1 serves, by strategy Recreate."""
    scene.spec["strategy"] = {"type": "Recreate"}
    await one_serves(scene)


async def one_serves_without_history(scene: Scene) -> None:
    """Version 1 serves; what has stopped is deleted."""
    scene.spec["revisionHistoryLimit"] = 0
    await one_serves(scene)


async def update_and_forget(scene: Scene) -> None:
    """Another version, and nothing is kept of the one before."""
    await update(scene)

    async def forgotten() -> bool:
        records = f"/apis/apps/v1/namespaces/{scene.namespace}/controllerrevisions"
        sets = f"/apis/apps/v1/namespaces/{scene.namespace}/replicasets"
        lists = [await scene.admin.items(path) for path in (records, sets)]
        return [len(found) for found in (await scene.deployments(), *lists)] == [1, 1, 1]

    await scene.until(forgotten, "the retired revision is deleted")


async def two_serves(scene: Scene) -> None:
    """Version 2 serves, version 1 has stopped."""
    await one_serves(scene)
    await update(scene)


async def create(scene: Scene) -> None:
    """A new resource."""
    await scene.submit(version=1)
    await ready(scene)


async def update(scene: Scene) -> None:
    """Another version."""
    await scene.submit(version=2)
    await ready(scene)


async def scale(scene: Scene) -> None:
    """Two more pods, then one less: no new revision."""
    for replicas in (4, 3):
        await scene.submit(version=1, replicas=replicas)
        await ready(scene)


async def start_version_2_and_hold_it(scene: Scene) -> None:
    """Version 2 has started as far as it gets without ready pods."""
    scene.play(Part(delay=_soon, held=_is_of("2")))
    await scene.submit(version=2)

    async def waits() -> bool:
        started = [
            pod
            for pod in await scene.pods()
            if _is_of("2")(pod) and "podIP" in (pod.get("status") or {})
        ]
        return len(started) == 2

    await scene.until(waits, "both pods of version 2 have started")
    await scene.until_condition(reasons.READY, "False", reasons.STARTING)
    await scene.until_quiet()


async def version_2_stopped(scene: Scene) -> None:
    """Only version 1 has pods: those of version 2 end after the verdict was recorded."""

    async def alone() -> bool:
        sizes = {
            name: body["spec"]["replicas"] for name, body in (await scene.deployments()).items()
        }
        return sum(sizes.values()) - sizes.get("router", 0) == 2

    await scene.until(alone, "version 2 is stopped")
    await scene.until_settled()


async def update_to_a_broken_version(scene: Scene) -> None:
    """Version 2's bytes are refused in its pods: it is stopped, and version 1 serves on."""
    await start_version_2_and_hold_it(scene)
    scene.play(Part(delay=_soon, trouble=_refused))
    await scene.until_condition(reasons.STALLED, "True", reasons.MODEL_REFUSED)
    await version_2_stopped(scene)


async def roll_back_in_mid_rollout(scene: Scene) -> None:
    """The spec goes back while version 2 starts."""
    await start_version_2_and_hold_it(scene)
    await scene.submit(version=1)
    await ready(scene)


async def roll_back_afterwards(scene: Scene) -> None:
    """The spec goes back when version 2 serves."""
    await scene.submit(version=1)
    await ready(scene)


async def abort(scene: Scene) -> None:
    """The action abort, while version 2 starts."""
    await start_version_2_and_hold_it(scene)
    await scene.ask("abort")
    await scene.until_condition(reasons.STALLED, "True", reasons.ABORTED)
    await version_2_stopped(scene)


async def roll_back_by_action(scene: Scene) -> None:
    """The action rollback, when version 2 serves and version 1 has stopped."""
    records = await scene.admin.items(
        f"/apis/apps/v1/namespaces/{scene.namespace}/controllerrevisions"
    )
    first = min(records, key=lambda record: int(record["revision"]))
    await scene.ask("rollback", revision=naming.revision_of(NAME, first))
    await scene.until_condition(reasons.STALLED, "True", reasons.ROLLED_BACK)
    await scene.until_settled()


async def model_not_found(scene: Scene) -> None:
    """A version that the registry does not know; version 1 serves on."""
    await scene.submit(version=99)
    await scene.until_condition(reasons.STALLED, "True", reasons.MODEL_NOT_FOUND)


async def model_not_found_then_mended(scene: Scene) -> None:
    """A new resource with an unknown version, and then with one that exists."""
    await model_not_found(scene)
    await scene.until_quiet()
    await scene.submit(version=1)
    await ready(scene)


async def delete(scene: Scene) -> None:
    """The resource and everything that belongs to it goes."""
    await scene.delete()
    await gone(scene)


async def create_and_delete(scene: Scene) -> None:
    """A whole life."""
    await create(scene)
    await scene.until_quiet()
    await delete(scene)


async def delete_in_mid_rollout(scene: Scene) -> None:
    """The resource goes while version 2 starts."""
    await start_version_2_and_hold_it(scene)
    await delete(scene)


async def gone(scene: Scene) -> None:
    """Nothing of the resource is left."""

    async def is_empty() -> bool:
        if await scene.resource() or await scene.pods() or await scene.deployments():
            return False
        rest = [
            f"/api/v1/namespaces/{scene.namespace}/services",
            f"/apis/apps/v1/namespaces/{scene.namespace}/controllerrevisions",
            f"/apis/apps/v1/namespaces/{scene.namespace}/replicasets",
            f"/api/v1/namespaces/{scene.namespace}/endpoints",
        ]
        return not any([await scene.admin.items(path) for path in rest])

    await scene.until(is_empty, f"nothing is left of {NAME}", GONE_DEADLINE_SECONDS)


def _is_of(version: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a pod runs a version of the model."""
    uri = f"models:/cats-dogs/{version}"

    def matches(pod: dict[str, Any]) -> bool:
        return any(uri in (c.get("command") or ()) for c in pod["spec"].get("initContainers", ()))

    return matches


def _refused(pod: dict[str, Any]) -> dict[str, Any] | None:
    """What the kubelet says of a version 2 whose digest is not the one that was asked for."""
    if not _is_of("2")(pod):
        return None
    sentence = "models:/cats-dogs/2 has sha256 aaa, expected bbb"
    return {**crashed(3, sentence, name="fetch"), **REST_OF_STATUS}


def _soon(pod: dict[str, Any]) -> float:
    return READY_AFTER_SECONDS


CANARY: Body = {
    "type": "Canary",
    "canary": {
        "steps": [
            {"setWeight": 25},
            {"pause": {"duration": "2s"}},
            {"setWeight": 50},
            {"pause": {}},
        ]
    },
    "scaleDownDelaySeconds": 20,
}
ANALYSIS: Body = {
    "interval": "1s",
    "failureLimit": 0,
    "minRequests": 10,
    "metrics": [{"name": "error-rate", "max": 0.01}],
}
ROUTER: Body = {"provider": "Router"}


def one_serves_by(strategy: str, **spec: Any) -> Act:
    """Version 1 serves, and what comes next is introduced by a strategy."""

    async def prepare(scene: Scene) -> None:
        chosen = CANARY if strategy == "Canary" else {"type": strategy, "scaleDownDelaySeconds": 20}
        scene.spec |= {"strategy": chosen, **spec}
        await one_serves(scene)

    return prepare


async def introduce(scene: Scene, version: int = 2) -> None:
    """A version gets as far as it gets without being promoted."""
    await scene.submit(version=version)
    await scene.until_condition(reasons.READY, "False", reasons.AWAITING_PROMOTION)


async def promote(scene: Scene) -> None:
    """Another version, promoted when it waits for that."""
    await introduce(scene)
    await scene.ask("promote")
    await ready(scene)


async def abort_while_it_waits(scene: Scene) -> None:
    """Another version, aborted when it waits to be promoted."""
    await introduce(scene)
    await scene.ask("abort")
    await scene.until_condition(reasons.STALLED, "True", reasons.ABORTED)
    await version_2_stopped(scene)


async def update_to_a_bad_version(scene: Scene) -> None:
    """Another version, which is judged and found bad: the one before serves on."""
    scene.count(Says(bad=_is_of("2")))
    await scene.submit(version=2)
    await scene.until_condition(reasons.STALLED, "True", reasons.ANALYSIS_FAILED)
    await version_2_stopped(scene)


async def replace_in_mid_rollout(scene: Scene) -> None:
    """A third version while the second waits to be promoted."""
    await introduce(scene, version=2)
    await introduce(scene, version=3)
    await scene.ask("promote")
    await ready(scene)


async def revert_in_mid_rollout(scene: Scene) -> None:
    """The spec goes back while the second version waits to be promoted."""
    await introduce(scene)
    await scene.submit(version=1)
    await ready(scene)


async def roll_back_after_the_switch(scene: Scene) -> None:
    """The action rollback, while the version before still has its pods."""
    await introduce(scene)
    await scene.ask("promote")

    async def serves_alone() -> bool:
        status = (await scene.resource() or {})["status"]
        return status["stable"]["version"] == "2" and "canary" not in status

    await scene.until(serves_alone, "status has it that version 2 serves")
    await roll_back_by_action(scene)


async def change_the_provider_twice(scene: Scene) -> None:
    """Clients are sent through a router, and then to the model servers again."""
    await scene.submit(version=1, traffic=ROUTER)
    await ready(scene)
    await scene.submit(version=1)
    await ready(scene)

    async def alone() -> bool:
        services = await scene.admin.items(f"/api/v1/namespaces/{scene.namespace}/services")
        followed = await scene.admin.get(scene.path("configmaps", f"{NAME}-router"))
        left = (len(await scene.deployments()), len(await scene.pods()), len(services), followed)
        return left == (1, 2, 1, None)

    await scene.until(alone, "nothing is left of the router")


WORKFLOWS = (
    Workflow("create", nothing, create),
    Workflow("update", one_serves, update),
    Workflow("update without history", one_serves_without_history, update_and_forget),
    Workflow("recreate", one_serves_alone, update),
    Workflow("replicas only", one_serves, scale),
    Workflow("failed update", one_serves, update_to_a_broken_version),
    Workflow("rollback in mid-rollout", one_serves, roll_back_in_mid_rollout),
    Workflow("rollback afterwards", two_serves, roll_back_afterwards),
    Workflow("abort", one_serves, abort),
    Workflow("rollback by action", two_serves, roll_back_by_action),
    Workflow("model not found", one_serves, model_not_found),
    Workflow("model not found, mended", nothing, model_not_found_then_mended),
    Workflow("delete", nothing, create_and_delete),
    Workflow("delete in mid-rollout", one_serves, delete_in_mid_rollout),
    Workflow("canary", one_serves_by("Canary", analysis=ANALYSIS), promote),
    Workflow("canary aborted", one_serves_by("Canary"), abort_while_it_waits),
    Workflow("bad canary", one_serves_by("Canary", analysis=ANALYSIS), update_to_a_bad_version),
    Workflow("canary replaced", one_serves_by("Canary"), replace_in_mid_rollout),
    Workflow("canary reverted", one_serves_by("Canary"), revert_in_mid_rollout),
    Workflow("blue-green", one_serves_by("BlueGreen"), promote),
    Workflow("blue-green rolled back", one_serves_by("BlueGreen"), roll_back_after_the_switch),
    Workflow("shadow", one_serves_by("Shadow", analysis=ANALYSIS), update),
    Workflow("bad shadow", one_serves_by("Shadow", analysis=ANALYSIS), update_to_a_bad_version),
    Workflow("provider changed", one_serves, change_the_provider_twice),
    Workflow("routed canary", one_serves_by("Canary", traffic=ROUTER), promote),
    Workflow(
        "routed canary aborted", one_serves_by("Canary", traffic=ROUTER), abort_while_it_waits
    ),
)
