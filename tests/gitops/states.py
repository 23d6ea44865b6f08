"""States of a ModelDeployment that the operator brings about, by stories of the small world."""

from __future__ import annotations

import copy
import functools
import random
from collections.abc import Iterator
from typing import Any

from model_operator.actions import Verb
from model_operator.errors import ResolutionDelayed, ResolutionRefused
from tests.operator.builders import make_model_deployment
from tests.operator.stories import canary
from tests.operator.test_decide_properties import MEASURED, PROVIDERS, STRATEGIES, Story
from tests.operator.world import World

STORIES, LENGTH = 12, 20
HAPPENINGS: list[tuple[str, list[Any]]] = [
    ("version", [1, 2, 3]),
    ("replicas", [0, 2, 3]),
    ("pods", [None, None, None, 0, 1]),
    ("pods", [None]),
    ("wait", [1, 10, 31, 601]),
    ("strategy", STRATEGIES),
    ("paused", [True, False, False]),
    ("bad version", [2, 3]),
    ("slow version", [2, 3]),
    ("measured", sorted(MEASURED)),
    ("action", sorted(Verb)),
    ("roll back to version", [1, 2, 3]),
    ("provider", PROVIDERS),
    ("invalid", [0]),
    ("lose status", [0]),
]


def played(seed: int) -> Iterator[World]:
    """The world of one story, after each of its passes."""
    choices = random.Random(seed)
    story = Story()
    story.world.settle()
    yield story.world
    for _ in range(LENGTH):
        what, values = choices.choice(HAPPENINGS)
        story.play(what, choices.choice(values))
        troubled = choices.random() < 0.1
        story.world.resolution_error = choices.choice(ERRORS) if troubled else None
        for _ in range(choices.randint(1, 4)):
            story.world.one_pass()
            yield story.world
            story.world.play_pods()
            story.world.wait(1)
        story.world.one_pass()
        yield story.world


ERRORS = [
    ResolutionRefused("ModelNotFound", "there is no such model"),
    ResolutionDelayed("RegistryUnreachable", "no answer"),
]


def staged() -> Iterator[World]:
    """What no chance should have to bring about: each of these once."""
    yield from waiting_for_people()
    unready = live_world()
    unready.play_pods(at_most=0)
    unready.one_pass()
    yield unready
    for change in (
        make_model_deployment().replicas(0),
        make_model_deployment().strategy("Recreate").version(2),
    ):
        world = live_world()
        world.edit(change)
        for _ in range(6):
            world.one_pass()
            yield world
            world.play_pods()
            world.wait(1)


def waiting_for_people() -> Iterator[World]:
    """A canary up to its last pause, which only a promotion ends."""
    steps = [{"setWeight": 50}, {"pause": {}}]
    world = World(canary(*steps))
    world.settle()
    world.edit(canary(*steps).version(2))
    for _ in range(20):
        world.one_pass()
        yield world
        world.play_pods()
        world.wait(1)


def live_world() -> World:
    """Version 1 serves with three pods."""
    world = World(make_model_deployment())
    world.settle()
    return world


@functools.cache
def resources() -> tuple[dict[str, Any], ...]:
    """Every different state of the resource in all stories, times and ids aside."""
    found: dict[str, dict[str, Any]] = {}
    for story in (staged(), *map(played, range(STORIES))):
        for world in story:
            found.setdefault(_outline(world.resource), copy.deepcopy(world.resource))
    return tuple(found.values())


def _outline(resource: dict[str, Any]) -> str:
    status = resource.get("status", {})
    conditions = [(c["type"], c["status"], c["reason"]) for c in status.get("conditions", ())]
    told = [status.get(key) for key in ("phase", "currentStepIndex", "heldPause", "failedRevision")]
    current = status.get("observedGeneration") == resource["metadata"]["generation"]
    kind = resource["spec"].get("strategy", {}).get("type")
    return repr((conditions, told, current, kind, resource["spec"].get("paused")))
