"""What people ask for by the annotation cvfactory.dev/action, told as stories."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import actions, reasons
from model_operator.api import ModelDeploymentStatus
from model_operator.errors import ResolutionDelayed, ResolutionRefused
from tests.operator.builders import crashed, digest_of, make_model_deployment, waiting
from tests.operator.world import World

NOTHING = ModelDeploymentStatus()


@pytest.fixture
def starting(live: World) -> World:
    """Version 1 serves and version 2 is starting."""
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    return live


@pytest.fixture
def second(live: World) -> World:
    """Version 2 serves and version 1 has retired."""
    live.edit(make_model_deployment().version(2))
    live.settle()
    return live


def test_an_abort_leaves_the_requests_where_they_are_and_stops_the_new_revision(starting: World):
    answer = starting.act("abort", revision=starting.version_revision("2"), step=0)
    assert answer["accepted"], answer
    starting.settle()
    assert starting.serving_version() == "1"
    assert starting.replicas_by_version() == {"1": 3, "2": 0}
    assert starting.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert starting.condition("Stalled") == ("True", reasons.ABORTED)
    assert starting.status["failedRevision"] == starting.version_revision("2")


def test_an_action_acts_once(starting: World):
    starting.act("abort")
    starting.act("retry")
    action = starting.resource["metadata"]["annotations"][actions.ANNOTATION]
    starting.settle()
    assert starting.serving_version() == "2"
    starting.edit(make_model_deployment().version(3))
    starting.one_pass()
    assert starting.resource["metadata"]["annotations"][actions.ANNOTATION] == action
    starting.settle()
    assert starting.serving_version() == "3"


def test_an_action_whose_status_was_never_written_acts_again_to_the_same_end(starting: World):
    status = dict(starting.status)
    starting.act("abort")
    starting.resource["status"] = status
    starting.settle()
    assert starting.serving_version() == "1"
    assert starting.condition("Stalled") == ("True", reasons.ABORTED)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"revision": "0123456789"}, "revision 0123456789 is not the current one"),
        ({"step": 3}, "step 3 is not the current one: that is 0"),
    ],
)
def test_an_action_that_was_meant_for_another_moment_is_refused(
    starting: World, members: dict, words: str
):
    answer = starting.act("abort", **members)
    assert not answer["accepted"]
    assert words in answer["message"]
    starting.settle()
    assert starting.serving_version() == "2"


def test_a_failed_revision_is_tried_again_only_when_asked(starting: World):
    starting.act("abort")
    starting.settle()
    assert starting.serving_version() == "1"
    assert starting.act("retry")["accepted"]
    starting.settle()
    assert starting.serving_version() == "2"
    assert "failedRevision" not in starting.status
    assert starting.condition("Ready") == ("True", reasons.COMPLETE)


def test_a_rollback_serves_a_kept_revision_and_says_that_the_spec_means_another(second: World):
    first = second.version_revision("1")
    answer = second.act("rollback", revision=first)
    assert answer["accepted"], answer
    second.settle()
    assert second.serving_version() == "1"
    assert second.replicas_by_version() == {"1": 3, "2": 0}
    assert second.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert second.condition("Stalled") == ("True", reasons.ROLLED_BACK)
    assert second.condition("Available")[0] == "True"
    assert first in second.status["message"]


def test_a_rollback_survives_a_change_of_replicas_and_ends_with_a_new_version(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    second.settle()
    second.edit(make_model_deployment().version(2).replicas(2))
    second.settle()
    assert second.serving_version() == "1"
    assert second.replicas_by_version() == {"1": 2, "2": 0}
    second.edit(make_model_deployment().version(3))
    second.settle()
    assert second.serving_version() == "3"
    assert "rollbackTo" not in second.status
    assert second.status["phase"] == "Healthy"


def test_a_rollback_ends_when_it_is_asked_to_retry(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    second.settle()
    assert second.act("retry")["accepted"]
    second.settle()
    assert second.serving_version() == "2"
    assert second.status["phase"] == "Healthy"


def test_a_rollback_to_the_revision_that_still_runs_waits_for_no_pods(starting: World):
    starting.play_pods()
    starting.one_pass()
    starting.one_pass()
    assert starting.serving_version() == "2"
    starting.act("rollback", revision=starting.version_revision("1"))
    starting.one_pass()
    assert starting.serving_version() == "1"


@pytest.mark.parametrize(
    ("verb", "members", "words"),
    [
        ("rollback", {"revision": "0123456789"}, "is not kept"),
        ("rollback", {}, "name the revision"),
        ("abort", {}, "nothing to abort"),
        ("retry", {}, "nothing to retry"),
        ("promote", {}, "nothing to promote"),
        ("dance", {}, "verb"),
        ("abort", {"revision": 5}, "revision"),
        ("abort", {"step": "one"}, "step"),
        ("abort", {"when": "now"}, "when"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence_and_changes_nothing(
    live: World, verb: str, members: dict, words: str
):
    live.writes.clear()
    annotations = live.resource["metadata"].setdefault("annotations", {})
    annotations[actions.ANNOTATION] = json.dumps({"id": "x", "verb": verb, **members})
    live.one_pass()
    assert live.writes == ["status"]
    assert not live.status["lastAction"]["accepted"]
    assert words in live.status["lastAction"]["message"]
    live.one_pass()
    assert live.writes == ["status"]


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_an_annotation_that_is_no_action_is_told_and_never_fatal(text: str):
    found = actions.pending({"metadata": {"annotations": {actions.ANNOTATION: text}}}, NOTHING)
    assert found is None or isinstance(found, actions.Unreadable)
    assert bool(text) == (found is not None)


def test_a_pause_freezes_the_rollout_until_it_is_resumed(starting: World):
    assert starting.act("pause")["accepted"]
    starting.play_pods()
    starting.settle(seconds=2000)
    assert starting.serving_version() == "1"
    assert starting.status["phase"] == "Paused"
    assert starting.condition("Progressing") == ("False", reasons.PAUSED)
    starting.act("resume")
    starting.settle()
    assert starting.serving_version() == "2"


def test_the_time_of_a_pause_does_not_count_for_the_deadline(starting: World):
    starting.container = lambda revision: (
        waiting("ContainerCreating") if starting.version_of(revision) == "2" else None
    )
    starting.act("pause")
    starting.wait(10_000)
    starting.act("resume")
    assert starting.condition("Ready") == ("False", reasons.STARTING)
    starting.wait(601)
    starting.one_pass()
    assert starting.condition("Ready") == ("False", reasons.ROLLED_BACK)


def test_an_actions_pause_holds_until_the_next_generation_and_the_specs_own_holds_on(live: World):
    live.edit(make_model_deployment().version(2).paused())
    live.settle()
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3}
    live.act("resume")
    live.settle()
    assert live.serving_version() == "2"
    live.edit(make_model_deployment().version(3).paused())
    live.settle()
    assert live.serving_version() == "2"


def test_a_paused_resource_still_scales_and_an_old_revision_is_kept(starting: World):
    starting.play_pods()
    starting.one_pass()
    starting.one_pass()
    starting.edit(make_model_deployment().version(2).replicas(4).paused())
    starting.settle(seconds=2000)
    assert starting.replicas_by_version() == {"1": 3, "2": 4}
    assert starting.status["phase"] == "Paused"


def test_an_alias_that_moved_is_looked_up_again_only_when_asked(live: World):
    live.registered_digest = digest_of(7)
    live.settle()
    assert live.status["model"]["sha256"] == digest_of(1)
    assert live.act("resolve")["accepted"]
    assert live.status["model"]["sha256"] == digest_of(7)
    live.settle()
    assert live.status["stable"]["sha256"] == digest_of(7)


def test_a_resolve_that_the_registry_refuses_changes_nothing(live: World):
    live.resolution_error = ResolutionRefused(reasons.MODEL_NOT_FOUND, "it is gone")
    answer = live.act("resolve")
    assert (answer["accepted"], answer["message"]) == (False, "it is gone")
    assert live.status["phase"] == "Healthy"


def test_a_resolve_waits_for_a_registry_that_does_not_answer(live: World):
    live.resolution_error = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, "no answer")
    annotations = live.resource["metadata"].setdefault("annotations", {})
    annotations[actions.ANNOTATION] = json.dumps({"id": "x", "verb": "resolve"})
    assert live.one_pass().back_off
    assert "lastActionId" not in live.status
    live.resolution_error = None
    live.one_pass()
    assert live.status["lastAction"]["accepted"]


def test_a_rollback_that_fails_stays_where_it_serves_and_says_so(second: World):
    first = second.version_revision("1")
    second.container = lambda revision: crashed(4, "gone") if revision == first else None
    second.act("rollback", revision=first)
    second.settle()
    assert second.serving_version() == "2"
    assert second.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert second.condition("Stalled") == ("True", reasons.MODEL_MISSING)
    assert second.status["failedRollback"] == first
    assert second.status["lastFailure"]["message"].endswith("gone")
    assert second.act("retry")["accepted"]
    second.settle()
    assert second.status["phase"] == "Healthy"


def test_a_rollback_that_fails_does_not_revive_what_was_aborted(second: World):
    second.edit(make_model_deployment().version(3))
    second.one_pass()
    second.act("abort")
    first = second.version_revision("1")
    second.container = lambda revision: crashed(4, "gone") if revision == first else None
    second.act("rollback", revision=first)
    second.settle()
    assert second.serving_version() == "2"
    assert second.replicas_by_version()["3"] == 0


def test_a_rollback_under_way_can_be_aborted(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    assert second.act("abort")["accepted"]
    second.settle()
    assert second.serving_version() == "2"
    assert second.status["phase"] == "Healthy"


def test_a_rollback_does_not_wait_for_a_pause(second: World):
    second.edit(make_model_deployment().version(2).paused())
    second.settle()
    second.act("rollback", revision=second.version_revision("1"))
    second.settle()
    assert second.serving_version() == "1"


def test_a_retry_has_all_the_time_again():
    slow = make_model_deployment().strategy("Standard", scaleDownDelaySeconds=3600)
    world = World(slow)
    world.settle()
    world.edit(slow.version(2))
    world.settle_quickly()
    world.edit(slow.version(3))
    world.container = lambda revision: (
        waiting("ContainerCreating") if world.version_of(revision) == "3" else None
    )
    world.one_pass()
    world.wait(601)
    world.one_pass()
    assert world.condition("Ready") == ("False", reasons.ROLLED_BACK)
    world.act("retry")
    assert world.condition("Ready") == ("False", reasons.STARTING)
    world.wait(300)
    world.one_pass()
    assert world.condition("Ready") == ("False", reasons.STARTING)


def test_an_old_annotation_that_is_put_back_does_nothing(starting: World):
    annotations = starting.resource["metadata"].setdefault("annotations", {})
    starting.act("abort")
    old = annotations[actions.ANNOTATION]
    starting.act("retry")
    annotations[actions.ANNOTATION] = old
    starting.settle()
    assert starting.serving_version() == "2"


def test_an_old_annotation_does_nothing_after_status_was_lost(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    second.settle()
    second.edit(make_model_deployment().version(3))
    second.settle()
    second.lose_status()
    second.settle()
    assert second.serving_version() == "3"
    assert not second.status["lastAction"]["accepted"]


def test_an_alias_that_moved_ships_nothing_when_status_is_lost(live: World):
    live.registered_digest = digest_of(7)
    live.lose_status()
    live.settle()
    assert live.status["stable"]["sha256"] == digest_of(1)
    assert live.status["model"]["sha256"] == digest_of(1)


def test_an_abort_ends_a_rollout_whose_spec_became_invalid(starting: World):
    starting.edit(make_model_deployment().version(2).spec(nonsense=True))
    starting.one_pass()
    assert starting.act("abort")["accepted"]
    starting.settle()
    assert starting.serving_version() == "1"
    assert starting.replicas_by_version() == {"1": 3, "2": 0}


def test_a_resolve_is_refused_while_the_spec_is_invalid(live: World):
    live.edit(make_model_deployment().spec(nonsense=True))
    answer = live.act("resolve")
    assert not answer["accepted"]
    assert "nonsense" in answer["message"]


def test_an_action_that_was_meant_for_another_generation_is_refused(second: World):
    first = second.version_revision("1")
    second.edit(make_model_deployment().version(3))
    assert not second.act("rollback", revision=first, generation=2)["accepted"]
    second.settle()
    assert second.serving_version() == "3"


@pytest.mark.parametrize("verb", ["pause", "resume", "resolve"])
@pytest.mark.parametrize("members", [{"revision": "wrong"}, {"step": 77}])
def test_an_action_about_something_else_is_refused_whatever_its_verb(
    starting: World, verb: str, members: dict
):
    assert not starting.act(verb, **members)["accepted"]


def test_an_abort_is_not_called_a_failure(starting: World):
    starting.act("abort")
    starting.settle()
    assert "was stopped: aborted by action" in starting.status["message"]
    assert "failed" not in starting.status["message"]
