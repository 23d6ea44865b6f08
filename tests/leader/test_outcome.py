"""What a campaign calls trouble; test_leader.py plays a sample of one."""

from __future__ import annotations

import pytest

from tests.leader.audit import Write
from tests.leader.campaign import Outcome

LATE = Write(began=1.0, ended=2.0, identity="a", what="patch deployments/scale d", code=200)


def test_trials_within_their_limits_are_no_trouble():
    assert Outcome(3, takeovers=[4.9], stops=[4.9], hand_overs=[2.9]).troubles() == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(3, takeovers=[1.0, 5.1]), "a takeover lasted 5.1 s of 5 s"),
        (Outcome(3, stops=[5.1, 1.0]), "a takeover lasted 5.1 s of 5 s"),
        (Outcome(3, hand_overs=[3.1]), "a hand-over lasted 3.1 s, as if nothing was given back"),
        (Outcome(3, late=[LATE]), f"out of turn: {LATE}"),
    ],
)
def test_a_takeover_that_is_late_and_a_write_out_of_turn_are_trouble(outcome: Outcome, words: str):
    assert outcome.troubles() == [words]
