"""The agent and its HAProxy through their life: changes under load, bad files, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from model_operator.cli.load_client import Load, Report, Target
from model_router.runtime_api import RuntimeApi
from tests.router.backends import Backend
from tests.router.router_process import Router, document, eventually, running

Pods = Mapping[str, Backend]
LATE_SECONDS = 2.0


def load(router: Router, size: int = 2000) -> Load:
    target = Target("127.0.0.1", router.port, "/predict", b"x" * size)
    return Load(target, late_seconds=LATE_SECONDS)


def lost(report: Report) -> dict[str, int]:
    """What was not answered. What was late was: that is what a busy machine makes of it."""
    return {kind: count for kind, count in report.failures.items() if kind != "late"}


def api_of(router: Router) -> RuntimeApi:
    run = router.folder / "run"
    return RuntimeApi(run / "admin.sock", run / "route.map")


def haproxies(router: Router) -> list[int]:
    """The processes of the router's session that are HAProxy."""
    assert router.process is not None
    listed = subprocess.run(
        ["ps", "-o", "pid=,comm=", "-s", str(router.process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, name in rows if name == "haproxy"]


async def test_no_request_is_lost_over_weights_the_commit_and_a_dying_canary(
    tmp_path: Path, pods: Pods
):
    async with running(tmp_path, document(pods, "a")) as router:
        (before,) = haproxies(router)
        traffic = load(router)
        sending = asyncio.create_task(traffic.run_open(3000, 400))
        for weight in (1, 10, 33, 50, 100):
            await router.give(document(pods, "a", "b", weight))
        await router.give(document(pods, "b"))
        await router.give(document(pods, "b", "a", 50))
        await pods["a"].die()
        await asyncio.gather(router.give(document(pods, "b")), pods["a"].listen())
        while not sending.done():
            await router.give(document(pods, "a", "b", 50))
            await router.give(document(pods, "b"))
        report = await sending
        assert haproxies(router) == [before], "it was started anew"
    # What was in flight in a pod that dies breaks off, and is sent again.
    assert lost(report) == {}
    assert report.requests == 3000
    assert report.versions.keys() == {"a", "b"}


async def test_this_load_would_notice_a_loss(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a")) as router:
        traffic = load(router)
        sending = asyncio.create_task(traffic.run_open(500, 500))
        await asyncio.to_thread(router.kill)
        report = await sending
    assert report.failures.total() > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"stable": "a"}', "revisions"),
        ('{"stable": "a", "weight": 0, "revisions": {"a": {"address": "cats:80"}}}', "IP:PORT"),
        ('{"stable": "c", "weight": 0, "revisions": {"a": {"address": "1.2.3.4:80"}}}', "stable"),
        ('{"stable": "a", "weight": 5, "revisions": {"a": {"address": "1.2.3.4:80"}}}', "canary"),
    ],
)
async def test_a_file_that_is_no_route_changes_nothing_and_is_told_of(
    tmp_path: Path, pods: Pods, text: str, words: str
):
    async with running(tmp_path, document(pods, "a", "b", 100)) as router:
        good = await router.answer()
        router.write(text)
        await eventually(lambda: words in router.words(), "the refusal is in the log")
        answer = await router.answer()
        assert words in answer["error"]
        assert answer == good | {"error": answer["error"]}, "the last good route is in force"
        assert (await router.agent.get("/ready")).status_code == 200
        assert (await load(router).run_closed(20, 2)).versions == {"b": 20}
        await router.give(document(pods, "a"))


async def test_the_same_good_file_after_nonsense_takes_the_refusal_back(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a", "b", 10)) as router:
        good = await router.answer()
        router.write("{")
        await eventually(lambda: "not JSON" in router.words(), "the refusal is in the log")
        assert "not JSON" in (await router.answer())["error"]
        assert await router.give(document(pods, "a", "b", 10)) == good


async def test_a_router_without_a_good_file_is_not_ready_until_there_is_one(
    tmp_path: Path, pods: Pods
):
    router = Router(tmp_path)
    router.start()
    try:
        answer = await router.until(hash=None)
        assert "No such file" in answer["error"]
        assert (await router.agent.get("/ready")).status_code == 503
        assert (await router.agent.get("/health")).status_code == 200, "it is no reason to restart"
        await router.give(document(pods, "a"))
        assert (await router.agent.get("/ready")).status_code == 200
    finally:
        router.kill()
        await router.agent.aclose()


async def test_a_router_that_starts_anew_finds_its_route_in_the_file(tmp_path: Path, pods: Pods):
    route = document(pods, "a", "b", 30)
    async with running(tmp_path, route) as router:
        before = await router.answer()
        router.kill()
        router.start()
        await router.until(hash=before["hash"])
        assert await router.answer() == before
        assert (await load(router).run_closed(100, 4)).versions == {"a": 70, "b": 30}


async def test_what_somebody_changes_in_haproxy_is_neither_vouched_for_nor_left(
    tmp_path: Path, pods: Pods
):
    async with running(tmp_path, document(pods, "a", "b", 0)) as router:
        wanted = (await router.answer())["hash"]
        api = api_of(router)
        changes = (
            lambda: api.exchange_entries({**api.entries(), "route": "slot1:slot2:100"}),
            lambda: api.command("set server revisions/slot1 addr 127.0.0.1 port 9"),
            lambda: api.command("set server revisions/slot2 weight 1"),
            lambda: api.command("set server revisions/slot1 state maint"),
        )
        for change in changes:
            change()
            await router.until(hash=wanted, error=None)
        report = await load(router).run_closed(50, 2)
        assert report.versions == {"a": 50}
    assert router.words().count("route applied") == 1 + len(changes)


async def test_the_agent_ends_with_its_haproxy_so_that_both_are_started_anew(
    tmp_path: Path, pods: Pods
):
    async with running(tmp_path, document(pods, "a")) as router:
        (pid,) = haproxies(router)
        os.kill(pid, signal.SIGKILL)
        assert await router.ended() == 1
        assert "HAProxy has ended with status -9" in router.words()


async def test_metrics_are_by_revision(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a", "b", 20)) as router:
        pods["b"].status = 500
        await load(router).run_closed(100, 2)
        text = (await router.agent.get("/metrics")).text
        for line in (
            'model_router_requests_total{revision="a",code="2xx"} 80',
            'model_router_requests_total{revision="b",code="5xx"} 20',
            'model_router_weight{revision="a"} 80',
            'model_router_weight{revision="b"} 20',
            "model_router_ready 1",
        ):
            assert line in text.splitlines()
        await pods["b"].die()
        await load(router).run_closed(100, 2)
        text = (await router.agent.get("/metrics")).text
        assert 'model_router_redispatches_total{revision="b"} 20' in text.splitlines()


# --- the end -----------------------------------------------------------------------------------


async def test_a_router_that_drains_answers_on_and_asks_clients_to_leave(
    tmp_path: Path, pods: Pods
):
    async with running(tmp_path, document(pods, "a", "b", 10), drain_seconds=2) as router:
        async with httpx.AsyncClient(base_url=router.url) as client:
            assert "connection" not in (await client.post("/", content=b"x")).headers
            router.terminate()
            await router.until(draining=True)
            assert (await router.agent.get("/ready")).status_code == 503
            kept = await client.post("/", content=b"x")
            assert (kept.status_code, kept.headers["connection"]) == (200, "close")
            fresh = await httpx.AsyncClient(base_url=router.url).post("/", content=b"x")
            assert (fresh.status_code, fresh.headers["connection"]) == (200, "close")
            await router.give(document(pods, "a", "b", 50))
        assert await router.ended() == 0


async def test_a_request_in_flight_at_the_end_of_the_drain_is_answered(tmp_path: Path, pods: Pods):
    pods["a"].seconds = 1.5
    async with running(tmp_path, document(pods, "a"), drain_seconds=0) as router:
        asking = asyncio.create_task(load(router).run_closed(1, 1))
        await eventually(lambda: pods["a"].requests == 1, "the request is with its pod")
        router.terminate()
        assert lost(await asking) == {}
        assert await router.ended() == 0


async def test_no_request_is_lost_when_clients_move_on_while_a_router_drains(
    tmp_path: Path, pods: Pods
):
    """As when a pod of two is deleted: the endpoint leaves it, some requests still reach it."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    route = document(pods, "a", "b", 50)
    async with (
        running(tmp_path / "1", route, drain_seconds=6) as first,
        running(tmp_path / "2", route) as second,
    ):
        loads = load(first), load(second)
        leaving = asyncio.create_task(loads[0].run_open(3000, 300))
        staying = asyncio.create_task(loads[1].run_open(900, 300))
        first.terminate()
        await first.until(draining=True)
        await eventually(lambda: loads[0].report.requests >= 450, "1.5 s of the drain's 6")
        loads[0].stop()
        reports = await asyncio.gather(leaving, staying)
        assert await first.ended() == 0
    assert [lost(report) for report in reports] == [{}, {}]
