"""The table of workflows: what is done to a resource under load, and what must come of it.

Each is played again and again, in rounds: forward to the other version, then back. `campaign`
keeps the load going and judges what clients saw; a workflow judges what status says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.traffic.scene import Scene, Unexpected, revision_of, weight, weights
from tests.traffic.watch import Body

Play = Callable[[Scene, int], None]
"""Plays one round, whose number counts from 0; raises Unexpected or NotInTime."""
Moment = tuple[str, Callable[[Scene, str], Callable[[Body], bool]]]
"""When the operator is killed: in words, and a check of status, made before the round from the
version that it goes to.
"""

# Without a request for processor time, all of a node's servers together get next to none of it
# while anything else is busy.
SERVER = {"resources": {"requests": {"cpu": "80m"}}}
STANDARD = {"type": "Standard", "scaleDownDelaySeconds": 20}
CANARY = {
    "type": "Canary",
    "scaleDownDelaySeconds": 20,
    "canary": {
        "steps": [
            {"setWeight": 20},
            {"pause": {"duration": "6s"}},
            {"setWeight": 50},
            {"pause": {"duration": "6s"}},
        ]
    },
}
ASKED_CANARY = {
    **CANARY,
    "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]},
}
BLUE_GREEN = {
    "type": "BlueGreen",
    "scaleDownDelaySeconds": 20,
    "blueGreen": {"autoPromote": False},
}
# The load asks for one picture again and again, so the two versions agree on all or on nothing.
SHADOW = {
    "type": "Shadow",
    "scaleDownDelaySeconds": 20,
    "shadow": {"percent": 100, "minAgreement": 0.0, "minSamples": 100},
}
ANALYSIS = {
    "interval": "2s",
    "failureLimit": 1,
    "minRequests": 10,
    "metrics": [
        {"name": "error-rate", "max": 0.01},
        {"name": "latency-p95-ms", "max": 1000},
    ],
}
STRICT_ANALYSIS = {**ANALYSIS, "metrics": [{"name": "latency-p95-ms", "max": 300}]}
ROUTER = {"provider": "Router"}
SERVICE = {"provider": "Service"}
PROMOTIONS = 5


@dataclass(frozen=True)
class Workflow:
    """One row of the table."""

    name: str
    play: Play
    spec: Mapping[str, Any]
    """Beside `spec.model`; the first version goes live with it."""
    moments: Sequence[Moment] = ()
    """When the operator is killed, one in each round in turn; none: it is left alone."""
    work: float = 1.0
    """What a request costs those that serve, as a multiple of a prediction by all pods: it gets
    less load, so that half of the capacity that is left is never asked for.
    """
    faulty: bool = False
    """Needs the faulty server's image."""

    @property
    def rounds(self) -> int:
        """The least number of rounds: each moment comes once, and each version."""
        return max(2, len(self.moments))


def to_the_end(scene: Scene, _: int) -> None:
    """Another version, until it is live."""
    version = scene.other
    scene.apply(version)
    scene.until_live(version)


def promoted(scene: Scene, _: int) -> None:
    """Another version, that waits until it is promoted."""
    version = scene.other
    scene.apply(version)
    scene.promote()
    scene.until_live(version)


def aborted(scene: Scene, number: int) -> None:
    """A version that is slow: answers come, but the analysis ends the rollout."""
    before = scene.stable
    env = [
        {"name": "FAULT", "value": "slow"},
        {"name": "FAULT_SECONDS", "value": "0.6"},
        {"name": "ROUND", "value": str(number)},  # another revision: a failed one is not tried
    ]
    scene.apply(scene.other, server={**SERVER, "image": scene.faulty_image, "env": env})
    scene.until_weight(scene.other)
    body = scene.until_rolled_back(before)
    if not body["status"].get("failedRevision"):
        raise Unexpected(f"status names no failed revision: {scene.tell()}")
    scene.until_alone(body["status"]["stable"]["revision"])


def rolled_back(scene: Scene, _: int) -> None:
    """Switched, back at once by the action, forward again by retry, and live."""
    before, version = scene.stable, scene.other
    revision = scene.status["stable"]["revision"]
    scene.apply(version)
    scene.until_weight(version)
    scene.act("rollback", revision=revision)
    scene.until_rolled_back(before)
    scene.act("retry")
    scene.until_live(version)


def provider_changed(scene: Scene, _: int) -> None:
    """Service to Router, and back to Service."""
    version = scene.stable
    scene.apply(version, traffic=ROUTER)
    scene.until_live(version)
    _routers(scene)
    scene.apply(version, traffic=SERVICE)
    scene.until_live(version)


def provider_changed_in_the_middle(scene: Scene, _: int) -> None:
    """The provider changes while a canary has a weight."""
    version = scene.other
    scene.apply(version, traffic=ROUTER)
    scene.until_weight(version)
    scene.apply(version, traffic=SERVICE)
    scene.promote()
    scene.until_live(version)


def canary_pod_deleted(scene: Scene, _: int) -> None:
    """A pod of the canary is deleted while it has a weight."""
    version = scene.other
    scene.apply(version)
    revision = scene.until_weight(version)
    scene.delete_pod(scene.pods(revision)[0])
    scene.promote()
    scene.until_live(version)


def canary_process_killed(scene: Scene, _: int) -> None:
    """SIGKILL to a process of the canary while it has a weight: it is given up, or goes on."""
    before, version = scene.stable, scene.other
    scene.apply(version)
    revision = scene.until_weight(version)
    scene.kill_pod(scene.pods(revision)[0])
    # A crash takes the step back, and with it a promotion that came in between.
    for _ in range(PROMOTIONS):
        ended = scene.promote_once(version)
        if ended != "AwaitingPromotion":
            break
    else:
        raise Unexpected(f"promoted {PROMOTIONS} times, and still waits: {scene.tell()}")
    if ended == "RolledBack":
        scene.until_rolled_back(before)
        scene.act("retry")
        scene.promote()
    scene.until_live(version)


def router_pod_deleted(scene: Scene, _: int) -> None:
    """A pod of the router is deleted while a canary has a weight."""
    version = scene.other
    scene.apply(version)
    scene.until_weight(version)
    scene.delete_pod(_routers(scene)[0])
    scene.promote()
    scene.until_live(version)


def _routers(scene: Scene) -> list[Body]:
    """The router's pods that do not end; raises Unexpected where there is none."""
    pods = [
        pod
        for pod in scene.model.pods()
        if not revision_of(pod) and "deletionTimestamp" not in pod["metadata"]
    ]
    if not pods:
        raise Unexpected("no pod of a router was found")
    return pods


def stable_pod_deleted(scene: Scene, number: int) -> None:
    """A pod of the old version is deleted while the new one starts."""
    old = scene.pods(scene.status["stable"]["revision"])[0]
    scene.delete_pod(old)
    to_the_end(scene, number)


def when_applied(scene: Scene, _: str) -> Callable[[Body], bool]:
    """As soon as the spec has changed."""
    before = scene.watch.body["metadata"]["generation"]
    return lambda body: bool(body["metadata"]["generation"] > before)


def when_begun(scene: Scene, version: str) -> Callable[[Body], bool]:
    """The version is being introduced."""
    return lambda body: str((body["status"].get("canary") or {}).get("version")) == version


def when_it_has_requests(scene: Scene, version: str) -> Callable[[Body], bool]:
    """The version has its first requests."""
    return lambda body: weight(body, scene.watch.history.versions, version) > 0


def when_it_has_all(scene: Scene, version: str) -> Callable[[Body], bool]:
    """The version has all requests, and the old one is still kept."""
    return lambda body: weight(body, scene.watch.history.versions, version) == 100


def when_it_lost_all(scene: Scene, version: str) -> Callable[[Body], bool]:
    """The version had requests, and has none again."""
    had = False

    def lost(body: Body) -> bool:
        nonlocal had
        has = weight(body, scene.watch.history.versions, version) > 0
        had = had or has
        return had and not has and bool(weights(body))

    return lost


APPLIED: Moment = ("the spec has changed", when_applied)
BEGUN: Moment = ("the new version starts", when_begun)
FIRST: Moment = ("the new version has requests", when_it_has_requests)
ALL: Moment = ("the new version has all requests", when_it_has_all)
LOST: Moment = ("the new version has lost its requests", when_it_lost_all)
THROUGHOUT = (APPLIED, BEGUN, FIRST, ALL)


def _rows() -> list[Workflow]:
    base = {"replicas": 2, "server": SERVER}
    canary = {**base, "strategy": CANARY, "analysis": ANALYSIS}
    asked = {**base, "strategy": ASKED_CANARY, "analysis": ANALYSIS}
    strict = {**base, "strategy": ASKED_CANARY, "analysis": STRICT_ANALYSIS}
    plain = [
        Workflow("standard", to_the_end, {**base, "strategy": STANDARD}),
        Workflow("canary", to_the_end, canary),
        Workflow("canary-promoted", promoted, asked),
        Workflow("canary-aborted", aborted, strict, faulty=True),
        Workflow("blue-green", promoted, {**base, "strategy": BLUE_GREEN}),
        Workflow("shadow", to_the_end, {**base, "strategy": SHADOW}, work=2.0),
        Workflow("rollback", rolled_back, {**base, "strategy": STANDARD}),
        Workflow("provider", provider_changed, {**base, "strategy": STANDARD}),
    ]
    moments: dict[str, tuple[Moment, ...]] = {
        "canary-aborted": (APPLIED, BEGUN, FIRST, LOST),
        "rollback": (BEGUN, FIRST, LOST),
        "provider": (APPLIED,),
    }
    killed = [
        replace(row, name=f"{row.name}-killed", moments=moments.get(row.name, THROUGHOUT))
        for row in plain
        if row.name != "canary-promoted"
    ]
    return [
        *plain,
        Workflow("router-canary", to_the_end, {**canary, "traffic": ROUTER}),
        Workflow("router-aborted", aborted, {**strict, "traffic": ROUTER}, faulty=True),
        Workflow("provider-canary", provider_changed_in_the_middle, asked),
        # One of two pods serves alone while three servers start beside it.
        Workflow("stable-pod", stable_pod_deleted, {**base, "strategy": STANDARD}, work=2.0),
        Workflow("canary-pod", canary_pod_deleted, asked),
        Workflow("router-pod", router_pod_deleted, {**asked, "traffic": ROUTER}),
        Workflow("canary-process", canary_process_killed, {**asked, "traffic": ROUTER}),
        *killed,
    ]


WORKFLOWS = {row.name: row for row in _rows()}
"""By name, in the order in which they are played."""
