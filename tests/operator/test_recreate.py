"""Strategy Recreate: never two revisions at once, and the gap is admitted."""

from __future__ import annotations

import pytest

from model_operator import reasons
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.world import World

FIRST = make_model_deployment().strategy("Recreate")
SECOND = FIRST.version(2)


@pytest.fixture
def alone() -> World:
    """Version 1 serves with three pods under strategy Recreate."""
    world = World(FIRST)
    world.settle()
    return world


def test_a_first_version_becomes_healthy(alone: World):
    assert alone.status["phase"] == "Healthy"
    assert alone.replicas_by_version() == {"1": 3}


def test_the_old_pods_have_ended_before_the_first_new_one_is_asked_for(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    assert alone.replicas_by_version() == {"1": 0}
    assert alone.condition("Progressing") == ("True", reasons.STOPPING)
    alone.one_pass()
    assert alone.replicas_by_version() == {"1": 0}, "the old pods are still there"
    alone.play_pods()
    alone.one_pass()
    assert alone.replicas_by_version() == {"1": 0, "2": 3}
    alone.settle()
    assert alone.serving_version() == "2"
    assert alone.status["phase"] == "Healthy"


def test_the_gap_is_admitted(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    alone.play_pods()
    alone.one_pass()
    assert alone.condition("Available") == ("False", reasons.RECREATING)
    assert "nothing serves" in alone.status["message"]
    assert alone.condition("Ready") == ("False", reasons.STARTING)


def test_where_the_new_revision_fails_the_old_one_starts_again(alone: World):
    alone.container = lambda revision: (
        crashed(3, "digest mismatch", name="fetch") if alone.version_of(revision) == "2" else None
    )
    alone.edit(SECOND)
    alone.settle()
    assert alone.serving_version() == "1"
    assert alone.replicas_by_version() == {"1": 3, "2": 0}
    assert alone.condition("Available") == ("True", reasons.SERVING)
    assert alone.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert alone.condition("Stalled") == ("True", reasons.MODEL_REFUSED)


def test_a_verdict_is_recorded_before_the_pods_that_it_was_made_from_are_stopped(alone: World):
    alone.container = lambda revision: (
        crashed(3, "refused") if alone.version_of(revision) == "2" else None
    )
    alone.edit(SECOND)
    while "failedRevision" not in alone.status:
        alone.one_pass()
        alone.play_pods()
    assert alone.replicas_by_version()["2"] == 3
    alone.settle()
    assert alone.replicas_by_version() == {"1": 3, "2": 0}


@pytest.mark.parametrize("passes", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["the spec", "an action"])
def test_going_back_starts_the_old_revision_when_the_new_pods_have_ended(
    alone: World, passes: int, how: str
):
    alone.edit(SECOND)
    for _ in range(passes):
        alone.one_pass()
        alone.play_pods()
    if how == "the spec":
        alone.edit(FIRST)
    else:
        assert alone.act("rollback", revision=alone.version_revision("1"))["accepted"]
    alone.settle()
    assert alone.serving_version() == "1"
    assert {v: n for v, n in alone.replicas_by_version().items() if n} == {"1": 3}
    assert alone.condition("Available") == ("True", reasons.SERVING)


def test_a_pause_before_the_first_step_stops_nothing(alone: World):
    alone.edit(SECOND.paused())
    alone.settle()
    assert alone.replicas_by_version() == {"1": 3}
    assert alone.condition("Available")[0] == "True"
    assert alone.status["phase"] == "Paused"


def test_an_abort_in_the_gap_brings_the_old_revision_back(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    alone.play_pods()
    alone.one_pass()
    assert alone.act("abort")["accepted"]
    alone.settle()
    assert alone.serving_version() == "1"
    assert alone.replicas_by_version() == {"1": 3, "2": 0}


def test_a_change_of_strategy_in_the_middle_of_a_rollout_ends_well(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    alone.edit(make_model_deployment().version(2))
    alone.settle()
    assert alone.serving_version() == "2"
    assert alone.status["phase"] == "Healthy"


def test_a_refused_deployment_brings_the_old_revision_back_once(alone: World):
    alone.edit(SECOND)
    first = alone.version_revision("1")
    alone.refuse = lambda body: (
        body["kind"] == "Deployment" and not body["metadata"]["name"].endswith(first)
    )
    alone.writes.clear()
    alone.settle()
    assert alone.replicas_by_version() == {"1": 3}
    assert alone.writes.count("scale") == 2, "down and up again, once"
    assert alone.condition("Available") == ("True", reasons.SERVING)
    assert alone.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert "was refused" in alone.status["lastFailure"]["message"]


def test_a_pause_in_the_gap_takes_no_step(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    alone.play_pods()
    alone.edit(SECOND.paused())
    alone.settle()
    assert alone.replicas_by_version() == {"1": 0}
    assert alone.status["phase"] == "Paused"
    assert "paused" in alone.status["message"]
    alone.edit(SECOND)
    alone.settle()
    assert alone.serving_version() == "2"


def test_a_third_version_that_is_paused_in_the_gap_brings_the_first_one_back_alone(alone: World):
    """What is held waits; meanwhile what served before serves again, never beside the second."""
    alone.edit(SECOND)
    alone.one_pass()
    alone.play_pods()
    alone.one_pass()
    assert alone.replicas_by_version() == {"1": 0, "2": 3}
    alone.edit(FIRST.version(3).paused())
    alone.one_pass()
    assert alone.replicas_by_version() == {"1": 0, "2": 0}
    assert "nothing serves" in alone.status["message"]
    alone.settle()
    assert alone.replicas_by_version() == {"1": 3, "2": 0}
    assert alone.status["phase"] == "Paused"
    alone.edit(FIRST.version(3))
    alone.settle()
    assert alone.replicas_by_version() == {"1": 0, "2": 0, "3": 3}
    assert alone.serving_version() == "3"


def test_pods_that_never_end_are_told(alone: World):
    alone.edit(SECOND)
    alone.one_pass()
    alone.wait(601)
    alone.one_pass()
    assert alone.condition("Stalled") == ("True", reasons.PODS_REMAIN)
    assert "3 pods" in alone.status["lastFailure"]["message"]


def test_a_deployment_that_somebody_deletes_in_the_gap_is_not_made_again_beside_the_new_one(
    alone: World,
):
    alone.edit(SECOND)
    alone.one_pass()
    alone.play_pods()
    alone.one_pass()
    del alone.deployments[f"cats-dogs-{alone.version_revision('1')}"]
    alone.settle()
    assert alone.replicas_by_version() == {"2": 3}
    assert alone.serving_version() == "2"


def test_once_the_old_revision_is_back_the_message_says_that_it_serves(alone: World):
    alone.container = lambda revision: (
        crashed(3, "refused", name="fetch") if alone.version_of(revision) == "2" else None
    )
    alone.edit(SECOND)
    alone.settle()
    assert alone.status["message"].endswith("goes on serving")


def test_an_endpoint_that_is_moved_to_a_stopped_revision_stops_nothing(alone: World):
    alone.edit(SECOND)
    alone.settle()
    assert alone.service is not None
    first = alone.version_revision("1")
    alone.service["spec"]["selector"]["cvfactory.dev/revision"] = first
    alone.one_pass()
    assert alone.serving_version() == "2"
    assert alone.replicas_by_version()["2"] == 3
