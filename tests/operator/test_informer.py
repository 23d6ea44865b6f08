"""The informer: on a real API server, and on scripted ones that are not well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from model_operator import naming
from model_operator.clients import cluster as cluster_module
from model_operator.clients import informer as informer_module
from model_operator.clients.cluster import Cluster
from model_operator.clients.informer import Informer
from model_operator.clients.view import Key, View
from tests.operator.loopback import cluster_of
from tests.operator.test_cluster_client import service

DEADLINE_SECONDS = 30
RETRY_AFTER_SECONDS = 7


async def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not check():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def listening(
    cluster: Cluster,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    *,
    kind: str = "Service",
) -> AsyncIterator[list[Key]]:
    """The keys that an informer reports, while it runs."""
    heard: list[Key] = []
    informer = Informer(cluster, View(kind, None, heard.append), sleep)
    task = asyncio.create_task(informer.run())
    try:
        yield heard
        assert not task.done(), "the informer has ended by itself"
    finally:
        task.cancel()
        await asyncio.wait([task])


def owned(namespace: str, name: str, owner: str) -> dict[str, Any]:
    return service(namespace, name, naming.identity_labels(owner))


class Pauses:
    """Notes the pauses that an informer would make, and makes none."""

    def __init__(self) -> None:
        self.made: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.made.append(seconds)
        await asyncio.sleep(0)


# --- a real API server -----------------------------------------------------------------------


@pytest.mark.api
async def test_what_exists_appears_changes_and_goes_is_reported_under_its_owner(
    cluster: Cluster, namespace: str
):
    await cluster.apply(owned(namespace, "before", "a"))
    async with listening(cluster) as heard:
        await until(lambda: (namespace, "a") in heard, "what existed before")
        made = await cluster.apply(owned(namespace, "later", "b"))
        await until(lambda: (namespace, "b") in heard, "what appeared")
        heard.clear()
        await cluster.apply(owned(namespace, "later", "c"))
        await until(lambda: {(namespace, "b"), (namespace, "c")} <= {*heard}, "both owners")
        heard.clear()
        await cluster.delete("Service", namespace, "later", made["metadata"]["uid"])
        await until(lambda: (namespace, "c") in heard, "what went")


@pytest.mark.api
async def test_objects_of_others_are_not_heard_of(cluster: Cluster, namespace: str):
    strangers = (
        {},
        {naming.OWNER_LABEL: "stranger"},
        {naming.MANAGED_BY_LABEL: "helm", naming.OWNER_LABEL: "stranger"},
        {naming.MANAGED_BY_LABEL: naming.MANAGER},
    )
    async with listening(cluster) as heard:
        for number, labels in enumerate(strangers):
            await cluster.apply(service(namespace, f"stranger-{number}", labels))
        await cluster.apply(owned(namespace, "ours", "a"))
        await until(lambda: (namespace, "a") in heard, "our own object, the last one made")
        assert {key for key in heard if key[0] == namespace} == {(namespace, "a")}


@pytest.mark.api
async def test_a_watch_that_the_server_closes_is_taken_up_where_it_ended(
    cluster: Cluster, namespace: str, monkeypatch
):
    monkeypatch.setattr(cluster_module, "WATCH_SECONDS", 1)
    versions = []
    watch = cluster.watch
    monkeypatch.setattr(cluster, "watch", lambda *a, **k: versions.append(a[3]) or watch(*a, **k))
    with capture_logs() as logs:
        async with listening(cluster) as heard:
            await until(lambda: len(versions) >= 1, "the first watch")
            await cluster.apply(owned(namespace, "first", "a"))
            await until(lambda: len(versions) >= 3, "two renewals")
            await cluster.apply(owned(namespace, "second", "b"))
            await until(lambda: (namespace, "b") in heard, "a change after the renewals")
    assert heard.count((namespace, "a")) == 1
    assert int(versions[1]) > int(versions[0])
    assert not logs


# --- scripted API servers --------------------------------------------------------------------


def metadata_of(name: str, version: str = "5") -> dict[str, Any]:
    labels = naming.identity_labels(name)
    identity = {"uid": f"uid-{name}", "name": name, "namespace": "v"}
    return {**identity, "labels": labels, "resourceVersion": version}


class ScriptedServer:
    """Answers each list with the next names, and each watch with the next step of its script."""

    def __init__(self, *lists: tuple[str, ...], watches: list[Any]) -> None:
        self.lists = list(lists)
        """The last one is given again and again."""
        self.watches = watches
        """An event, a status, or None for a stream that ends at once; then streams are silent."""
        self.watched = 0
        self.listed = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if "watch" in request.query:
            self.watched += 1
            return await self._watch(request, self.watches.pop(0) if self.watches else {})
        self.listed += 1
        names = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        items = [{"metadata": metadata_of(name)} for name in names]
        metadata = {"resourceVersion": "7"}
        return web.json_response({"apiVersion": "v1", "metadata": metadata, "items": items})

    async def _watch(
        self, request: web.BaseRequest, step: dict[str, Any] | int | None
    ) -> web.StreamResponse:
        if isinstance(step, int):
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if step == 429 else {}
            return web.json_response({"message": "no"}, status=step, headers=headers)
        response = web.StreamResponse()
        await response.prepare(request)
        if step:
            await response.write(json.dumps(step).encode() + b"\n")
        if step is not None:
            await asyncio.Event().wait()
        return response


GONE = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}}


@pytest.mark.parametrize("gone", [GONE, 410], ids=["in the stream", "as the answer"])
async def test_after_a_410_it_lists_again_at_once_and_tells_of_what_was_deleted_meanwhile(gone):
    server = ScriptedServer(("stays", "goes"), ("stays",), watches=[gone])
    with capture_logs() as logs:
        async with cluster_of(server.answer) as cluster, listening(cluster) as heard:
            await until(lambda: server.watched == 2, "a watch after the second list")
    assert sorted(heard) == [("v", "goes"), ("v", "goes"), ("v", "stays")], "the same is no news"
    assert heard[-1] == ("v", "goes")
    assert not logs


@pytest.mark.parametrize("gone", [GONE, 410], ids=["in the stream", "as the answer"])
async def test_a_410_after_every_list_makes_no_storm_of_lists(gone):
    pauses = Pauses()
    server = ScriptedServer(("a",), watches=[gone] * 5)
    async with cluster_of(server.answer) as cluster, listening(cluster, pauses.sleep):
        await until(lambda: server.watched == 6, "the sixth watch")
    assert pauses.made == [pytest.approx(due, rel=0.31) for due in (1, 2, 4, 4)]


@pytest.mark.parametrize("trouble", [500, 403, None], ids=["500", "403", "closed at once"])
async def test_while_only_the_watch_fails_the_pauses_grow_all_the_same(trouble):
    server = ScriptedServer(("a",), watches=[trouble, trouble])
    with capture_logs() as logs:
        async with cluster_of(server.answer) as cluster, listening(cluster):
            await until(lambda: server.watched == 3, "the third watch")
    assert [entry["pause"] for entry in logs] == [
        pytest.approx(0.5, rel=0.31),
        pytest.approx(1, rel=0.31),
    ]


async def test_however_long_the_trouble_the_next_attempt_is_seconds_away():
    pauses = Pauses()
    server = ScriptedServer(("a",), watches=[500] * 30)
    async with cluster_of(server.answer) as cluster, listening(cluster, pauses.sleep):
        await until(lambda: server.watched == 31, "thirty attempts")
    assert max(pauses.made) <= 6


async def test_the_pause_that_the_api_server_asks_for_is_kept_and_no_list_is_made():
    pauses = Pauses()
    server = ScriptedServer(("a",), watches=[429])
    async with cluster_of(server.answer) as cluster, listening(cluster, pauses.sleep):
        await until(lambda: server.watched == 2, "the second watch")
    assert pauses.made[0] == RETRY_AFTER_SECONDS
    assert server.listed == 1


async def test_a_watch_that_tells_something_makes_the_next_pause_the_first_again(monkeypatch):
    monkeypatch.setattr(cluster_module, "SILENCE_SECONDS", 0.1)
    server = ScriptedServer(("a",), watches=[500, BOOKMARK])
    with capture_logs() as logs:
        async with cluster_of(server.answer) as cluster, listening(cluster):
            await until(lambda: server.watched >= 3, "the third watch")
    assert [entry["pause"] for entry in logs][:2] == [pytest.approx(0.5, rel=0.31)] * 2
    assert server.listed == 2, "a 500 is followed by a list, a silence is not"


async def test_watches_that_live_and_have_nothing_to_tell_are_renewed_as_soon_each_time(
    monkeypatch,
):
    monkeypatch.setattr(cluster_module, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(informer_module, "SHORTEST_WATCH_SECONDS", 0.1)
    server = ScriptedServer(("a",), watches=[])
    with capture_logs() as logs:
        async with cluster_of(server.answer) as cluster, listening(cluster):
            await until(lambda: server.watched >= 4, "the fourth watch")
    assert [entry["pause"] for entry in logs][:3] == [pytest.approx(0.5, rel=0.31)] * 3
    assert {entry["log_level"] for entry in logs} == {"info"}


async def test_a_watch_that_is_distrusted_begins_anew_with_a_list():
    server = ScriptedServer(("a",), ("a", "b"), watches=[BOOKMARK])
    heard: list[Key] = []
    async with cluster_of(server.answer) as cluster:
        informer = Informer(cluster, View("Service", None, heard.append))
        informer.distrust()  # nothing is watched yet
        task = asyncio.create_task(informer.run())
        await until(lambda: server.watched == 1, "the first watch")
        informer.distrust()
        await until(lambda: ("v", "b") in heard, "what the watch left out")
        await until(lambda: server.watched == 2, "the second watch")
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])
    assert server.listed == 2, "the second watch is trusted"


async def test_a_kind_is_watched_in_the_version_that_is_served_as_soon_as_one_is(monkeypatch):
    monkeypatch.setattr(cluster_module, "NOT_SERVED_SECONDS", 0)
    pauses, paths = Pauses(), []
    server, served = ScriptedServer(("a",), watches=[]), False

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        if request.path == "/apis/policy/v1beta1" and served:
            return web.json_response({"resources": [{"kind": "PodDisruptionBudget"}]})
        if request.path in ("/apis/policy/v1", "/apis/policy/v1beta1"):
            return web.json_response({"message": "not here"}, status=404)
        return await server.answer(request)

    async with (
        cluster_of(handler) as cluster,
        listening(cluster, pauses.sleep, kind="PodDisruptionBudget") as heard,
    ):
        with capture_logs() as logs:
            await until(lambda: len(pauses.made) >= 2, "two attempts")
            assert not logs, "that a cluster has no such kind is no trouble"
            served = True
            await until(lambda: server.watched == 1, "the watch")
    assert heard == [("v", "a")]
    assert set(paths) - {"/apis/policy/v1", "/apis/policy/v1beta1"} == {
        "/apis/policy/v1beta1/poddisruptionbudgets"
    }


async def test_a_kind_that_no_cluster_serves_has_been_listed_all_the_same():
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"message": "not here"}, status=404)

    pauses, view = Pauses(), View("PodDisruptionBudget", None, lambda key: None)
    async with cluster_of(handler) as cluster:
        task = asyncio.create_task(Informer(cluster, view, pauses.sleep).run())
        await until(lambda: view.listed, "a list of nothing")
        task.cancel()
        await asyncio.wait([task])


async def test_an_answer_that_is_nonsense_does_not_end_the_informer():
    answers = ["<html>", '{"half":', "[]"]

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if answers:
            return web.Response(text=answers.pop())
        return await server.answer(request)

    server = ScriptedServer(("a",), watches=[])
    async with cluster_of(handler) as cluster, listening(cluster) as heard:
        await until(lambda: bool(heard), "the first list that can be read")
