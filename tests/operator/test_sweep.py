"""The sweep: on a real API server, and in virtual time over one that has trouble."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from model_operator import api, naming
from model_operator.clients import cluster as cluster_module
from model_operator.clients import view as view_module
from model_operator.clients.cluster import Cluster
from model_operator.clients.listing import read
from model_operator.clients.sweep import Sweep
from model_operator.clients.view import Key, View
from model_operator.errors import ApiError
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.loopback import cluster_of
from tests.operator.test_cluster_client import service
from tests.operator.test_informer import metadata_of, owned, until

SECONDS = 0.05


class Findings:
    """What a sweep tells of."""

    def __init__(self) -> None:
        self.found = 0
        self.missed = 0

    def sweep_found(self, kind: str, differences: int) -> None:
        self.found += differences

    def watch_missed(self, kind: str, objects: int) -> None:
        self.missed += objects


@contextlib.asynccontextmanager
async def sweeping(
    cluster: Cluster, *views: View, deaf: list[View] | None = None
) -> AsyncIterator[Findings]:
    findings = Findings()
    heard: list[View] = [] if deaf is None else deaf
    watches = {view: lambda view=view: heard.append(view) for view in views}
    task = asyncio.create_task(Sweep(cluster, watches, SECONDS, findings).run())
    try:
        yield findings
        assert not task.done(), "the sweep has ended by itself"
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.api
async def test_what_no_watch_tells_is_found_and_objects_of_others_are_not(
    cluster: Cluster, namespace: str, monkeypatch
):
    monkeypatch.setattr(cluster_module, "PAGE_SIZE", 2)
    heard: list[Key] = []
    view = View("Service", namespace, heard.append)
    made = [await cluster.apply(owned(namespace, f"s-{n}", f"o-{n}")) for n in range(5)]
    await cluster.apply(service(namespace, "stranger", {naming.OWNER_LABEL: "stranger"}))
    view.replace((await read(cluster, view)).present)
    assert sorted(heard) == [(namespace, f"o-{n}") for n in range(5)]
    heard.clear()
    async with sweeping(cluster, view) as findings:
        await cluster.delete("Service", namespace, "s-3", made[3]["metadata"]["uid"])
        await until(lambda: (namespace, "o-3") in heard, "what was deleted")
        await cluster.apply(
            {
                **owned(namespace, "s-1", "o-1"),
                "spec": {"type": "ExternalName"}
                | {"externalName": "x.example", "ports": made[1]["spec"]["ports"]},
            }
        )
        await until(lambda: (namespace, "o-1") in heard, "what was changed")
        await cluster.apply(owned(namespace, "s-9", "o-9"))
        await until(lambda: (namespace, "o-9") in heard, "what was made")
    assert sorted(heard) == [(namespace, f"o-{n}") for n in (1, 3, 9)]
    assert findings.found == 3


@pytest.mark.api
async def test_model_deployments_are_swept_whatever_their_labels(
    cluster: Cluster, namespace: str, kubectl: Kubectl
):
    heard: list[Key] = []
    view = View(api.KIND, None, heard.append)
    view.replace((await read(cluster, view)).present)
    heard.clear()
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    async with sweeping(cluster, view):
        kubectl("apply", "-f", "-", stdin=body)
        await until(lambda: (namespace, "cats-dogs") in heard, "a resource that was made")


class Server:
    """Answers lists with these names, or with a status."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.status = 200
        self.asked = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        if self.status != 200:
            return web.json_response({"message": "no"}, status=self.status)
        body = {
            "metadata": {"resourceVersion": "7"},
            "items": [{"metadata": metadata_of(name)} for name in self.names],
        }
        return web.Response(text=json.dumps(body))


def listed_view(heard: list[Key], kind: str = "Service") -> View:
    view = View(kind, None, heard.append)
    view.replace({})
    return view


@pytest.mark.parametrize("status", [403, 410, 429, 500])
async def test_a_sweep_outlives_the_api_servers_trouble(status: int):
    server, heard = Server("a"), []
    server.status = status
    async with cluster_of(server.answer) as cluster, sweeping(cluster, listed_view(heard)):
        await until(lambda: server.asked >= 3, "three attempts")
        assert heard == []
        server.status = 200
        await until(lambda: heard == [("v", "a")], "what had been missed meanwhile")


async def test_trouble_with_one_kind_does_not_keep_the_others_from_being_swept():
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("pods"):
            return web.json_response({"message": "no"}, status=403)
        return await server.answer(request)

    server, heard = Server("a"), []
    views = (listed_view([], "Pod"), listed_view(heard))
    async with cluster_of(handler) as cluster, sweeping(cluster, *views):
        await until(lambda: heard == [("v", "a")], "what the second kind holds")


async def test_a_kind_that_its_informer_has_not_listed_is_not_swept():
    server, heard = Server("a"), []
    unlisted, listed = View("Pod", None, heard.append), listed_view([])
    async with cluster_of(server.answer) as cluster, sweeping(cluster, unlisted, listed):
        await until(lambda: server.asked >= 3, "three sweeps")
    assert heard == []


async def test_a_watch_that_is_deaf_is_reported_counted_and_started_again(monkeypatch):
    monkeypatch.setattr(view_module, "PATIENCE_SECONDS", 0.1)
    server, deaf = Server("a"), []
    view = listed_view([])
    with capture_logs() as logs:
        async with (
            cluster_of(server.answer) as cluster,
            sweeping(cluster, view, deaf=deaf) as findings,
        ):
            await until(lambda: deaf == [view], "the deaf watch")
    assert findings.missed == 1
    assert [(log["event"], log["kind"]) for log in logs] == [
        ("the watch left something out", "Service")
    ]


@pytest.mark.parametrize(("forbidden", "pause"), [(False, 400), (True, 40)])
async def test_a_sweep_that_costs_much_is_followed_by_a_pause_in_proportion(
    monkeypatch: pytest.MonkeyPatch, forbidden: bool, pause: int
):
    """Half a percent of a core: two seconds of work, four hundred of rest. Where a kind could not
    be listed it is tried again sooner, and costs five percent at most.
    """
    pauses: list[float] = []
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            ended.set()
            await asyncio.Event().wait()

    views = [listed_view([], "Pod"), listed_view([])]

    async def sweep_one(view: View) -> float:
        if view is views[1]:
            return 2.0
        if forbidden:
            raise ApiError(403, "no")
        return 0.0

    async with cluster_of(Server().answer) as cluster:
        sweep = Sweep(cluster, dict.fromkeys(views, lambda: None), 20, Findings(), sleep)
        monkeypatch.setattr(sweep, "_sweep", sweep_one)
        task = asyncio.create_task(sweep.run())
        await ended.wait()
        task.cancel()
    assert pauses == [20, pause]
    assert [view.swept_every for view in views] == [pause, pause], "no sign is expected sooner"
