"""A spec that is not valid, or whose model is not known: nothing new starts, and what is under
way goes on by its record."""

from __future__ import annotations

import pytest

from model_operator import reasons
from model_operator.errors import ResolutionRefused
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.world import World

NONSENSE = make_model_deployment().version(3).spec(replicas=-1, server={"drainSeconds": "long"})


@pytest.fixture
def starting(live: World) -> World:
    """Version 1 serves and version 2 is starting."""
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    return live


def test_a_rollout_goes_on_to_its_end_when_the_spec_becomes_invalid(starting: World):
    starting.edit(NONSENSE)
    starting.settle()
    assert starting.serving_version() == "2"
    assert starting.replicas_by_version() == {"1": 0, "2": 3}
    assert starting.condition("Stalled") == ("True", reasons.INVALID_SPEC)
    assert starting.condition("Available")[0] == "True"


def test_it_is_told_as_progressing_meanwhile(starting: World):
    starting.edit(NONSENSE)
    starting.one_pass()
    assert starting.condition("Progressing")[0] == "True"
    assert starting.condition("Ready") == ("False", reasons.INVALID_SPEC)
    assert starting.status["canary"]["version"] == "2"


def test_a_rollout_that_fails_meanwhile_is_rolled_back(starting: World):
    starting.edit(NONSENSE)
    starting.container = lambda revision: (
        crashed(3, "refused") if starting.version_of(revision) == "2" else None
    )
    starting.settle()
    assert starting.serving_version() == "1"
    assert starting.replicas_by_version() == {"1": 3, "2": 0}
    assert starting.status["lastFailure"]["reason"] == reasons.MODEL_REFUSED


def test_a_rollout_goes_on_when_the_next_model_does_not_exist(starting: World):
    starting.resolution_error = ResolutionRefused(reasons.MODEL_NOT_FOUND, "no version 9")
    starting.edit(make_model_deployment().version(9))
    starting.settle()
    assert starting.serving_version() == "2"
    assert starting.condition("Stalled") == ("True", reasons.MODEL_NOT_FOUND)


def test_an_invalid_size_keeps_the_present_one(live: World):
    live.edit(make_model_deployment().spec(replicas="many"))
    live.settle()
    assert live.replicas_by_version() == {"1": 3}


def test_a_valid_size_counts_although_something_else_is_invalid(live: World):
    live.edit(make_model_deployment().replicas(5).spec(strategy={"type": "Magic"}))
    live.settle()
    assert live.replicas_by_version() == {"1": 5}


def test_the_endpoints_settings_stay_when_they_become_invalid():
    service = {"type": "LoadBalancer", "annotations": {"load-balancer": "internal"}}
    world = World(make_model_deployment().spec(traffic={"service": service}))
    world.settle()
    world.edit(make_model_deployment().spec(traffic={"service": {"type": "Nonsense"}}))
    world.writes.clear()
    world.settle()
    assert world.writes == ["status"]


def test_a_lost_record_of_what_serves_does_not_hinder_it(starting: World):
    starting.edit(NONSENSE)
    starting.histories.clear()
    starting.settle()
    assert starting.condition("Available")[0] == "True"
