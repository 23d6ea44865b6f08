"""Two operators on a real API server: one leads; a sample of what `make test-leader` plays."""

from __future__ import annotations

import asyncio

import pytest

from tests.leader.campaign import Campaign, Outcome
from tests.leader.stage import stage

pytestmark = pytest.mark.fault
LEASE_SECONDS = 3
TRIALS = 2


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    async def play() -> Outcome:
        async with stage(LEASE_SECONDS) as built:
            return await Campaign(built).play(TRIALS, TRIALS, TRIALS)

    return asyncio.run(play())


def test_a_killed_leader_is_followed_within_the_lease_and_two_seconds(outcome: Outcome):
    assert len(outcome.takeovers) == TRIALS
    assert max(outcome.takeovers) <= outcome.limit, outcome.figures()


def test_a_stopped_leader_is_followed_within_the_same_time_and_writes_nothing_when_it_wakes(
    outcome: Outcome,
):
    assert len(outcome.stops) == TRIALS
    assert max(outcome.stops) <= outcome.limit, outcome.figures()
    assert outcome.late == [], outcome.figures()
    assert outcome.writes > 0


def test_a_leader_that_is_told_to_end_hands_over_without_any_waiting(outcome: Outcome):
    assert len(outcome.hand_overs) == TRIALS
    assert outcome.troubles() == [], outcome.figures()
