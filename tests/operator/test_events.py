"""Kubernetes Events are for transitions: what changes nothing tells nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

from model_operator import reasons
from model_operator.errors import ResolutionAwaited, ResolutionDelayed, ResolutionRefused
from model_operator.plan import Plan
from tests.operator.builders import make_model_deployment
from tests.operator.test_decide_properties import Story, happenings
from tests.operator.world import World
from tests.operator.world_tracker import TrackedWorld


def conditions(status: dict[str, Any] | None) -> dict[str, tuple[str, str, str]]:
    found = (status or {}).get("conditions") or ()
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found}


class Telling(TrackedWorld):
    """Holds what every pass tells against what it changes."""

    def one_pass(self, *, dies_after: int | None = None) -> Plan:
        before = conditions(self.resource.get("status"))
        plan = super().one_pass(dies_after=dies_after)
        assert plan.status is not None or not plan.events, "told without a change of status"
        after = conditions(dict(plan.status or {}))
        moved = {
            (reason, message)
            for kind, (status, reason, message) in after.items()
            if before.get(kind, ())[:2] != (status, reason)
            or (kind == reasons.MODEL_RESOLVED and before[kind] != after[kind])
        }
        told = [(event.reason, event.message) for event in plan.events]
        assert set(told) <= moved, "told although it was so before"
        assert len(told) == len(set(told)), "told twice"
        return plan


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(happenings)
def test_every_event_tells_of_a_condition_that_moved_in_its_pass(
    story_so_far: list[tuple[str, Any]],
):
    story = Story(Telling(make_model_deployment()))
    for what, value in story_so_far:
        story.play(what, value)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(happenings)
def test_an_operator_that_starts_anew_at_rest_tells_nothing(story_so_far: list[tuple[str, Any]]):
    story = Story(Telling(make_model_deployment()))
    for what, value in story_so_far:
        story.play(what, value)
    world = story.world
    for _ in range(100):
        if not world.one_pass().writes:
            break
    else:
        raise AssertionError("time stands still, and it never rests")
    assert world.one_pass().events == ()


def test_a_spec_that_becomes_invalid_in_the_middle_of_a_rollout_is_told_once_and_as_a_warning():
    world = World(make_model_deployment())
    world.settle()
    world.edit(make_model_deployment().version(2))
    world.one_pass()
    world.edit(make_model_deployment().version(2).spec(nonsense=True))
    told = world.one_pass().events
    assert [(event.type, event.reason) for event in told] == [("Warning", reasons.INVALID_SPEC)]


def test_a_record_that_was_written_is_no_event():
    world = TrackedWorld(make_model_deployment())
    world.settle()
    world.edit(make_model_deployment().version(2))
    world.settle()
    assert world.runs
    ready = [event for event in world.events if event == f"Normal {reasons.COMPLETE}"]
    assert len(ready) == 2, world.events


def test_a_registry_that_is_away_is_told_once_whatever_its_words_are(live: World):
    live.events.clear()
    for words in ("answers with status 500", "answers with status 502", "cannot be reached"):
        live.resolution_error = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, words)
        live.edit(make_model_deployment().version(2))
        live.one_pass()
        assert words in str(live.status["conditions"])
    assert live.events == [f"Warning {reasons.REGISTRY_UNREACHABLE}"]


def test_the_words_of_a_registry_that_stays_away_are_written_once_for_one_spec(live: World):
    live.edit(make_model_deployment().version(2))
    waits = "the registry was asked and has not answered yet"
    live.resolution_error = ResolutionAwaited(reasons.RESOLVING, waits)
    live.one_pass()
    assert live.condition("ModelResolved") == ("False", reasons.RESOLVING)
    server = "the registry at http://mlflow:5000"
    first = f"{server} answers with status 500"
    for error in (
        ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, first),
        ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, f"{server} cannot be reached: refused"),
        ResolutionAwaited(reasons.RESOLVING, waits),
        ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, f"{server} cannot be reached: no answer"),
    ):
        live.resolution_error = error
        plan = live.one_pass()
        assert plan.back_off, "it is asked again"
        assert live.condition("ModelResolved") == ("False", reasons.REGISTRY_UNREACHABLE)
        assert live.status["message"] == first
    assert not live.one_pass().writes
    elsewhere = "the registry at http://mlflow:5001 cannot be reached: refused"
    live.resolution_error = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, elsewhere)
    live.one_pass()
    assert live.status["message"] == elsewhere, "the operator has been given another address"
    nowhere = "the operator has no registry: set MLFLOW_TRACKING_URI"
    live.resolution_error = ResolutionRefused(reasons.REGISTRY_UNREACHABLE, nowhere)
    live.one_pass()
    assert live.status["message"] == nowhere


def test_a_model_that_is_refused_stays_so_while_a_slow_registry_is_asked_again(live: World):
    """It would otherwise be written in turns, and each write would make another pass."""
    refused = ResolutionRefused(reasons.NOT_VALIDATED, "the tag validation is 'failed'")
    awaited = ResolutionAwaited(reasons.RESOLVING, "the registry has not answered yet")
    live.edit(make_model_deployment().version(2))
    for error in (awaited, refused):
        live.resolution_error = error
        live.one_pass()
    assert live.condition("Stalled") == ("True", reasons.NOT_VALIDATED)
    for error in (awaited, refused, awaited):
        live.resolution_error = error
        assert not live.one_pass().writes


def test_another_model_that_does_not_exist_is_told_again(live: World):
    live.events.clear()
    for number in (7, 8):
        words = f"models:/cats-dogs/{number} does not exist"
        live.resolution_error = ResolutionRefused(reasons.MODEL_NOT_FOUND, words)
        live.edit(make_model_deployment().version(number))
        live.one_pass()
    assert live.events.count(f"Warning {reasons.MODEL_NOT_FOUND}") == 2
