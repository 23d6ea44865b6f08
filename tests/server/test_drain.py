"""Real processes: ending without losing a request, and the connections' life before that."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.drain.campaign import Outcome, Plan, play
from tests.drain.clients import HABITS
from tests.server.artifacts import encode, make_artifact, make_picture, make_state
from tests.server.load import Connection, request, request_head
from tests.server.processes import DEADLINE_SECONDS, ServerProcess

Start = Callable[..., ServerProcess]
JPEG = encode(make_picture())


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)


def refuses_connections(server: ServerProcess) -> bool:
    try:
        httpx.get(f"{server.url}/health", timeout=5)
    except httpx.ConnectError:
        return True
    except httpx.ReadError:
        pass  # it was in the listener's queue when that was closed: ask again
    return False


async def sample(artifact: Path, folder: Path, *, terminations: int, drain_off: bool) -> Outcome:
    """What `make test-drain` plays, a few times."""
    return await play(
        Plan(
            artifact=artifact,
            folder=folder,
            terminations=terminations,
            seed=4,
            drain_seconds=1,
            drain_off=drain_off,
        )
    )


async def test_a_drain_under_load_loses_no_request(artifact: Path, tmp_path: Path):
    outcome = await sample(artifact, tmp_path, terminations=2, drain_off=False)
    assert outcome.ledger.losses == []
    assert outcome.bad_ends == []
    assert len(outcome.exits) == 2
    assert outcome.ledger.requests == outcome.ledger.answered.total()
    assert set(outcome.ledger.by_client) == {habit.name for habit in HABITS}


async def test_without_the_drain_the_same_clients_see_losses(artifact: Path, tmp_path: Path):
    outcome = await sample(artifact, tmp_path, terminations=1, drain_off=True)
    assert outcome.ledger.losses
    assert outcome.bad_ends == []


async def test_requests_sent_at_once_are_all_answered_before_the_connection_is_closed(
    start_server: Start,
):
    server = start_server(drain_seconds=60).wait_ready()
    async with await Connection.to(("127.0.0.1", server.port)) as connection:
        server.signal(signal.SIGTERM)
        server.event("draining")
        connection.writer.write(request(JPEG) * 3)
        answers = [await connection.answer() for _ in range(3)]
        assert [(answer.status, answer.closing) for answer in answers] == [
            (200, False),
            (200, False),
            (200, True),
        ]
        await connection.wait_closed_by_server()


async def test_while_draining_an_idle_connection_is_answered_and_told_to_close(
    start_server: Start,
):
    server = start_server(drain_seconds=60).wait_ready()
    async with await Connection.to(("127.0.0.1", server.port)) as connection:
        assert not (await connection.post(JPEG)).closing
        server.signal(signal.SIGTERM)
        server.event("draining")
        ready = await asyncio.to_thread(httpx.get, f"{server.url}/ready")
        assert ready.status_code == 503
        answer = await connection.post(JPEG)
        assert (answer.status, answer.closing) == (200, True)
        await connection.wait_closed_by_server()


def test_the_drain_lasts_as_long_as_it_was_told(start_server: Start):
    server = start_server(drain_seconds=1).wait_ready()
    server.signal(signal.SIGTERM)
    started = time.monotonic()
    assert server.wait() == 0
    assert 1 <= time.monotonic() - started < 10


def test_a_second_sigterm_ends_the_drain(start_server: Start):
    server = start_server(drain_seconds=60).wait_ready()
    server.signal(signal.SIGTERM)
    server.event("draining")
    server.signal(signal.SIGTERM)
    assert server.wait(5) == 0


def test_ctrl_c_ends_without_a_drain(start_server: Start):
    server = start_server(drain_seconds=60).wait_ready()
    server.signal(signal.SIGINT)
    assert server.wait(5) == 0


def test_sigterm_while_the_model_loads_ends_without_a_drain(start_server: Start):
    server = start_server(drain_seconds=60)
    server.event("listening")
    server.signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert "draining" not in [event["event"] for event in server.events]


def test_sigterm_while_an_artifact_is_read_that_takes_minutes_ends_at_once(
    start_server: Start, tmp_path: Path
):
    folder = make_artifact(tmp_path / "large")
    with (folder / "zeros").open("wb") as file:
        file.truncate(1 << 40)  # without a block on the disk; reading it takes minutes
    server = start_server(folder)
    server.event("listening")
    server.signal(signal.SIGTERM)
    server.event("stopping")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


async def test_a_request_in_flight_when_listening_stops_is_finished(start_server: Start):
    server = start_server(drain_seconds=0).wait_ready()
    async with await Connection.to(("127.0.0.1", server.port)) as connection:
        connection.writer.write(request_head(len(JPEG)) + JPEG[:100])
        await until(lambda: in_progress(server) == 2, "the request is under way")
        server.signal(signal.SIGTERM)
        await until(lambda: refuses_connections(server), "listening has stopped")
        connection.writer.write(JPEG[100:])
        answer = await connection.answer()
        assert (answer.status, answer.closing) == (200, True)
    assert await asyncio.to_thread(server.wait) == 0


async def test_a_third_signal_cuts_off_what_is_in_flight(start_server: Start):
    server = start_server(body_timeout_seconds=60, request_timeout_seconds=60).wait_ready()
    async with await Connection.to(("127.0.0.1", server.port)) as connection:
        connection.writer.write(request_head(len(JPEG)) + JPEG[:100])
        await until(lambda: in_progress(server) == 2, "the request is under way")
        server.signal(signal.SIGINT)
        server.event("stopping")
        server.signal(signal.SIGINT)
        assert await asyncio.to_thread(server.wait, 5) == 0


def in_progress(server: ServerProcess) -> float:
    """The gauge's value: the reading itself is 1."""
    text = httpx.get(f"{server.url}/metrics").text
    [line] = [x for x in text.splitlines() if x.startswith("http_requests_in_progress{")]
    return float(line.split()[-1])


def test_a_prediction_that_takes_too_long_is_answered_503_and_does_not_hold_up_the_end(
    start_server: Start, tmp_path: Path
):
    channels = (3, 64, 256)
    slow = make_artifact(
        tmp_path / "slow",
        state=make_state(channels),
        architecture={"name": "SimpleCNN", "channels": channels},
        input={"height": 512, "width": 512, "mean": [0.5] * 3, "std": [0.5] * 3},
    )
    named = {"engine": "torch", "decoding": "full"}  # trying more takes most of a minute
    options = {"request_timeout_seconds": 0.2, "inference_threads": 1}
    server = start_server(slow, **named, **options).wait_ready()
    files = [("file", ("a", JPEG, "image/jpeg"))] * 12  # seconds of work for one thread
    response = httpx.post(f"{server.url}/predict", files=files, timeout=30)
    assert response.status_code == 503
    assert "took longer than 0.2 s" in response.json()["detail"]
    server.signal(signal.SIGINT)
    assert server.wait(5) == 0
    assert server.event("predictions were cut off by the end of the process")["count"] == 1


async def test_the_first_answer_after_the_connections_age_closes_it(start_server: Start):
    server = start_server(connection_max_age_seconds=0.5).wait_ready()
    started = time.monotonic()
    async with await Connection.to(("127.0.0.1", server.port)) as connection:
        kept = 0
        while not (await connection.post(JPEG)).closing:
            kept += 1
            assert time.monotonic() - started < 5
        # The loop's clock counts milliseconds and stands still during a turn.
        assert time.monotonic() - started >= 0.49
        assert kept > 5
        await connection.wait_closed_by_server()


async def test_idle_connections_are_closed_after_the_keep_alive_time_and_not_before(
    start_server: Start,
):
    server = start_server(keep_alive_seconds=1).wait_ready()
    address = ("127.0.0.1", server.port)
    async with await Connection.to(address) as used, await Connection.to(address) as unused:
        await used.post(JPEG)
        started = time.monotonic()
        await used.wait_closed_by_server()
        assert 0.9 < time.monotonic() - started < 10
        await unused.wait_closed_by_server()
