"""Who may lead: one table of what is seen, and what follows from it."""

from __future__ import annotations

import pytest

from model_operator.leadership import (
    ABSENT,
    Claim,
    Lease,
    Move,
    Standing,
    Terms,
    claim,
    decide,
    give_back,
    renewed,
    see,
)

TERMS = Terms(15)
ME = "pod-a_1"
OURS = Lease("1", holder=ME, seconds=15)
OTHERS = Lease("1", holder="pod-b_1", seconds=15)
EARLIER = Lease("1", holder="pod-a_0", seconds=15)
FREE = Lease("1", holder="", seconds=1)


def seen(*leases: Lease, pod: str = "pod-a") -> Standing:
    """After looks at 0, 100, 200 and so on."""
    standing = Standing(ME, pod)
    for number, lease in enumerate(leases):
        standing = see(standing, lease, number * 100.0)
    return standing


@pytest.mark.parametrize(
    ("standing", "now", "move"),
    [
        (seen(), 0, Move.WAIT),
        (seen(ABSENT), 0, Move.TAKE),
        (seen(FREE), 0, Move.TAKE),
        (seen(OURS), 0, Move.RENEW),
        (seen(OURS), 1000, Move.RENEW),
        (seen(OTHERS), 14.9, Move.WAIT),
        (seen(OTHERS), 15, Move.TAKE),
        # Every change begins the time anew, whoever has made it.
        (seen(OTHERS, Lease("2", "pod-b_1", 15)), 114.9, Move.WAIT),
        (seen(OTHERS, Lease("2", "pod-c_1", 15)), 114.9, Move.WAIT),
        (seen(OTHERS, Lease("2", "pod-c_1", 15)), 115, Move.TAKE),
        (seen(OTHERS, OTHERS, OTHERS), 15, Move.TAKE),
        # Its holder lives by what stands in it, not by our own setting.
        (seen(Lease("1", "pod-b_1", 60)), 59.9, Move.WAIT),
        (seen(Lease("1", "pod-b_1", 60)), 60, Move.TAKE),
        (seen(Lease("1", "pod-b_1", 3)), 3, Move.TAKE),
        (seen(Lease("1", "pod-b_1", 0)), 14.9, Move.WAIT),
        # A pod's process that starts anew has no predecessor that still lives.
        (seen(EARLIER), 0, Move.TAKE),
        (seen(EARLIER, pod=""), 0, Move.WAIT),
        (seen(OTHERS, Lease("2", "pod-a_0", 15)), 100, Move.WAIT),
        (seen(Lease("1", "pod-a2_0", 15)), 0, Move.WAIT),
        # The holder of a Lease that somebody has deleted may not know it yet.
        (seen(OTHERS, ABSENT), 114.9, Move.WAIT),
        (seen(OTHERS, ABSENT), 115, Move.TAKE),
        (seen(OURS, ABSENT), 114.9, Move.WAIT),
    ],
)
def test_what_is_seen_and_our_own_clock_say_what_to_do(standing: Standing, now, move):
    assert decide(standing, TERMS, now).move is move


def test_the_leader_makes_a_lease_again_that_was_deleted_under_it():
    assert decide(seen(OURS, ABSENT), TERMS, 100, may_write=True).move is Move.TAKE


def test_a_look_is_due_the_moment_at_which_the_lease_runs_out_and_often_before():
    assert decide(seen(OTHERS), TERMS, 0).seconds == TERMS.look_seconds
    assert decide(seen(OTHERS), TERMS, 14.75).seconds == 0.25


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (seen(ABSENT), "there was none"),
        (seen(FREE), "it was free"),
        (seen(EARLIER), "an earlier process of this pod held it"),
        (seen(OTHERS), "pod-b_1 did not renew it for 15 s"),
    ],
)
def test_the_reason_is_one_that_people_understand(standing: Standing, words: str):
    assert decide(standing, TERMS, 50).why == words


def test_transitions_count_each_change_of_hands_and_no_renewal():
    held = Lease("4", "pod-b_1", 15, transitions=7)
    assert claim(seen(held), TERMS, Move.TAKE) == Claim(ME, 15, transitions=8, anew=True)
    ours = Lease("5", ME, 15, transitions=8)
    assert claim(seen(ours), TERMS, Move.RENEW) == Claim(ME, 15, transitions=8, anew=False)
    assert give_back(ours) == Claim("", 1, transitions=8, anew=False)
    assert claim(seen(ABSENT), TERMS, Move.TAKE).transitions == 0


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Lease("2", ME, 15), True),
        (Lease("1", ME, 15), False),
        (Lease("2", "pod-b_1", 15), False),
    ],
)
def test_only_an_answer_that_shows_our_change_is_a_renewal(answer: Lease, counts: bool):
    assert renewed(OURS, answer, ME) is counts


@pytest.mark.parametrize("seconds", [3, 15, 60])
def test_the_holder_stops_a_third_before_anybody_may_follow_and_has_two_tries_until_then(seconds):
    terms = Terms(seconds)
    assert terms.write_seconds == pytest.approx(seconds * 2 / 3)
    assert terms.renew_seconds + 2 * terms.answer_seconds <= seconds * 0.9
    assert terms.renew_seconds + terms.answer_seconds < terms.write_seconds
    assert terms.look_seconds < terms.renew_seconds
