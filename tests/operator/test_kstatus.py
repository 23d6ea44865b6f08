"""Status as the tools read it that wait for a rollout without knowing this resource.

kstatus (Flux, kpt, `kubectl apply --wait` of others) reads observedGeneration and the conditions
Stalled and Ready: https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from model_operator.errors import ResolutionDelayed, ResolutionRefused
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.world import World

SECOND = make_model_deployment().version(2)


def kstatus(resource: dict[str, Any]) -> str:
    """Current, InProgress or Failed, by kstatus' rules for resources that it does not know."""
    status = resource.get("status", {})
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return "InProgress"
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready") == "True" else "InProgress"


def edit(world: World) -> None:
    world.edit(SECOND)


def start(world: World) -> None:
    world.edit(SECOND)
    world.one_pass()


def switch(world: World) -> None:
    start(world)
    world.play_pods()
    world.one_pass()


def finish(world: World) -> None:
    world.edit(SECOND)
    world.settle()


def fail(world: World) -> None:
    world.container = lambda revision: (
        crashed(3, "refused") if world.version_of(revision) == "2" else None
    )
    finish(world)


def pause(world: World) -> None:
    world.edit(SECOND.paused())
    world.settle()


def become_invalid(world: World) -> None:
    world.edit(SECOND.spec(nonsense=True))
    world.one_pass()


def name_no_model(world: World) -> None:
    world.resolution_error = ResolutionRefused("ModelNotFound", "no")
    start(world)


def ask_a_registry_that_is_away(world: World) -> None:
    world.resolution_error = ResolutionDelayed("RegistryUnreachable", "no answer")
    start(world)


@pytest.mark.parametrize(
    ("what_happens", "expected"),
    [
        (lambda world: None, "Current"),
        (edit, "InProgress"),
        (start, "InProgress"),
        (switch, "InProgress"),
        (finish, "Current"),
        (fail, "Failed"),
        (pause, "InProgress"),
        (become_invalid, "Failed"),
        (name_no_model, "Failed"),
        (ask_a_registry_that_is_away, "InProgress"),
    ],
)
def test_kstatus_understands_what_is_going_on(
    live: World, what_happens: Callable[[World], None], expected: str
):
    what_happens(live)
    assert kstatus(live.resource) == expected
    for condition in live.status["conditions"]:
        if what_happens is not edit:
            assert condition["observedGeneration"] == live.resource["metadata"]["generation"]
