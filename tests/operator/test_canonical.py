"""Unchanged objects are recognised as such, whatever the API server made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator.canonical import (
    digest,
    is_subset,
    others_own,
    owns_more,
    quantity,
    without_nulls,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "defaulted": True}),
        ({"resources": {"limits": {"cpu": "0.5"}}}, {"resources": {"limits": {"cpu": "500m"}}}),
        ({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}),
        ({"limits": {"cpu": 1}}, {"limits": {"cpu": "1"}}),
        ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"persistentVolumeClaim": {"readOnly": False}}, {"persistentVolumeClaim": {}}),
        (
            {"volumeMounts": [{"mountPath": "/a", "readOnly": False}]},
            {"volumeMounts": [{"mountPath": "/a"}]},
        ),
        ({"resourceFieldRef": {"divisor": "1000m"}}, {"resourceFieldRef": {"divisor": "1"}}),
    ],
)
def test_what_the_api_server_fills_in_or_rewrites_is_no_change(wanted, live):
    assert is_subset(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({"args": ["a"]}, {"args": ["a", "b"]}),
        ({"env": [{"name": "A"}, {"name": "B"}]}, {"env": [{"name": "A"}]}),
        ({"env": [{"name": "A"}]}, {"env": []}),
        ({"limits": {"cpu": "0.5"}}, {"limits": {"cpu": "501m"}}),
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": "500m"}, {"a": "0.5"}),
    ],
)
def test_a_real_difference_is_one(wanted, live):
    assert not is_subset(wanted, live)


@given(json_values)
def test_a_canonical_body_is_a_subset_of_itself_and_of_its_source(value):
    assert is_subset(without_nulls(value), without_nulls(value))
    assert without_nulls(without_nulls(value)) == without_nulls(value)


def test_the_digest_depends_on_neither_order_nor_absent_members():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1, "c": None})
    assert digest({"selector": {}}) != digest({})
    assert digest({"a": 1}) != digest({"a": 2})


def test_what_is_no_quantity_is_none():
    assert quantity("much") is None
    assert quantity("1.5Ki") == 1536


def _live(fields: dict) -> dict:
    entry = {"manager": "us", "operation": "Apply", "fieldsV1": fields}
    return {"metadata": {"managedFields": [entry]}}


@pytest.mark.parametrize(
    ("fields", "wanted", "more"),
    [
        ({"f:a": {"f:b": {}}}, {"a": {"b": 1}}, False),
        ({"f:a": {"f:b": {}, "f:c": {}}}, {"a": {"b": 1}}, True),
        ({"f:l": {'k:{"name":"x"}': {".": {}, "f:name": {}}}}, {"l": [{"name": "x"}]}, False),
        ({"f:l": {'k:{"name":"y"}': {".": {}}}}, {"l": [{"name": "x"}]}, True),
        ({"f:drop": {}}, {"drop": ["ALL"]}, False),
    ],
)
def test_a_field_that_was_applied_and_is_not_wanted_any_more_is_noticed(fields, wanted, more):
    assert owns_more(wanted, _live(fields), "us") is more
    assert not owns_more(wanted, _live(fields), "somebody else")


def managed(manager: str, fields: dict) -> dict:
    entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
    return {"metadata": {"managedFields": [entry]}}


SIDECAR = {"f:spec": {"f:containers": {'k:{"name":"sidecar"}': {".": {}, "f:image": {}}}}}
IMAGE = {"f:spec": {"f:containers": {'k:{"name":"server"}': {"f:image": {}}}}}
POD = {"containers": [{"name": "server", "image": "a"}]}


@pytest.mark.parametrize(
    ("manager", "fields", "expected"),
    [
        ("kubectl-edit", SIDECAR, True),
        ("kubectl-edit", {"f:spec": {"f:hostNetwork": {}}}, True),
        ("kubectl-edit", IMAGE, False),
        ("kubectl-edit", {"f:metadata": {"f:annotations": {}}}, False),
        ("us", SIDECAR, False),
    ],
)
def test_what_others_have_set_is_seen_by_its_owner(manager: str, fields: dict, expected: bool):
    assert others_own(POD, managed(manager, fields), "us", ("spec",)) is expected
