"""How stories of a canary are told on a `World`: its steps, and passes until something is so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment, waiting
from tests.operator.world import World

STEPS = [{"setWeight": 25}, {"pause": {"duration": "5m"}}, {"setWeight": 50}, {"pause": {}}]
PASSES = 400


def canary(*steps: dict[str, Any]) -> ModelDeploymentBuilder:
    """Version 1 of three pods, by strategy Canary."""
    return make_model_deployment().strategy("Canary", canary={"steps": list(steps or STEPS)})


def passes(world: World, count: int = 4) -> World:
    """So many seconds, each with a pass."""
    for _ in range(count):
        world.one_pass()
        world.play_pods()
        world.wait(1)
    return world


def until(world: World, holds: Callable[[], bool]) -> World:
    """Seconds with a pass each, until something is so."""
    for _ in range(PASSES):
        world.one_pass()
        world.play_pods()
        if holds():
            return world
        world.wait(1)
    raise AssertionError(world.status["message"])


def in_step(world: World, index: int, resource: ModelDeploymentBuilder) -> World:
    """What the resource asks for is introduced, up to a step."""
    world.edit(resource)
    return until(world, lambda: world.status.get("currentStepIndex") == index)


def hold(world: World, version: str) -> None:
    """From now on no pod of a version is ready."""
    world.container = lambda revision: (
        waiting("Starting") if world.version_of(revision) == version else None
    )
