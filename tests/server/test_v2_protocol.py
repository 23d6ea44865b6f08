"""The protocol's data without a server: what any client may send, and no error but a refusal."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.errors import InvalidRequest, RequestError
from model_server.model import Identity
from model_server.prediction import Prediction, Predictions
from model_server.rest import v2_binary
from model_server.rest.strict_json import parse_object
from model_server.rest.v2_protocol import Output, read_request, write_answer
from model_server.rest.v2_tensors import Limits

LIMITS = Limits(picture=(3, 2, 2), max_images=4)
BATCH = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
HEADER = {"name": "input", "datatype": "FP32", "shape": [2, 3, 2, 2]}
bounded = settings(max_examples=200, derandomize=True, database=None, deadline=None)


def request(tensor: dict[str, Any], binary: bytes = b"", **fields: Any) -> Any:
    header = json.dumps({"inputs": [tensor], **fields}).encode()
    return read_request(header + binary, str(len(header)) if binary else None, LIMITS)


@pytest.mark.parametrize(
    "asked",
    [
        lambda: request({**HEADER, "data": BATCH.tolist()}),
        lambda: request({**HEADER, "data": BATCH.ravel().tolist()}),
        lambda: request({**HEADER, "data": BATCH.astype(int).tolist()}),
        lambda: request({**HEADER, "parameters": {"binary_data_size": 96}}, BATCH.tobytes()),
    ],
    ids=["nested", "flat", "whole numbers", "binary"],
)
def test_a_tensor_is_the_same_in_each_of_its_forms(asked):
    found = asked().input
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, BATCH)
    assert found.flags.writeable, "torch warns of memory that it must not write to"


def test_fields_that_are_null_count_as_absent_and_unknown_ones_are_passed_over():
    asked = request(
        {**HEADER, "data": BATCH.tolist(), "parameters": None, "content": 1},
        id=None,
        parameters=None,
        outputs=None,
        model_name="any",
    )
    assert asked.id is None
    assert asked.outputs == (Output("probabilities", binary=False), Output("label", binary=False))


def test_an_output_says_itself_whether_it_is_binary_and_the_request_says_it_for_the_others():
    asked = request(
        {**HEADER, "data": BATCH.tolist()},
        parameters={"binary_data_output": True},
        outputs=[
            {"name": "label", "parameters": {"binary_data": False}},
            {"name": "probabilities"},
        ],
    )
    assert asked.outputs == (Output("label", binary=False), Output("probabilities", binary=True))


def test_an_answer_in_both_forms_has_its_binary_data_behind_the_json():
    labels = ("Käfer", "dog")
    rows = np.array([[0.25, 0.75], [1, 0]], np.float32)
    items = tuple(Prediction(label, 1.0, {}) for label in labels)
    asked = request(
        {**HEADER, "data": BATCH.tolist()},
        id="a",
        outputs=[{"name": "label", "parameters": {"binary_data": True}}, {"name": "probabilities"}],
    )
    answer = write_answer(asked, Identity("m", "1", "r"), 2, Predictions(items, rows, 0, 0))
    header, binary = v2_binary.split(answer.content, str(answer.header_length))
    assert json.loads(header) == {
        "model_name": "m",
        "model_version": "1",
        "id": "a",
        "outputs": [
            {
                "name": "label",
                "datatype": "BYTES",
                "shape": [2],
                "parameters": {"binary_data_size": 17},
            },
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [2, 2],
                "data": [0.25, 0.75, 1.0, 0.0],
            },
        ],
    }
    assert binary == b"\x06\0\0\0K\xc3\xa4fer\x03\0\0\0dog"


@bounded
@given(st.lists(st.binary(max_size=20), max_size=6))
def test_elements_are_read_as_they_were_written(elements: list[bytes]):
    written = v2_binary.write_elements(elements)
    assert v2_binary.read_elements(written, len(elements)) == elements


@bounded
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.data())
def test_elements_cut_off_anywhere_are_refused(elements: list[bytes], data: st.DataObject):
    written = v2_binary.write_elements(elements)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(InvalidRequest):
        v2_binary.read_elements(written[:cut], len(elements))


@bounded
@given(st.binary(max_size=40), st.integers(1, 4))
def test_any_bytes_are_elements_or_refused(data: bytes, count: int):
    try:
        elements = v2_binary.read_elements(data, count)
    except InvalidRequest:
        return
    assert sum(map(len, elements)) + 4 * count == len(data)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["image", "input"]) | ANY_JSON,
        "datatype": st.sampled_from(["BYTES", "FP32"]) | ANY_JSON,
        "shape": st.lists(st.integers(), max_size=5) | st.just([2, 3, 2, 2]) | ANY_JSON,
        "data": st.lists(st.floats(), max_size=24) | ANY_JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 200)}) | ANY_JSON,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=2) | ANY_JSON},
    optional={"id": ANY_JSON, "outputs": ANY_JSON, "parameters": ANY_JSON},
)


@bounded
@given(REQUESTS | ANY_JSON, st.binary(max_size=100), st.none() | st.integers(-2, 300))
def test_whatever_is_sent_is_read_or_refused_with_a_short_sentence(
    content: Any, binary: bytes, length: int | None
):
    body = json.dumps(content).encode() + binary
    sentence = "a request that can be answered"
    try:
        read_request(body, None if length is None else str(length), LIMITS)
    except RequestError as refusal:
        sentence = str(refusal)
    assert 20 < len(sentence) < 400


@bounded
@given(st.binary(max_size=60) | ANY_JSON.map(json.dumps).map(str.encode))
def test_whatever_json_is_sent_is_an_object_or_refused(body: bytes):
    try:
        found = parse_object(body)
    except RequestError:
        return
    assert found == json.loads(body)


def test_lengths_are_read_as_little_endian():
    assert v2_binary.read_elements(struct.pack("<I", 2) + b"ab", 1) == [b"ab"]
