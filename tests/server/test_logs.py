from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from model_server import tracing
from model_server.log_writer import LogWriter
from model_server.sampling import Sampler
from tests.server.artifacts import encode, make_picture

JPEG = {"content": encode(make_picture())}
IMAGE = {"content-type": "image/jpeg"}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """The log lines of this test, as they are before they become JSON."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def of_requests(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request" and line["log_level"] == "info"]


@given(
    per_second=st.integers(1, 20),
    gaps=st.lists(st.floats(0, 2, allow_nan=False), max_size=200),
)
def test_the_lines_and_what_is_pending_stand_for_every_request(per_second: int, gaps: list[float]):
    sampler, now, standing_for, written_at = Sampler(per_second), 100.0, 0, []
    for count, gap in enumerate(gaps, 1):
        now += gap
        number = sampler.take(now)
        if number is not None:
            assert number >= 1
            standing_for += number
            written_at.append(now)
        assert standing_for + sampler.pending == count
    for index, first in enumerate(written_at):
        for length, last in enumerate(written_at[index:], 1):
            assert length <= per_second + (last - first) * per_second + 1e-6


@given(gaps=st.lists(st.floats(0.2, 5), max_size=50))
def test_below_the_limit_every_request_has_a_line(gaps: list[float]):
    sampler, now = Sampler(5), 0.0
    for gap in gaps:
        now += gap
        assert sampler.take(now) == 1


def test_without_a_limit_every_request_has_a_line():
    sampler = Sampler(0)
    assert [sampler.take(1.0) for _ in range(1000)] == [1] * 1000


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        (VALID, True),
        (f"00-{TRACE}-{PARENT}-00", True),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"01-{TRACE}-{PARENT}-01", True),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", True),
        (f"cc-{TRACE}-{PARENT}-01.what-comes-later", False),
        (f"00-{TRACE}-{PARENT}-01-more", False),
        (f"00-{TRACE}-{PARENT}-01-", False),
        (f"ff-{TRACE}-{PARENT}-01", False),
        (f"00-{'0' * 32}-{PARENT}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (VALID.upper(), False),
        (f"00-{TRACE[1:]}-{PARENT}-01", False),
        (f"00-{TRACE}-{PARENT}", False),
        (f"0-{TRACE}-{PARENT}-01", False),
        (f"00-{TRACE}-{PARENT}-0x", False),
        (f"{VALID}\n", False),
        (f" {VALID}", False),
        ("", False),
    ],
)
def test_a_traceparent_is_read_as_the_specification_says(header: str, *, valid: bool):
    trace = tracing.parse([header], [])
    assert (trace is not None) == valid
    if trace is not None:
        assert (trace.trace_id, trace.parent_id) == (TRACE, PARENT)


def test_two_traceparents_are_none():
    assert tracing.parse([VALID, VALID], []) is None
    assert tracing.parse([], ["a=1"]) is None


@given(st.text())
def test_no_traceparent_breaks_the_parser(header: str):
    tracing.parse([header], [header])


def test_a_request_that_follows_has_this_ones_span_as_parent_and_the_callers_state():
    trace = tracing.parse([f"00-{TRACE}-{PARENT}-03"], ["a=1", "b=2"])
    assert trace is not None
    assert trace.headers() == {
        "traceparent": f"00-{TRACE}-{trace.span_id}-01",
        "tracestate": "a=1,b=2",
    }
    assert re.fullmatch("[0-9a-f]{16}", trace.span_id)
    assert trace.span_id != PARENT


async def test_a_requests_line_has_its_trace(
    client: httpx.AsyncClient, lines: list[dict[str, Any]]
):
    await client.post("/predict", **JPEG, headers={**IMAGE, "traceparent": VALID})
    await client.post("/predict", **JPEG, headers={**IMAGE, "traceparent": "nonsense"})
    traced, untraced = of_requests(lines)
    assert (traced["trace_id"], traced["parent_id"]) == (TRACE, PARENT)
    assert traced["span_id"] not in (PARENT, "")
    assert not {"trace_id", "parent_id", "span_id"} & set(untraced)
    assert traced["sampled"] == untraced["sampled"] == 1


async def test_a_refused_requests_line_names_its_problem(
    client: httpx.AsyncClient, lines: list[dict[str, Any]]
):
    await client.post("/predict", content=b"x", headers=IMAGE)
    await client.get("/nothing")
    assert [line["problem"] for line in of_requests(lines)] == ["not-an-image", "not-found"]


class TestUnderLoad:
    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"log_requests_per_second": 2})

    async def test_answers_are_sampled_and_refusals_have_room_of_their_own(
        self, client: httpx.AsyncClient, lines: list[dict[str, Any]]
    ):
        for _ in range(40):
            await client.get("/openapi.json")
        for _ in range(2):
            await client.get("/nothing")
        answered = [line for line in of_requests(lines) if line["status"] == 200]
        refused = [line for line in of_requests(lines) if line["status"] == 404]
        assert 2 <= len(answered) < 40
        assert sum(line["sampled"] for line in answered) <= 40
        assert answered[-1]["sampled"] > 1 or len(answered) == 2
        assert [line["sampled"] for line in refused] == [1, 1]

    async def test_probes_are_not_sampled(
        self, client: httpx.AsyncClient, lines: list[dict[str, Any]]
    ):
        for _ in range(10):
            await client.get("/ready")
        probes = [line for line in lines if line.get("path") == "/ready"]
        assert len(probes) == 10
        assert {line["log_level"] for line in probes} == {"debug"}


async def test_a_line_has_no_more_of_a_path_than_256_characters(
    client: httpx.AsyncClient, lines: list[dict[str, Any]]
):
    await client.get("/" + "x" * 5000)
    assert len(of_requests(lines)[0]["path"]) == 256


def test_lines_that_nobody_reads_hold_nobody_up_and_what_does_not_fit_is_dropped_and_counted():
    reading, writing = os.pipe()
    writer, dropped = LogWriter(writing, max_lines=100), []
    writer.on_drop = lambda: dropped.append(None)
    lines = [f"{number:05} {'x' * 200}\n" for number in range(2_000)]
    for line in lines:
        writer.write(line)
    assert 0 < len(dropped) < len(lines)
    with os.fdopen(reading) as log:
        said = [log.readline() for _ in range(len(lines) - len(dropped))]
        assert set(said) <= set(lines)
        assert said == sorted(said)
        writer.write("the last words\n")
        writer.drain()
        assert log.readline() == "the last words\n"
    os.close(writing)


def test_a_log_that_was_closed_is_dropped():
    reading, writing = os.pipe()
    os.close(reading)
    writer, dropped = LogWriter(writing), []
    writer.on_drop = lambda: dropped.append(None)
    for _ in range(3):
        writer.write("a line\n")
    writer.drain()
    assert len(dropped) == 3
    os.close(writing)


def test_a_server_whose_log_nobody_reads_any_more_serves_on_and_ends(artifact: Path):
    reading, writing = os.pipe()
    settings = {"MODEL_PATH": str(artifact), "ENGINE": "torch", "DRAIN_SECONDS": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "model_server.main", "--host", "127.0.0.1", "--port", "0"],
        stderr=writing,
        env={**os.environ, **settings, "LOG_REQUESTS_PER_SECOND": "0"},
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as log:
            events = map(json.loads, log)
            port = next(event["port"] for event in events if event["event"] == "listening")
            next(event for event in events if event["event"] == "ready")
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                for _ in range(600):  # a pipe holds some hundred of these lines
                    assert client.get("/" + "x" * 250).status_code == 404
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
