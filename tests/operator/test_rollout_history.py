"""status.rollouts, told as stories: when a rollout begins, how it ends, what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_operator import reasons
from model_operator.api import RolloutStatus
from model_operator.rollout_history import KEPT
from tests.operator.builders import ModelDeploymentBuilder, crashed, make_model_deployment
from tests.operator.test_decide_properties import (
    MEASURED,
    PROVIDERS,
    SETTINGS,
    STRATEGIES,
    Story,
    happenings,
)
from tests.operator.test_judged_rollouts import counted, judged, passes, start
from tests.operator.world import World
from tests.operator.world_tracker import TrackedWorld

Rollout = dict[str, Any]
URI = "models:/cats-dogs/2"


def told(world: World) -> list[tuple[int, str | None, str | None, str | None]]:
    """The rollouts by number, the version that was introduced, outcome and reason."""
    return [
        (r["number"], r.get("version"), r.get("outcome"), r.get("reason"))
        for r in world.status.get("rollouts", [])
    ]


def recorded(world: TrackedWorld) -> list[RolloutStatus]:
    """The rollouts that MLflow has, in the order in which it got them."""
    return [run.rollout for run in world.runs.values()]


def version(number: int) -> ModelDeploymentBuilder:
    return make_model_deployment().version(number)


@pytest.fixture
def starting(live: World) -> World:
    """Version 1 serves and version 2 is starting."""
    live.edit(version(2))
    live.one_pass()
    return live


@pytest.fixture
def second(live: World) -> World:
    """Version 2 serves and version 1 has retired."""
    live.edit(version(2))
    live.settle()
    return live


def refused(world: World, number: str) -> None:
    """From now on the bytes of a version are refused in its pods."""
    world.container = lambda revision: (
        crashed(3, "the bytes differ") if world.version_of(revision) == number else None
    )


def test_the_first_version_ever_is_a_rollout_from_nothing(live: World):
    (rollout,) = live.status["rollouts"]
    assert told(live) == [(1, "1", "Complete", reasons.COMPLETE)]
    assert not {"fromRevision", "fromVersion", "fromUri"} & rollout.keys()
    assert rollout["revision"] == live.serving()
    assert rollout["startedAt"] <= rollout["switchedAt"] <= rollout["endedAt"]


def test_a_rollout_keeps_whose_registry_its_versions_are_of(live: World):
    elsewhere = "https://mlflow.other.example"
    live.edit(make_model_deployment().spec(model={"uri": URI, "registry": elsewhere}))
    live.settle()
    (rollout,) = live.status["rollouts"]
    assert (rollout.get("fromRegistry"), rollout.get("registry")) == (None, elsewhere)
    live.edit(version(3))
    live.settle()
    (rollout,) = live.status["rollouts"]
    assert (rollout.get("fromRegistry"), rollout.get("registry")) == (elsewhere, None)


def test_an_update_tells_whence_and_whither_and_ends_when_the_old_pods_are_told_to(live: World):
    first = live.serving()
    live.edit(version(2))
    live.one_pass()
    assert told(live) == [(2, "2", None, None)]
    live.settle()
    (rollout,) = live.status["rollouts"]
    assert told(live) == [(2, "2", "Complete", reasons.COMPLETE)]
    assert (rollout["fromRevision"], rollout["fromVersion"]) == (first, "1")
    assert (rollout["fromUri"], rollout["resolvedUri"]) == (
        "models:/cats-dogs/1",
        "models:/cats-dogs/2",
    )
    assert (rollout["strategy"], rollout["steps"]) == ("Standard", 2)
    assert rollout["startedAt"] < rollout["endedAt"]
    assert rollout["message"] == live.status["message"]


def test_a_version_that_fails_is_rolled_back_with_the_reason_in_the_containers_words(live: World):
    refused(live, "2")
    live.edit(version(2))
    live.settle()
    (rollout,) = live.status["rollouts"]
    assert told(live) == [(2, "2", "RolledBack", reasons.MODEL_REFUSED)]
    assert "the bytes differ" in rollout["message"]
    assert "switchedAt" not in rollout


def test_an_abort_ends_the_rollout_as_aborted(starting: World):
    starting.act("abort")
    assert told(starting) == [(2, "2", "Aborted", reasons.ABORTED)]
    before = starting.status["rollouts"]
    starting.settle()
    assert starting.status["rollouts"] == before


def test_a_retry_is_another_rollout_of_the_same_version(starting: World):
    starting.act("abort")
    starting.act("retry")
    starting.settle()
    assert told(starting) == [(3, "2", "Complete", reasons.COMPLETE)]


@pytest.mark.parametrize("wanted", [1, 3])
def test_a_rollout_that_another_version_replaces_is_cancelled(wanted: int):
    world = TrackedWorld(make_model_deployment())
    world.settle()
    world.edit(version(2))
    world.one_pass()
    world.edit(version(wanted))
    world.settle()
    ends = [(r.version, r.outcome, r.message) for r in recorded(world)]
    instead = f"revision {world.version_revision(str(wanted))} is wanted instead"
    assert ends[1] == ("2", "Cancelled", instead)
    assert [outcome for _, outcome, _ in ends[2:]] == ["Complete"] * (wanted == 3)


def test_a_version_that_serves_already_when_the_next_is_wanted_was_rolled_out():
    world = TrackedWorld(make_model_deployment())
    world.settle()
    world.edit(version(2))
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    assert world.serving_version() == "2"
    world.edit(version(3))
    world.settle()
    outcomes = [(rollout.version, rollout.outcome) for rollout in recorded(world)]
    assert outcomes == [("1", "Complete"), ("2", "Complete"), ("3", "Complete")]


def test_the_action_rollback_is_a_rollout_of_its_own_to_the_version_before(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    second.settle()
    assert told(second) == [(3, "1", "Complete", reasons.ROLLED_BACK)]


def test_the_action_rollback_ends_the_rollout_that_is_under_way(second: World):
    second.edit(version(3))
    second.one_pass()
    second.act("rollback", revision=second.version_revision("2"))
    assert told(second) == [(3, "3", "RolledBack", reasons.ROLLED_BACK)]


def test_an_abort_of_a_rollback_is_told_as_an_abort(second: World):
    second.act("rollback", revision=second.version_revision("1"))
    assert told(second) == [(3, "1", None, None)]
    second.act("abort")
    assert told(second) == [(3, "1", "Aborted", reasons.ABORTED)]


def test_a_version_that_fails_after_the_switch_is_rolled_back_and_the_way_back_is_a_rollout():
    world = TrackedWorld(judged("BlueGreen", blueGreen={"autoPromote": True}))
    world.settle()
    world.edit(judged("BlueGreen", blueGreen={"autoPromote": True}).version(2))
    world.one_pass()
    counted(world, "2", requests=100)
    passes(world, 2)
    assert world.serving_version() == "2"
    counted(world, "2", requests=100, errors=50)
    for _ in range(3):
        world.one_pass()
    world.measurement = None
    world.settle()
    assert world.serving_version() == "1"
    outcomes = [(r.version, r.outcome, r.reason) for r in recorded(world)]
    assert outcomes == [
        ("1", "Complete", reasons.COMPLETE),
        ("2", "RolledBack", reasons.ANALYSIS_FAILED),
        ("1", "Complete", reasons.ROLLED_BACK),
    ]


@pytest.mark.parametrize(("errors", "outcome"), [(0, "Complete"), (50, "RolledBack")])
def test_what_the_analysis_found_last_stays_with_the_rollout(errors: int, outcome: str):
    steps = [{"setWeight": 25}, {"pause": {"duration": "30s"}}, {"setWeight": 50}]
    world = start(judged("Canary", canary={"steps": steps}))
    counted(world, "2", requests=100, errors=errors)
    passes(world, 12)
    (rollout,) = world.status["rollouts"]
    assert rollout["outcome"] == outcome
    rate = next(found for found in rollout["analysis"] if found["name"] == "error-rate")
    assert (rate["value"], rate["samples"]) == (errors / 100, 100)


def test_replicas_and_pauses_are_no_rollouts(live: World):
    before = live.status["rollouts"]
    live.edit(make_model_deployment().replicas(1))
    live.settle()
    live.edit(make_model_deployment().replicas(1).paused())
    live.settle()
    assert live.status["rollouts"] == before


def test_a_status_from_before_rollouts_were_kept_is_not_written_for_their_sake(live: World):
    del live.status["rollouts"]
    live.writes.clear()
    live.settle()
    assert live.writes == []


def test_numbers_begin_anew_where_status_was_lost_and_the_identity_does_not():
    world = TrackedWorld(make_model_deployment())
    world.settle()
    world.lose_status()
    world.edit(version(2))
    world.settle()
    assert [rollout.number for rollout in recorded(world)] == [1, 1]


# --- what waits to be recorded -------------------------------------------------------------------


def test_a_rollout_goes_on_while_the_tracker_does_not_answer():
    world = TrackedWorld(make_model_deployment())
    world.tracker_answers = False
    for wanted in (1, 2, 3):
        world.edit(version(wanted))
        world.settle()
        assert world.serving_version() == str(wanted)
        assert world.status["phase"] == "Healthy"
    assert [r["record"] for r in world.status["rollouts"]] == ["Waiting"] * 3
    world.tracker_answers = True
    world.settle()
    assert [rollout.version for rollout in recorded(world)] == ["1", "2", "3"]
    assert [r["record"] for r in world.status["rollouts"]] == ["Written"]


def test_no_more_than_a_few_rollouts_wait_in_status():
    world = TrackedWorld(make_model_deployment())
    world.tracker_answers = False
    for wanted in range(1, KEPT + 4):
        world.edit(version(wanted))
        world.settle()
    assert [r["number"] for r in world.status["rollouts"]] == list(range(KEPT + 3, 3, -1))


def test_what_ended_while_rollouts_were_not_tracked_is_not_recorded_later(live: World):
    tracked = TrackedWorld(make_model_deployment())
    tracked.settle()
    assert [rollout.version for rollout in recorded(tracked)] == ["1"]
    live.defaults = tracked.defaults
    live.writes.clear()
    live.settle()
    assert live.writes == []
    assert "record" not in live.status["rollouts"][0]


def test_tracking_costs_one_status_more_for_each_rollout_and_nothing_else():
    def writes_of(world: World) -> list[str]:
        world.settle()
        world.writes.clear()
        world.edit(version(2))
        world.settle()
        return sorted(world.writes)

    without = writes_of(World(make_model_deployment()))
    tracked = writes_of(TrackedWorld(make_model_deployment()))
    assert tracked == sorted([*without, "status"])


# --- whatever happens ----------------------------------------------------------------------------


class Watched(World):
    """Holds every status that is written against the one before."""

    def _put_status(self, status: dict[str, Any]) -> None:
        before = self.resource.get("status", {})
        super()._put_status(status)
        old, new = before.get("rollouts", []), status.get("rollouts", [])
        rest = {key: value for key, value in status.items() if key != "rollouts"}
        if old != new and rest == {k: v for k, v in before.items() if k != "rollouts"}:
            assert self.may_be_for_their_sake(old, new), f"written for {old} -> {new} alone"
        assert [r["number"] for r in new] == sorted((r["number"] for r in new), reverse=True)
        assert all("endedAt" in rollout for rollout in new[1:])
        over = {r["number"]: r for r in old if "endedAt" in r}
        for rollout in new:
            if known := over.get(rollout["number"]):
                assert _without_record(rollout) == _without_record(known)

    def may_be_for_their_sake(self, old: list[Rollout], new: list[Rollout]) -> bool:
        return False


class WatchedAndTracked(TrackedWorld, Watched):
    def may_be_for_their_sake(self, old: list[Rollout], new: list[Rollout]) -> bool:
        """A record that was written."""
        waited = {r["number"] for r in old if r.get("record") == "Waiting"}
        return bool(waited - {r["number"] for r in new if r.get("record") == "Waiting"})


def _without_record(rollout: Rollout) -> Rollout:
    return {key: value for key, value in rollout.items() if key != "record"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(happenings, st.sampled_from([Watched, WatchedAndTracked]))
def test_what_is_over_does_not_change_and_no_status_is_written_for_the_history_alone(
    story_so_far: list[tuple[str, Any]], kind: type[Watched]
):
    story = Story(kind(make_model_deployment()))
    for what, value in story_so_far:
        story.play(what, value)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 6), max_size=40),
    st.sampled_from(STRATEGIES),
    st.sampled_from(PROVIDERS),
    st.booleans(),
)
def test_an_operator_that_dies_at_any_writes_leaves_the_history_of_an_undisturbed_one(
    deaths: list[int], strategy: str, provider: str, tracked: bool
):
    resource = make_model_deployment().strategy(strategy, **SETTINGS.get(strategy, {}))
    resource = resource.spec(traffic={"provider": provider})

    def roll_out(deaths: list[int]) -> World:
        world = TrackedWorld(resource) if tracked else World(resource)
        world.settle()
        world.measurement = MEASURED["good"]
        world.edit(resource.version(2))
        for writes in deaths:
            world.one_pass(dies_after=writes)
            world.play_pods()
            world.wait(1)
        world.settle()
        return world

    calm, killed = roll_out([]), roll_out(deaths)
    assert told(killed) == told(calm) == [(2, "2", "Complete", reasons.COMPLETE)]
    assert [r.get("record") for r in killed.status["rollouts"]] == ["Written" if tracked else None]
    if isinstance(killed, TrackedWorld):
        assert [r.version for r in recorded(killed)] == ["1", "2"], "one record each"


@pytest.mark.parametrize(
    ("registry", "tagged"), [(None, "models:/cats-dogs/2"), ("http://mlflow.elsewhere:5000", None)]
)
def test_a_version_of_a_registry_that_the_resource_names_has_a_run_and_is_not_tagged_in_ours(
    registry: str | None, tagged: str | None
):
    members = {"registry": registry} if registry else {}
    world = TrackedWorld(version(1).model(**members))
    world.settle()
    world.edit(version(2).model(uri="models:/cats-dogs/2", **members))
    world.settle()
    latest = list(world.runs.values())[-1]
    assert latest.rollout.version == "2"
    target = latest.target
    assert (f"models:/{target.name}/{target.version}" if target else None) == tagged
    assert (latest.origin is None) == (tagged is None)
