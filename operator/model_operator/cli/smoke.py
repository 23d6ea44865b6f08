"""`kubectl md smoke`: one request of each kind against a live endpoint."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from model_operator.cli import picture
from model_operator.cli.endpoint import Answer, Endpoint, request
from model_operator.cli.errors import Exit
from model_operator.cli.reach import reached, revisions
from model_operator.cli.session import as_json
from model_operator.cli.terminal import style_of

Body = Mapping[str, Any]


class Wrong(Exception):
    """An answer is not what it should be; the sentence says in what."""


@dataclass(frozen=True)
class Check:
    """What became of one request."""

    name: str
    passed: bool
    milliseconds: float
    words: str


async def run(arguments: argparse.Namespace) -> Exit:
    """Asks for everything once and judges each answer."""
    async with reached(arguments) as (endpoint, resource):
        known = revisions(resource) if resource else None
        checks, model = await _ask(endpoint, known, arguments.timeout)
    passed = all(check.passed for check in checks)
    if arguments.json:
        result = {
            "passed": passed,
            "endpoint": endpoint.url,
            "via": endpoint.words,
            "model": model,
            "checks": [asdict(check) for check in checks],
        }
        sys.stdout.write(as_json(result) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(checks, endpoint)) + "\n")
    return Exit.DONE if passed else Exit.FAILED


async def _ask(
    endpoint: Endpoint, known: frozenset[str] | None, seconds: float
) -> tuple[list[Check], Body]:
    """All checks, and the model that answered the prediction (empty when none did)."""
    model: dict[str, Any] = {}

    def predicted(answer: Answer) -> str:
        model.update(judge_prediction(answer, known))
        prediction = json.loads(answer.body)
        return f"{prediction['label']} ({prediction['confidence']:.2f}), version {model['version']}"

    async with aiohttp.ClientSession() as client:

        async def check(
            name: str, path: str, judge: Callable[[Answer], str], sent: bytes | None = None
        ) -> Check:
            started = time.monotonic()
            try:
                answer = await request(client, endpoint, path, seconds=seconds, picture=sent)
                words, passed = judge(answer), True
            except Wrong as wrong:
                words, passed = str(wrong), False
            except TimeoutError:
                words, passed = f"no answer within {seconds:g} s", False
            except (aiohttp.ClientError, OSError) as error:
                cause = getattr(error, "os_error", error)  # without aiohttp's own words
                words, passed = f"no answer: {cause or type(error).__name__}", False
            return Check(name, passed, round(1000 * (time.monotonic() - started), 1), words)

        checks = [
            await check("health", "/health", judge_plain),
            await check("ready", "/ready", judge_plain),
            await check("predict", "/predict", predicted, picture.png()),
        ]
        name = model.get("name")
        if name is not None:
            checks.append(await check("v2", f"/v2/models/{name}", judge_metadata))
        else:
            checks.append(Check("v2", False, 0.0, "not asked: no prediction named the model"))
        checks.append(await check("metrics", "/metrics", judge_metrics))
    return checks, model


def judge_plain(answer: Answer) -> str:
    """200 is all that is asked for."""
    if answer.status != 200:
        raise Wrong(problem(answer))
    return "200"


def judge_prediction(answer: Answer, known: frozenset[str] | None) -> Body:
    """The model that made a well-formed prediction."""
    judge_plain(answer)
    try:
        body = json.loads(answer.body)
        label, confidence = body["label"], body["confidence"]
        total = sum(body["probabilities"].values())
        model = {key: str(body["model"][key]) for key in ("name", "version", "revision")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Wrong(f"this is not a prediction of a model server: {_start(answer)}") from error
    if label not in body["probabilities"] or not 0 <= confidence <= 1 or abs(total - 1) > 0.01:
        raise Wrong(f"label, confidence and probabilities do not agree: {_start(answer)}")
    if known and model["revision"] not in known:
        names = " and ".join(sorted(known))
        raise Wrong(f"revision {model['revision']} answered; status names {names}")
    return model


def judge_metadata(answer: Answer) -> str:
    """The model's inputs and outputs, by the Open Inference Protocol."""
    judge_plain(answer)
    try:
        body = json.loads(answer.body)
        inputs = ", ".join(tensor["name"] for tensor in body["inputs"])
        outputs = ", ".join(tensor["name"] for tensor in body["outputs"])
    except (ValueError, KeyError, TypeError) as error:
        raise Wrong(f"this is not a model's V2 metadata: {_start(answer)}") from error
    return f"{body['name']}: {inputs} -> {outputs}"


def judge_metrics(answer: Answer) -> str:
    """What analysis needs."""
    judge_plain(answer)
    text = answer.body.decode(errors="replace")
    if "\nhttp_requests_total{" not in text:
        raise Wrong("there is no http_requests_total: an analysis would find nothing")
    return f"{sum(not line.startswith('#') for line in text.splitlines())} series"


def problem(answer: Answer) -> str:
    """What an error says of itself: a problem's detail, a Kubernetes status's message."""
    try:
        body = json.loads(answer.body)
        words = body.get("detail") or body.get("message")
    except (ValueError, AttributeError):
        words = None
    return f"{answer.status}: {words or _start(answer)}"


def _start(answer: Answer) -> str:
    return " ".join(answer.body[:120].decode(errors="replace").split())


def _lines(checks: list[Check], endpoint: Endpoint) -> list[str]:
    style = style_of(sys.stdout)
    lines = []
    for check in checks:
        mark = style.mark("ok  ", "good") if check.passed else style.mark("FAIL", "bad")
        lines.append(f"{mark}  {check.name:<8} {check.milliseconds:7.1f} ms  {check.words}")
    passed = sum(check.passed for check in checks)
    lines.append(f"{passed} of {len(checks)} passed, {endpoint.words}")
    return lines
