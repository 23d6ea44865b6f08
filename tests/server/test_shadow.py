from __future__ import annotations

import base64
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.mirror import wire
from tests.server.artifacts import CLASSES, encode, make_picture
from tests.server.test_metrics import value

PICTURES = [encode(make_picture(seed)) for seed in range(3)]


def mirrored(*labels: str) -> dict[str, str]:
    return {wire.REVISION_HEADER: "stable", wire.PREDICTIONS_HEADER: wire.encode(labels)}


def opposite(label: str) -> str:
    return CLASSES[1 - CLASSES.index(label)]


async def post(client: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    """Send the three pictures and return their labels."""
    files = [("file", ("a", picture, "image/jpeg")) for picture in PICTURES]
    answer = await client.post("/predict", files=files, headers=headers)
    assert answer.status_code == 200
    return [item["label"] for item in answer.json()]


async def compared(client: httpx.AsyncClient, label: str, agreement: str) -> float:
    labels = {"class": label, "agreement": agreement}
    return await value(client, "shadow_predictions_total", **labels)


@given(st.lists(st.text(max_size=20), max_size=20).map(tuple))
def test_any_class_names_survive_the_header(labels: tuple[str, ...]):
    value = wire.encode(labels)
    assert value.isascii()
    assert wire.decode("r", value, pictures=len(labels)) == labels


def test_labels_that_do_not_fit_into_a_header_are_not_sent():
    with pytest.raises(wire.PredictionsTooLong):
        wire.encode(("label",) * 2000)


@given(st.text(), st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_no_header_breaks_the_parser(revision: str, predictions: str):
    try:
        labels = wire.decode(revision, predictions, pictures=1)
    except wire.MirrorMalformed:
        return
    assert len(labels) == 1


async def test_agreement_is_counted_picture_by_picture_by_the_stable_class(
    client: httpx.AsyncClient,
):
    own = await post(client, {})
    stable = [own[0], opposite(own[1]), "unicorn"]
    assert await post(client, mirrored(*stable)) == own, "it is answered as any other"
    expected = {(own[0], "agree"): 1, (opposite(own[1]), "differ"): 1, ("(unknown)", "differ"): 1}
    for label in (*CLASSES, "(unknown)"):
        for agreement in ("agree", "differ"):
            counted = await compared(client, label, agreement)
            assert counted == expected.get((label, agreement), 0), (label, agreement)
    assert await value(client, "shadow_malformed_total") == 0


async def test_an_unmirrored_request_is_not_compared(client: httpx.AsyncClient):
    [label, *_] = await post(client, {wire.PREDICTIONS_HEADER: wire.encode(("cat",) * 3)})
    assert await compared(client, label, "agree") == 0
    assert await value(client, "shadow_malformed_total") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {wire.REVISION_HEADER: "stable"},
        {**mirrored("cat")},
        {**mirrored("cat", "cat", "cat", "cat")},
        {**mirrored("cat", "cat", "cat"), wire.REVISION_HEADER: ""},
        {**mirrored("cat", "cat", "cat"), wire.REVISION_HEADER: "two words"},
        {wire.REVISION_HEADER: "stable", wire.PREDICTIONS_HEADER: "not base64!"},
        {
            wire.REVISION_HEADER: "stable",
            wire.PREDICTIONS_HEADER: "!" + wire.encode(("cat", "cat", "cat")),
        },
        {
            wire.REVISION_HEADER: "stable",
            wire.PREDICTIONS_HEADER: base64.b64encode(json.dumps([1, 2, 3]).encode()).decode(),
        },
        {
            wire.REVISION_HEADER: "stable",
            wire.PREDICTIONS_HEADER: base64.b64encode(b'{"a": 1, "b": 2, "c": 3}').decode(),
        },
        {
            wire.REVISION_HEADER: "stable",
            wire.PREDICTIONS_HEADER: base64.b64encode(b"[" * 4000).decode(),
        },
        {wire.REVISION_HEADER: "stable", wire.PREDICTIONS_HEADER: "A" * 20_000},
    ],
)
async def test_malformed_mirror_headers_are_counted_and_the_request_is_answered(
    client: httpx.AsyncClient, headers: dict[str, str]
):
    await post(client, headers)
    assert await value(client, "shadow_malformed_total") == 1
    for label in (*CLASSES, "(unknown)"):
        assert await compared(client, label, "agree") == 0
        assert await compared(client, label, "differ") == 0


async def test_a_mirrored_request_that_is_refused_is_not_compared(client: httpx.AsyncClient):
    headers = {**mirrored("cat"), "content-type": "image/jpeg"}
    answer = await client.post("/predict", content=b"no picture", headers=headers)
    assert answer.status_code == 400
    for label in CLASSES:
        assert await compared(client, label, "differ") == 0
