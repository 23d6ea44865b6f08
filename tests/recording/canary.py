"""A canary that gets worse and is taken back, as `kubectl md status --watch` shows it.

The operator's own decisions over the small world of its tests, and the command's own lines: what
it prints is real, and the same each time.
"""

from __future__ import annotations

from model_operator.cli import tree
from model_operator.cli.terminal import Style
from model_operator.cli.tree import Snapshot
from tests.operator.builders import make_model_deployment
from tests.operator.test_judged_rollouts import counted
from tests.operator.world import World

COMMAND = "\x1b[2m$\x1b[0m kubectl md status cats-dogs --watch"
INTERVAL_SECONDS = 10
STEPS = [{"setWeight": 20}, {"pause": {"duration": "30s"}}, {"setWeight": 50}, {"pause": {}}]
ANALYSIS = {
    "interval": f"{INTERVAL_SECONDS}s",
    "failureLimit": 1,
    "minRequests": 10,
    "metrics": [{"name": "error-rate", "max": 0.01}],
}


def frames() -> list[list[str]]:
    """The screen each time that its first line says something else, and at the end."""
    resource = (
        make_model_deployment()
        .model(updatePolicy="Pinned")  # as an API server stores it
        .replicas(2)
        .strategy("Canary", canary={"steps": STEPS})
        .spec(analysis=ANALYSIS, traffic={"provider": "Router"})
    )
    world = World(resource)
    world.settle()
    seen = [_screen(world)]
    world.edit(resource.model(uri="models:/cats-dogs/2"))
    for second in range(180):
        at_half = world.weights_by_version().get("2", 0) >= 50
        counted(world, "2", requests=100, errors=12 if at_half else 0)
        if second % INTERVAL_SECONDS:
            world.measurement = None
        world.one_pass()
        world.play_pods()
        world.wait(1)
        screen = _screen(world)
        if screen[2] != seen[-1][2]:
            seen.append(screen)
        else:
            seen[-1] = screen
    return seen


def _screen(world: World) -> list[str]:
    pods = [*world.pods.values()]
    lines = tree.render(Snapshot(world.resource, pods, world.now), Style(colours=True))
    return [COMMAND, "", *lines]
