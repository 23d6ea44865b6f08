"""What clients of a router get: the real agent, a real HAProxy, backends on the loopback."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.router.backends import Backend, backends
from tests.router.router_process import Router, document, running

Pods = Mapping[str, Backend]


async def answers(router: Router, count: int, **request: object) -> Counter[str]:
    """Who answered, or the status of what was not 200."""
    seen: Counter[str] = Counter()
    async with httpx.AsyncClient(base_url=router.url, timeout=30) as client:
        for _ in range(count):
            answer = await client.post("/predict", **request)  # type: ignore[arg-type]
            good = answer.status_code == 200
            seen[answer.json()["model"]["version"] if good else str(answer.status_code)] += 1
    return seen


@pytest.mark.parametrize("weight", [0, 1, 10, 33, 50, 99, 100])
async def test_of_any_hundred_requests_in_turn_the_canary_gets_its_percent(
    tmp_path: Path, pods: Pods, weight: int
):
    async with running(tmp_path, document(pods, "a", "b", weight)) as router:
        seen = await answers(router, 200, content=b"x")
    assert seen == Counter(a=200 - 2 * weight, b=2 * weight)


async def test_a_new_weight_and_the_commit_are_in_force_once_the_agent_says_so(
    tmp_path: Path, pods: Pods
):
    async with running(tmp_path, document(pods, "a")) as router:
        for weight in (5, 50, 100):
            told = await router.give(document(pods, "a", "b", weight))
            assert told["weights"] == {"a": 100 - weight, "b": weight}
            assert await answers(router, 100) == +Counter(a=100 - weight, b=weight)
        told = await router.give(document({"b": pods["b"]}, "b"))
        assert (told["weights"], told["stable"], told["canary"]) == ({"b": 100}, "b", None)
        assert told["addresses"] == {"b": pods["b"].address}
        assert await answers(router, 50) == Counter(b=50)


async def test_an_idle_connection_outlives_every_change_of_the_route(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a")) as router:
        reader, writer = await asyncio.open_connection("127.0.0.1", router.port)

        async def who_answers() -> str:
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            return str(json.loads(body)["model"]["version"])

        seen = [await who_answers()]
        for route in (document(pods, "a", "b", 100), document(pods, "b"), document(pods, "a")):
            await router.give(route)
            seen.append(await who_answers())
        writer.close()
    assert seen == ["a", "b", "b", "a"]


async def test_more_revisions_in_turn_than_there_are_slots_are_all_served(
    tmp_path: Path, haproxy: None
):
    names = [f"r{number}" for number in range(12)]
    async with (
        backends(*names) as pods,
        running(tmp_path, document({"r0": pods["r0"]}, "r0")) as router,
    ):
        for before, name in itertools.pairwise(names):
            both = {before: pods[before], name: pods[name]}
            await router.give(document(both, before, name, 50))
            assert (await answers(router, 10)).keys() == {before, name}
            await router.give(document({name: pods[name]}, name))
            assert await answers(router, 5) == Counter({name: 5})


# --- sticky and forced -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["header", "cookie"])
async def test_a_sticky_client_keeps_its_version_and_changes_it_one_way_only(
    tmp_path: Path, pods: Pods, kind: str
):
    users = [f"user-{number}" for number in range(150)]
    sticky = {"sticky": {kind: "X-User"}}
    before: set[str] = set()
    async with running(tmp_path, document(pods, "a", **sticky)) as router:
        async with httpx.AsyncClient(base_url=router.url) as client:
            for weight in (10, 33, 80):
                await router.give(document(pods, "a", "b", weight, **sticky))
                on_canary = set()
                for user in users:
                    field = {"X-User": user} if kind == "header" else {"Cookie": f"X-User={user}"}
                    versions = {
                        (await client.post("/", headers=field)).json()["model"]["version"]
                        for _ in range(2)
                    }
                    assert len(versions) == 1, "a client saw both versions at one weight"
                    if versions == {"b"}:
                        on_canary.add(user)
                assert before <= on_canary, "a client went back while the weight rose"
                assert abs(len(on_canary) - 1.5 * weight) < 4 * (1.5 * weight) ** 0.5
                before = on_canary
        assert await answers(router, 100) == Counter(a=20, b=80), "those without a name, in turn"


async def test_a_header_forces_a_version_whatever_its_weight_is(tmp_path: Path, pods: Pods):
    forced = {"forceHeader": "X-Version"}
    async with running(tmp_path, document(pods, "a", "b", 0, **forced)) as router:
        for value, version in {"canary": "b", "b": "b", "stable": "a", "a": "a"}.items():
            assert await answers(router, 5, headers={"X-Version": value}) == {version: 5}
        await router.give(document(pods, "a", "b", 100, **forced))
        assert await answers(router, 5, headers={"X-Version": "stable"}) == {"a": 5}
        unknown = ("", "c", "route", "to:canary", "canary stable")
        for value in unknown:
            assert await answers(router, 5, headers={"X-Version": value}) == {"b": 5}
        await router.give(document(pods, "a", "b", 0))
        assert await answers(router, 5, headers={"X-Version": "canary"}) == {"a": 5}


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1, 50, 100])
async def test_a_canary_without_a_pod_costs_no_request(tmp_path: Path, pods: Pods, weight: int):
    await pods["b"].die()
    async with running(tmp_path, document(pods, "a", "b", weight)) as router:
        assert await answers(router, 100, content=b"x" * 1000) == Counter(a=100)
        assert await answers(router, 2, content=b"x" * 10_000_000) == Counter(a=2)


async def test_no_request_waits_a_second_for_a_pod_that_does_not_take_its_connection(
    tmp_path: Path, pods: Pods
):
    await pods["b"].swallow()
    async with (
        running(tmp_path, document(pods, "a", "b", 50)) as router,
        httpx.AsyncClient(base_url=router.url, timeout=1.0) as client,
    ):
        answered = await asyncio.gather(*(client.post("/", content=b"x") for _ in range(10)))
    assert [answer.json()["model"]["version"] for answer in answered] == ["a"] * 10


@pytest.mark.parametrize("weight", [1, 50])
async def test_requests_of_a_stable_revision_that_refuses_go_to_the_canary(
    tmp_path: Path, pods: Pods, weight: int
):
    await pods["a"].die()
    async with running(tmp_path, document(pods, "a", "b", weight)) as router:
        assert await answers(router, 50) == Counter(b=50)


async def test_a_canary_at_weight_0_gets_nothing_even_when_stable_is_gone(
    tmp_path: Path, pods: Pods
):
    await pods["a"].die()
    async with (
        running(tmp_path, document(pods, "a", "b", 0)) as router,
        httpx.AsyncClient(base_url=router.url, timeout=30) as client,
    ):
        answer = await client.post("/", content=b"x")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == "no pod of the model takes requests"
    assert answer.headers["retry-after"] == "1"
    assert pods["b"].requests == 0


@pytest.mark.parametrize("failure", [502, 503, "cut off"])
async def test_a_post_that_fits_the_buffer_is_sent_again_elsewhere(
    tmp_path: Path, pods: Pods, failure: int | str
):
    if isinstance(failure, int):
        pods["b"].status = failure
    else:
        pods["b"].cuts_off = True
    async with running(tmp_path, document(pods, "a", "b", 50)) as router:
        assert await answers(router, 20, content=b"x" * 240_000) == Counter(a=20)
    assert pods["b"].requests == 10


async def test_a_body_beyond_the_buffer_is_told_what_its_revision_said(tmp_path: Path, pods: Pods):
    pods["b"].status = 503
    async with running(tmp_path, document(pods, "a", "b", 50)) as router:
        assert await answers(router, 4, content=b"x" * 300_000) == {"a": 2, "503": 2}


@pytest.mark.parametrize("status", [400, 413, 500])
async def test_what_a_server_says_is_not_asked_again(tmp_path: Path, pods: Pods, status: int):
    pods["b"].status = status
    async with running(tmp_path, document(pods, "a", "b", 50)) as router:
        seen = await answers(router, 10)
    assert seen.keys() == {"a", str(status)}
    assert seen[str(status)] == pods["b"].requests


async def test_large_pictures_pass_whole(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a")) as router:
        assert await answers(router, 3, content=b"x" * 10 * 1024 * 1024) == Counter(a=3)
    assert pods["a"].bytes == 3 * 10 * 1024 * 1024


async def test_the_server_hears_whose_request_it_is(tmp_path: Path, pods: Pods):
    async with running(tmp_path, document(pods, "a")) as router:
        await answers(router, 1)
        head = pods["a"].last_head
        assert head["x-forwarded-for"] == "127.0.0.1"
        assert len(head["x-request-id"]) == 36
        named = {"X-Request-ID": "mine", "X-Forwarded-For": "192.0.2.7"}
        await answers(router, 1, headers=named)
        assert pods["a"].last_head["x-request-id"] == "mine"
        assert pods["a"].last_head["x-forwarded-for"] == "127.0.0.1"
