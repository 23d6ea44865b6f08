"""spec.model.updatePolicy FollowAlias, told as stories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_operator import reasons
from model_operator.errors import ResolutionAwaited, ResolutionDelayed, ResolutionRefused
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.test_kstatus import kstatus
from tests.operator.world import World

FOLLOWS = make_model_deployment().model(
    uri="models:/cats-dogs@champion", updatePolicy="FollowAlias"
)
DOWN = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, "the registry cannot be reached")
UNVALIDATED = ResolutionRefused(reasons.NOT_VALIDATED, "models:/cats-dogs/2 is not served")


@pytest.fixture
def followed() -> World:
    """Version 1 serves, which the alias names."""
    world = World(FOLLOWS)
    world.settle()
    return world


def test_a_moved_alias_is_a_new_revision_and_rolls_out(followed: World):
    followed.champion = 2
    followed.settle()
    assert followed.serving_version() == "2"
    assert followed.status["model"]["resolvedUri"] == "models:/cats-dogs/2"
    assert followed.status["phase"] == "Healthy"
    assert followed.resource["metadata"]["generation"] == 1


def test_a_pinned_alias_that_moves_ships_nothing():
    world = World(make_model_deployment().model(uri="models:/cats-dogs@champion"))
    world.settle()
    world.champion = 2
    plan = world.one_pass()
    assert not plan.writes


def test_an_alias_that_moves_back_in_the_middle_cancels_the_rollout(followed: World):
    followed.champion = 2
    followed.one_pass()
    followed.champion = 1
    followed.settle()
    assert followed.serving_version() == "1"
    assert followed.status["phase"] == "Healthy"
    assert "failedRevision" not in followed.status


def test_an_alias_that_moves_back_later_goes_back_to_the_revision_that_is_kept(followed: World):
    first = followed.serving()
    followed.champion = 2
    followed.settle()
    followed.champion = 1
    followed.settle()
    assert followed.serving() == first


def test_a_version_that_fails_is_rolled_back_and_not_tried_again_until_the_alias_moves(
    followed: World,
):
    followed.container = lambda revision: (
        crashed(3, "refused") if followed.version_of(revision) == "2" else None
    )
    followed.champion = 2
    followed.settle()
    assert followed.serving_version() == "1"
    assert followed.condition("Stalled") == ("True", reasons.MODEL_REFUSED)
    assert not followed.one_pass().writes
    followed.champion = 3
    followed.settle()
    assert followed.serving_version() == "3"
    assert followed.status["phase"] == "Healthy"


def test_an_alias_that_is_being_asked_for_is_no_news(followed: World):
    asking = ResolutionAwaited(reasons.RESOLVING, "the registry has not answered yet")
    followed.resolution_error = asking
    assert not followed.one_pass().writes
    followed.resolution_error = DOWN
    followed.one_pass()
    followed.resolution_error = asking
    assert not followed.one_pass().writes, "it is still away"


def test_an_alias_that_names_what_is_refused_is_no_better_while_it_is_asked_for(followed: World):
    followed.resolution_error = ResolutionRefused(reasons.NOT_VALIDATED, "not validated")
    followed.one_pass()
    before = followed.condition("ModelResolved"), followed.condition("Stalled")
    assert before[1][0] == "True"
    waits = ResolutionAwaited(reasons.RESOLVING, "the registry has not answered yet")
    followed.resolution_error = waits
    assert not followed.one_pass().writes
    assert (followed.condition("ModelResolved"), followed.condition("Stalled")) == before


def test_a_registry_that_is_down_changes_nothing_and_a_condition_says_so(followed: World):
    before = followed.writes.count("status")
    followed.resolution_error = DOWN
    plan = followed.one_pass()
    assert plan.applies == plan.scales == plan.deletes == ()
    assert plan.back_off is None, "the rounds ask, and no pass"
    assert followed.condition("ModelResolved") == ("True", reasons.REGISTRY_UNREACHABLE)
    assert followed.condition("Ready") == ("True", reasons.COMPLETE)
    assert followed.condition("Stalled") == ("False", reasons.NOT_STALLED)
    assert kstatus(followed.resource) == "Current"
    (resolved,) = (c for c in followed.status["conditions"] if c["type"] == "ModelResolved")
    assert resolved["message"].startswith("models:/cats-dogs@champion is version 1, sha256 ")
    assert resolved["message"].endswith("is not known: the registry cannot be reached")
    assert not followed.one_pass().writes
    followed.resolution_error = None
    followed.settle()
    assert followed.condition("ModelResolved") == ("True", reasons.RESOLVED)
    assert followed.writes.count("status") == before + 2


def test_a_registry_that_goes_down_is_a_warning_and_coming_back_is_none(followed: World):
    followed.events.clear()
    followed.resolution_error = DOWN
    followed.one_pass()
    assert followed.events == ["Warning RegistryUnreachable"]
    followed.events.clear()
    followed.resolution_error = None
    followed.one_pass()
    assert followed.events == ["Normal Resolved"]


def test_a_rollout_that_is_under_way_goes_on_while_the_registry_is_down(followed: World):
    followed.champion = 2
    followed.one_pass()
    followed.resolution_error = DOWN
    followed.settle()
    assert followed.serving_version() == "2"
    assert followed.condition("Ready") == ("True", reasons.COMPLETE)


def test_what_is_asked_beside_the_model_is_done_while_the_registry_is_down(followed: World):
    followed.resolution_error = DOWN
    followed.edit(FOLLOWS.replicas(5))
    followed.settle()
    assert followed.replicas_by_version() == {"1": 5}


def test_an_alias_that_names_what_may_not_be_served_changes_nothing_and_somebody_has_to_act(
    followed: World,
):
    followed.resolution_error = UNVALIDATED
    followed.settle()
    assert followed.serving_version() == "1"
    assert followed.replicas_by_version() == {"1": 3}
    assert followed.condition("Available") == ("True", reasons.SERVING)
    assert followed.condition("ModelResolved") == ("False", reasons.NOT_VALIDATED)
    assert followed.condition("Stalled") == ("True", reasons.NOT_VALIDATED)
    assert "until then: models:/cats-dogs@champion is version 1" in followed.status["message"]
    followed.resolution_error = None
    followed.champion = 2
    followed.settle()
    assert followed.serving_version() == "2"
    assert followed.status["phase"] == "Healthy"


def test_nothing_is_followed_before_the_registry_has_answered_once():
    world = World(FOLLOWS)
    world.resolution_error = DOWN
    plan = world.one_pass()
    assert plan.back_off is not None
    assert world.condition("ModelResolved") == ("False", reasons.REGISTRY_UNREACHABLE)
    world.resolution_error = None
    world.settle()
    assert world.serving_version() == "1"


def test_a_rollback_holds_until_the_alias_moves(followed: World):
    followed.champion = 2
    followed.settle()
    followed.act("rollback", revision=followed.version_revision("1"))
    followed.settle()
    assert followed.serving_version() == "1"
    assert not followed.one_pass().writes
    followed.champion = 3
    followed.settle()
    assert followed.serving_version() == "3"
    assert "rollbackTo" not in followed.status


def test_what_was_frozen_counts_when_status_is_lost_and_the_registry_is_down(followed: World):
    followed.champion = 2
    followed.settle()
    followed.resolution_error = DOWN
    followed.lose_status()
    followed.settle()
    assert followed.serving_version() == "2"
    assert followed.condition("ModelResolved") == ("True", reasons.REGISTRY_UNREACHABLE)


def test_a_version_without_a_digest_is_computed_once_and_then_followed(followed: World):
    followed.unregistered_digests = {"2"}
    followed.champion = 2
    followed.settle()
    assert followed.serving_version() == "2"
    assert followed.resolver.made == ["models:/cats-dogs/2"]
    assert [kind for kind, _ in followed.others if kind == "Job"] == []
    assert not followed.one_pass().writes
    followed.champion = 3
    followed.settle()
    assert followed.serving_version() == "3"


def test_while_the_digest_of_a_new_version_is_computed_the_old_one_is_ready(followed: World):
    followed.unregistered_digests = {"2"}
    followed.champion = 2
    followed.resolver.ends = lambda uri: None
    for _ in range(3):
        followed.one_pass()
        followed.play_pods()
    assert followed.condition("Ready") == ("True", reasons.COMPLETE)
    assert followed.condition("ModelResolved") == ("True", reasons.RESOLVING)


def test_the_action_resolve_is_refused_in_words_while_nothing_may_be_served(followed: World):
    followed.resolution_error = UNVALIDATED
    answer = followed.act("resolve")
    assert not answer["accepted"]
    assert answer["message"] == "models:/cats-dogs/2 is not served"


def test_who_pins_what_was_followed_keeps_what_serves(followed: World):
    followed.champion = 2
    followed.settle()
    followed.edit(make_model_deployment().version(2))
    followed.settle()
    followed.champion = 3
    assert not followed.one_pass().writes
    assert followed.serving_version() == "2"


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(1, 4)),
        st.tuples(st.just("registry"), st.sampled_from([None, DOWN, UNVALIDATED])),
        st.tuples(st.just("undigested"), st.sampled_from([set(), {"2"}, {"3", "4"}])),
        st.tuples(st.just("pass"), st.just(0)),
        st.tuples(st.just("dying pass"), st.integers(0, 4)),
        st.tuples(st.just("pods"), st.sampled_from([None, 0, 1])),
        st.tuples(st.just("wait"), st.sampled_from([1, 31, 601])),
        st.tuples(st.just("lose status"), st.just(0)),
        st.tuples(st.just("action"), st.sampled_from(["resolve", "abort", "retry"])),
    ),
    max_size=30,
)


def play(world: World, what: str, value: Any) -> None:
    happenings: dict[str, Callable[[], object]] = {
        "move": lambda: setattr(world, "champion", value),
        "registry": lambda: setattr(world, "resolution_error", value),
        "undigested": lambda: setattr(world, "unregistered_digests", value),
        "pass": world.one_pass,
        "dying pass": lambda: world.one_pass(dies_after=value),
        "pods": lambda: world.play_pods(at_most=value),
        "wait": lambda: world.wait(value),
        "lose status": world.lose_status,
        "action": lambda: world.ask(value),
    }
    happenings[what]()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(HAPPENINGS)
def test_whatever_happens_to_registry_and_operator_it_ends_with_what_the_alias_names(
    story: list[tuple[str, Any]],
):
    world = World(FOLLOWS)
    world.settle()
    for what, value in story:
        play(world, what, value)
        assert world.serving_version() is not None
    world.resolution_error = None
    world.resource["metadata"].pop("annotations", None)
    world.champion = 9
    world.settle(tick=5)
    assert world.serving_version() == "9"
    assert world.status["phase"] == "Healthy"
    assert [kind for kind, _ in world.others if kind == "Job"] == []
