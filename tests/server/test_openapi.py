"""The OpenAPI schema is held to what is answered, by requests that are made from the schema."""

from __future__ import annotations

import base64
import copy
import json
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.generation import GenerationMode
from schemathesis.hooks import HookContext
from schemathesis.hooks import unregister_all as unregister_hooks
from schemathesis.specs.openapi.formats import unregister_string_format
from schemathesis.specs.openapi.media_types import unregister_all
from schemathesis.specs.openapi.schemas import OpenApiSchema

from model_server.app import create_app
from model_server.lifecycle import Lifecycle
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_artifact, make_picture

PNG = base64.b64encode(encode(make_picture(), "PNG")).decode()
CONFIG = {
    "continue-on-failure": True,
    "suppress-health-check": ["all"],  # they judge how fast this machine is
    "generation": {"max-examples": 10, "deterministic": True},
    "phases": {"stateful": {"enabled": False}},  # no request changes what another is answered
    # The schema cannot know which model is loaded. tests/server/test_v2.py asks for others.
    "parameters": {"path.model": "cats-dogs", "path.version": "3"},
}
SIDE = 4  # of the network's input: few numbers, so that many requests are made in little time
LENGTH = "Inference-Header-Content-Length"


def fit(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Make valid requests of the protocol fit for the model.

    A schema cannot say that a tensor has as many values as its shape, that its data lies either in
    the JSON or behind it, and that a header counts the bytes between.
    """
    mode = case.meta.generation.mode if case.meta else None
    if not case.path.endswith("/infer") or mode is not GenerationMode.POSITIVE:
        return
    if isinstance(case.body, bytes):
        case.headers[LENGTH] = str(case.body.index(b"\n") + 1)
        return
    case.headers.pop(LENGTH, None)
    case.body = copy.deepcopy(case.body)
    [tensor] = case.body["inputs"]
    if tensor.get("parameters"):
        tensor["parameters"].pop("binary_data_size", None)
    if tensor["name"] == "image":
        tensor["shape"] = [len(tensor.setdefault("data", [PNG]))]
    else:
        tensor["shape"], tensor["data"] = [1, 3, SIDE, SIDE], [0.5] * (3 * SIDE * SIDE)
    if case.body.get("outputs"):
        case.body["outputs"] = list({x["name"]: x for x in case.body["outputs"]}.values())


def with_binary_data(picture: bytes) -> bytes:
    """A request of the protocol with its picture behind the JSON, which ends with its line."""
    size = len(picture) + 4
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    header = {"inputs": [{**tensor, "parameters": {"binary_data_size": size}}]}
    return json.dumps(header).encode() + b"\n" + struct.pack("<I", len(picture)) + picture


def pictures(format_name: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([encode(make_picture(seed), format_name) for seed in range(3)])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    """The schema of an app that is ready; valid pictures are pictures."""
    network_input = {"height": SIDE, "width": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3}
    artifact = make_artifact(tmp_path_factory.mktemp("small"), input=network_input)
    settings = Settings(model_path=artifact, model_version="3", inference_threads=1)
    workers = Workers(queue_size=settings.queue_size, threads=1)
    lifecycle, metrics = Lifecycle(), Metrics()
    lifecycle.loaded(load_model(settings, workers))
    for name in ("jpeg", "png", "webp"):
        schemathesis.openapi.media_type(f"image/{name}", pictures(name.upper()))
    schemathesis.openapi.media_type(
        "application/octet-stream", pictures("WEBP").map(with_binary_data)
    )
    schemathesis.openapi.format("binary", pictures("JPEG"))
    schemathesis.openapi.format("byte", st.just(PNG))
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json",
        create_app(settings, lifecycle, workers, metrics),
        config=SchemathesisConfig.from_dict(CONFIG),
    )
    schemathesis.hook("before_call")(fit)
    yield schema
    unregister_hooks()
    unregister_string_format("binary")
    unregister_string_format("byte")
    unregister_all()
    workers.close()


def failures(scenario: events.ScenarioFinished) -> Iterator[str]:
    """Each broken promise of one scenario, with a command that repeats its request."""
    for checks in scenario.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                yield (
                    f"{scenario.phase.value}: {scenario.recorder.label}: {check.name}:"
                    f" {failure.message}\n  {check.failure_info.code_sample[:1000]}"
                )


def test_what_is_answered_is_what_the_schema_says(
    api: OpenApiSchema, capsys: pytest.CaptureFixture[str]
):
    found: list[str] = []
    counts: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for event in from_schema(api).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            counts["requests"] += len(event.recorder.interactions)
            counts["checks"] += sum(map(len, event.recorder.checks.values()))
            found += failures(event)
            answers = (call.response for call in event.recorder.interactions.values())
            good[event.recorder.label] += sum(
                answer is not None and answer.status_code == 200 for answer in answers
            )
    assert not found, f"{len(found)} findings\n" + "\n".join(found)
    few = {label: count for label, count in good.items() if count < 10}
    assert not few, f"too few good answers to say anything: {few}"
    with capsys.disabled():
        figures = ", ".join(f"{name} {count}" for name, count in counts.items())
        sys.stdout.write(f" schemathesis: {figures}, findings 0 ")
