"""What the campaign takes for an answer that a version may not have given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traffic.judgement import AHEAD_SECONDS, KEPT_ALIVE_SECONDS, strays
from tests.traffic.watch import History

FOREVER = float("inf")


@pytest.mark.parametrize(
    ("answered", "allowed"),
    [
        ((100.0, 200.0), [(100.0, FOREVER)]),
        ((100.0 - AHEAD_SECONDS, 200.0), [(100.0, 200.0)]),
        ((100.0, 200.0 + KEPT_ALIVE_SECONDS), [(100.0, 200.0)]),
        ((100.0, 300.0), [(100.0, 200.0), (210.0, 300.0)]),
    ],
)
def test_a_version_may_answer_while_it_has_a_weight_and_a_little_around_that(answered, allowed):
    assert strays({"2": [answered]}, {"2": allowed}) == []


@pytest.mark.parametrize(
    ("answered", "allowed"),
    [
        ((100.0, 101.0), []),
        ((100.0 - AHEAD_SECONDS - 0.1, 150.0), [(100.0, 200.0)]),
        ((100.0, 200.1 + KEPT_ALIVE_SECONDS), [(100.0, 200.0)]),
        ((100.0, 300.0), [(100.0, 200.0), (250.0, 300.0)]),
    ],
)
def test_an_answer_of_a_version_without_a_weight_is_told(answered, allowed):
    (sentence,) = strays(
        {"1": [(0.0, 500.0)], "2": [answered]}, {"1": [(0, FOREVER)], "2": allowed}
    )
    assert sentence.startswith("version 2 answered from")


def test_an_operator_that_was_killed_tells_only_when_it_is_back_what_it_did_before():
    answered, allowed = {"2": [(101.0, 150.0)]}, {"2": [(112.0, FOREVER)]}
    assert strays(answered, allowed)
    assert strays(answered, allowed, outages=[(102.0, 110.0)]) == []


def test_an_outage_long_before_excuses_nothing():
    assert strays({"2": [(101.0, 150.0)]}, {"2": [(112.0, FOREVER)]}, outages=[(50.0, 90.0)])


def status(**weights: int) -> dict:
    revisions = {"stable": {"revision": "a", "version": "1"}}
    revisions["canary"] = {"revision": "b", "version": "2"}
    traffic = [{"revision": name, "weight": weight} for name, weight in weights.items()]
    return {"status": {**revisions, "traffic": traffic}}


def test_a_history_has_the_time_from_the_first_weight_to_the_status_that_has_it_no_more():
    history = History()
    for now, body in enumerate([status(a=100), status(a=90, b=10), status(a=50, b=50), {}]):
        history.add(body, float(now))
    assert history.spans("1") == [(0.0, 3.0)]
    assert history.spans("2") == [(1.0, 3.0)]
    assert history.spans("3") == []


def test_a_weight_of_zero_is_none():
    history = History()
    for now, body in enumerate([status(a=100, b=0), status(b=100), status(a=0, b=100)]):
        history.add(body, float(now))
    assert history.spans("1") == [(0.0, 1.0)]
    assert history.spans("2") == [(1.0, FOREVER)]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=20))
def test_a_version_that_answered_exactly_while_it_had_a_weight_never_strays(shares):
    history = History()
    for now, share in enumerate(shares):
        history.add(status(a=100 - share, b=share), 100.0 * now)
    spans = {version: history.spans(version) for version in ("1", "2")}
    end = 100.0 * len(shares)
    answered = {
        version: [(start, min(stop, end)) for start, stop in found]
        for version, found in spans.items()
    }
    assert strays(answered, spans) == []
