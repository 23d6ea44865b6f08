"""The route document and what HAProxy must hold for it: pure parts, tables and properties."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_router import route
from model_router.configuration import ROUTE_KEY, SLOTS, assign, configure, divided
from model_router.errors import RouteError, SettingsError
from model_router.settings import Settings

NAMES = tuple(f"{number:010x}" for number in range(30))


def text(**changes: Any) -> str:
    usual = {
        "stable": "a",
        "canary": "b",
        "weight": 10,
        "revisions": {"a": {"address": "10.0.0.1:80"}, "b": {"address": "10.0.0.2:80"}},
    }
    return json.dumps(usual | changes)


@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True)))
def test_a_revision_keeps_its_slot_and_shares_it_with_nobody_that_is_routed(
    routes: list[list[str]],
):
    slots: Mapping[str, str] = {}
    for revisions in routes:
        before, slots = slots, assign(slots, revisions)
        assert set(revisions) <= slots.keys()
        assert len(set(slots.values())) == len(slots)
        assert set(slots.values()) <= set(SLOTS)
        for revision in revisions:
            assert slots[revision] == before.get(revision, slots[revision])


def test_the_slot_that_has_been_idle_longest_is_given_away_first():
    slots: Mapping[str, str] = {}
    for revision in NAMES[:9]:
        slots = assign(slots, [NAMES[0], revision] if revision != NAMES[0] else [revision])
    assert NAMES[0] in slots
    assert NAMES[1] not in slots
    assert NAMES[2] in slots


def test_nine_revisions_at_once_are_refused():
    with pytest.raises(RouteError, match="at most 8"):
        assign({}, NAMES[:9])


@given(weight=st.integers(0, 100), draining=st.booleans())
def test_what_haproxy_holds_gives_what_the_document_asks(weight: int, draining: bool):
    document = route.parse(text(weight=weight))
    slots = assign({}, document.addresses)
    wanted = configure(document, slots, draining=draining)
    assert divided(wanted.entries, slots) == {"a": 100 - weight, "b": weight}
    assert wanted.servers[slots["a"]].weight == 1, "stable takes what the canary does not"
    assert wanted.servers[slots["b"]].weight == (1 if weight else 0)
    assert ("draining" in wanted.entries) is draining


@pytest.mark.parametrize("value", ["", "slot1", "slot1:slot2", "slot1:slot9:5", "slot1:slot2:x"])
def test_a_map_that_makes_no_sense_gives_no_weights(value: str):
    assert divided({ROUTE_KEY: value}, {"a": "slot1", "b": "slot2"}) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stable": None}, "stable must be one of the revisions"),
        ({"canary": "c"}, "canary must be null or one of the revisions"),
        ({"weight": 101}, "weight must be a whole number"),
        ({"weight": True}, "weight must be a whole number"),
        ({"weight": "10"}, "weight must be a whole number"),
        ({"canary": None}, "there is no canary"),
        ({"canary": "a"}, "there is no canary"),
        ({"revisions": {}}, "revisions must say where"),
        ({"revisions": {"a b": {"address": "10.0.0.1:80"}}}, "not the id of a revision"),
        ({"revisions": {"a": {"address": "cats-dogs:80"}}}, "not IP:PORT"),
        ({"revisions": {"a": {"address": "10.0.0.1:0"}}}, "not IP:PORT"),
        ({"revisions": {"a": "10.0.0.1:80"}}, "not IP:PORT"),
        ({"sticky": {"header": "a", "cookie": "b"}}, "sticky must be"),
        ({"sticky": {"body": "a"}}, "sticky must be"),
        ({"sticky": {"header": "a b"}}, "name of a header"),
        ({"forceHeader": "a\nb"}, "name of a header"),
    ],
)
def test_a_document_that_cannot_be_meant_is_refused_in_words(changes: dict[str, Any], words: str):
    with pytest.raises(RouteError, match=words):
        route.parse(text(**changes))


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_text_gets_through_as_anything_but_a_route_or_a_refusal(anything: str):
    with pytest.raises(RouteError):
        route.parse(anything)


@pytest.mark.parametrize(
    ("variable", "value"), [("ROUTER_PORT", "x"), ("ROUTER_THREADS", "0"), ("ROUTER_PORT", "70000")]
)
def test_a_setting_that_is_not_possible_is_named(variable: str, value: str):
    with pytest.raises(SettingsError, match=variable):
        Settings.from_environment({variable: value})
