"""What a resource must say of itself to be looked at in its turn after a start, and not before."""

from __future__ import annotations

from model_operator import standing
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.stories import canary
from tests.operator.world import World


def test_a_resource_that_is_rolled_out_is_settled_until_its_spec_changes():
    world = World(make_model_deployment())
    assert not standing.is_settled(world.resource)
    world.settle()
    assert standing.is_settled(world.resource)
    world.edit(make_model_deployment().version(2))
    assert not standing.is_settled(world.resource)


def half() -> ModelDeploymentBuilder:
    return canary({"setWeight": 50}, {"pause": {"duration": "5s"}})


def test_a_resource_is_not_settled_in_the_middle_of_a_rollout():
    world = World(half())
    world.settle()
    world.edit(half().version(2))
    seen = set()
    while not standing.is_settled(world.resource):
        seen.add(world.resource["status"]["phase"])
        world.one_pass()
        world.play_pods()
        world.wait(1)
    assert "Progressing" in seen
    assert world.resource["status"]["phase"] == "Healthy"


def test_an_action_that_waits_unsettles_and_a_lost_or_unreadable_status_too():
    world = World(make_model_deployment())
    world.settle()
    world.ask("pause")
    assert not standing.is_settled(world.resource)
    world.settle()
    assert standing.is_settled(world.resource)
    assert not standing.is_settled({**world.resource, "status": {"conditions": "nonsense"}})
    world.lose_status()
    assert not standing.is_settled(world.resource)
