"""Rollouts under Kubernetes' own autoscaler, which reads what pods use: `stories` plays them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.autoscaling.stories import (
    CANARIES,
    CONTROLLER_OPTIONS,
    OTHERS,
    SWITCHES,
    Outcome,
    play_all,
)
from tests.fault.house import house

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """Every story, at the same time: they are mostly waiting."""
    with house(*CONTROLLER_OPTIONS) as opened:
        return asyncio.run(play_all(opened, {**CANARIES, **SWITCHES, **OTHERS}))


def test_stable_is_raised_when_the_load_rises_and_lowered_when_it_falls(outcomes):
    outcome = outcomes["load"]
    assert outcome.divergences == ()
    assert (outcome.before, outcome.stable[-1]) == (2, 2)
    assert 6 in outcome.stable


@pytest.mark.parametrize("name", CANARIES)
def test_in_a_whole_canary_at_six_pods_no_pod_is_missed(outcomes, name):
    assert outcomes[name].kept, outcomes[name]
    assert outcomes[name].before == 6


@pytest.mark.parametrize("name", CANARIES)
def test_stable_is_left_alone_while_a_canary_has_half_of_its_requests(outcomes, name):
    assert outcomes[name].stable == (6,)


def test_switching_autoscaling_on_and_off_misses_no_pod(outcomes):
    outcome = outcomes["switch"]
    assert outcome.kept, outcome
    assert outcome.before == 6


def test_after_an_abort_stable_has_all_the_pods_that_it_had(outcomes):
    outcome = outcomes["abort"]
    assert outcome.kept, outcome
    assert (outcome.before, outcome.stable) == (6, (6,))


def test_a_stable_that_grows_in_a_canary_does_not_shrink_before_its_end(outcomes):
    outcome = outcomes["load in a canary"]
    assert outcome.kept, outcome
    assert outcome.before == 4
    assert list(outcome.stable) == sorted(outcome.stable)
    assert outcome.stable[-1] == 6
