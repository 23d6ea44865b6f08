"""Where a resource stands by its own status: when clients of what has served get no answer."""

from __future__ import annotations

from model_operator import reasons, standing
from tests.operator.builders import make_model_deployment
from tests.operator.stories import hold
from tests.operator.world import World


def test_a_model_that_serves_is_available(live: World):
    assert live.condition("Available") == ("True", reasons.SERVING)
    assert not standing.is_unavailable(live.status)


def test_a_model_whose_last_pod_is_gone_is_unavailable_until_one_is_back(live: World):
    live.pods.clear()
    live.one_pass()
    assert live.condition("Available") == ("False", reasons.NO_READY_PODS)
    assert standing.is_unavailable(live.status)
    live.settle()
    assert not standing.is_unavailable(live.status)


def test_a_first_version_that_does_not_start_yet_has_nobody_waiting():
    world = World(make_model_deployment())
    hold(world, "1")
    world.one_pass()
    world.play_pods()
    world.one_pass()
    assert world.condition("Available") == ("False", reasons.NO_STABLE_REVISION)
    assert not standing.is_unavailable(world.status)
    assert not standing.is_unavailable({})


def test_a_gap_that_somebody_has_asked_for_is_none(live: World):
    live.edit(make_model_deployment().replicas(0))
    live.settle()
    assert live.condition("Available") == ("False", reasons.SCALED_TO_ZERO)
    assert not standing.is_unavailable(live.status)
    recreated = World(make_model_deployment().strategy("Recreate"))
    recreated.settle()
    recreated.edit(make_model_deployment().strategy("Recreate").version(2))
    recreated.one_pass()
    recreated.play_pods()
    recreated.one_pass()
    assert recreated.condition("Available") == ("False", reasons.RECREATING)
    assert not standing.is_unavailable(recreated.status)
