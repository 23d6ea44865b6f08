"""The Open Inference Protocol's data: a request's body to pictures, predictions to a body.

Pure, and no web framework in it: `v2` has the routes, `v2_tensors` the inputs, `v2_binary` the
binary extension. Source: the protocol's REST specification, version 2, and Triton's extension
binary_tensor_data. A field that is null counts as absent, since some clients write every field;
fields that the protocol does not know are passed over, since some clients add their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from model_server.artifact import Input
from model_server.errors import InvalidRequest
from model_server.model import Identity
from model_server.prediction import Predictions
from model_server.preprocessing import FloatArray
from model_server.rest import v2_binary
from model_server.rest.strict_json import kind_of, parse_object, shown
from model_server.rest.v2_tensors import DATATYPES, IMAGE, INPUT, Images, Limits, read_input

PROBABILITIES, LABEL = "probabilities", "label"
OUTPUTS = (PROBABILITIES, LABEL)


@dataclass(frozen=True, slots=True)
class Output:
    """One output that is to be answered."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asks."""

    id: str | None
    input: Images | FloatArray
    """Encoded pictures, or a tensor N x 3 x H x W."""
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's body."""

    content: bytes
    header_length: int | None
    """The length of the JSON before the binary data; None where all of it is JSON."""


def read_request(body: bytes, header_length: str | None, limits: Limits) -> InferenceRequest:
    """Return what `body` asks; `header_length` is the field of that name, None where it is absent.

    Raises:
        MalformedRequest: the body cannot be read.
        InvalidRequest: it does not fit the protocol or the model.
        TooManyImages: it has more pictures than one request may.

    """
    header, binary = (body, b"") if header_length is None else v2_binary.split(body, header_length)
    content = parse_object(header)
    request_id = content.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidRequest(f"`id` is {kind_of(request_id)}: send a string, or none.")
    default = _flag(_parameters(content, "The request"), "binary_data_output", default=False)
    return InferenceRequest(
        id=request_id,
        input=_input(content.get("inputs"), binary, limits),
        outputs=_outputs(content.get("outputs"), binary_by_default=default),
    )


def write_answer(
    request: InferenceRequest, identity: Identity, classes: int, predictions: Predictions
) -> Body:
    """Return the body of the answer with the outputs that `request` asks for."""
    count = len(predictions.items)
    labels = [item.label for item in predictions.items]
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for output in request.outputs:
        if output.name == PROBABILITIES:
            tensor = {"name": PROBABILITIES, "datatype": "FP32", "shape": [count, classes]}
            data: list[Any] = predictions.rows.ravel().tolist()
            raw = predictions.rows.astype("<f4").tobytes()
        else:
            tensor = {"name": LABEL, "datatype": "BYTES", "shape": [count]}
            data = labels
            raw = v2_binary.write_elements(label.encode() for label in labels)
        if output.binary:
            binary.append(raw)
            tensors.append({**tensor, "parameters": {"binary_data_size": len(raw)}})
        else:
            tensors.append({**tensor, "data": data})
    content = {
        "model_name": identity.name,
        "model_version": identity.version,
        **({} if request.id is None else {"id": request.id}),
        "outputs": tensors,
    }
    header = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    return Body(header + b"".join(binary), len(header) if binary else None)


def model_metadata(
    identity: Identity, platform: str, classes: tuple[str, ...], spec: Input
) -> dict[str, Any]:
    """Return what the model takes and gives.

    `parameters` say what the protocol has no field for: how a picture lies in JSON, what the
    tensor is normalised with, which class each column is.
    """
    return {
        "name": identity.name,
        "versions": [identity.version],
        "platform": platform,
        "inputs": [
            {
                "name": IMAGE,
                "datatype": DATATYPES[IMAGE],
                "shape": [-1],
                "parameters": {"content_type": "base64"},
            },
            {
                "name": INPUT,
                "datatype": DATATYPES[INPUT],
                "shape": [-1, 3, spec.height, spec.width],
                "parameters": {"mean": list(spec.mean), "std": list(spec.std)},
            },
        ],
        "outputs": [
            {
                "name": PROBABILITIES,
                "datatype": "FP32",
                "shape": [-1, len(classes)],
                "parameters": {"classes": list(classes)},
            },
            {"name": LABEL, "datatype": "BYTES", "shape": [-1]},
        ],
    }


def _input(inputs: Any, binary: bytes, limits: Limits) -> Images | FloatArray:
    if not isinstance(inputs, list) or not all(isinstance(tensor, dict) for tensor in inputs):
        raise InvalidRequest("`inputs` has to be a list with one tensor, an object.")
    if len(inputs) != 1:
        raise InvalidRequest(
            f"`inputs` has {len(inputs)} tensors: send exactly one, `{IMAGE}` or `{INPUT}`."
        )
    _parameters(inputs[0], "The input")
    return read_input(inputs[0], binary, limits)


def _outputs(outputs: Any, *, binary_by_default: bool) -> tuple[Output, ...]:
    if outputs is None or outputs == []:
        return tuple(Output(name, binary_by_default) for name in OUTPUTS)
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise InvalidRequest("`outputs` has to be a list of objects, each with a `name`.")
    found: dict[str, Output] = {}
    for output in outputs:
        name = output.get("name")
        if name not in OUTPUTS:
            raise InvalidRequest(
                f"An output's name is {shown(name) if isinstance(name, str) else kind_of(name)}:"
                f" ask for {' or '.join(OUTPUTS)}."
            )
        if name in found:
            raise InvalidRequest(f"The output {name!r} is asked for twice: ask for it once.")
        parameters = _parameters(output, f"The output {name!r}")
        if "classification" in parameters:
            raise InvalidRequest(
                f"The classification extension is not served: ask for {LABEL!r}, or sort"
                f" {PROBABILITIES!r}."
            )
        found[name] = Output(name, _flag(parameters, "binary_data", default=binary_by_default))
    return tuple(found.values())


def _parameters(holder: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(
            f"{what} has `parameters` that are {kind_of(parameters)}: send an object."
        )
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InvalidRequest(f"The parameter {name!r} is {kind_of(value)}: send true or false.")
    return value
