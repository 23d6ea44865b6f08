"""kopf's frame: whatever ends kopf, it is started again, and it ends when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from structlog.testing import capture_logs

from dev.cluster.controlplane import ControlPlane
from model_operator import api
from model_operator.clients import cluster as cluster_module
from model_operator.runtime import frame as frame_module
from model_operator.runtime.frame import EndlessPauses, Frame, Run, Stuck, kopf_run
from tests.deadlines import within
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.loopback import serving
from tests.operator.test_informer import until


class Runs:
    """Stands in kopf's place: each run does what the next word says, the last one for ever."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.threads: list[threading.Thread] = []
        self.ended = 0

    async def run(self, stop: asyncio.Event) -> None:
        self.threads.append(threading.current_thread())
        word = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        try:
            match word:
                case "fail":
                    raise RuntimeError("an error in the stream")
                case "runs":
                    await stop.wait()
                case "hang":
                    threading.Event().wait()
        finally:
            self.ended += 1


@contextlib.asynccontextmanager
async def framed(run: Run) -> AsyncIterator[tuple[Frame, asyncio.Task[None], list[str]]]:
    """A frame that runs, its task, and a mark for each restart."""
    restarts: list[str] = []
    frame = Frame(run, lambda: restarts.append("again"))
    task = asyncio.create_task(frame.run())
    try:
        yield frame, task, restarts
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("word", "why"), [("fail", "RuntimeError: an error in the stream"), ("return", "it ended")]
)
async def test_kopf_is_started_again_when_it_ends_by_itself(word: str, why: str):
    runs = Runs(word, "runs")
    with capture_logs() as logs:
        async with framed(runs.run) as (_, task, restarts):
            await until(lambda: len(runs.threads) == 2, "the second run")
            assert not task.done()
    assert restarts == ["again"]
    assert [(log["event"], log["why"]) for log in logs] == [("kopf is started again", why)]


async def test_kopf_is_started_again_when_it_is_deaf():
    runs = Runs("runs")
    async with framed(runs.run) as (frame, _, restarts):
        await until(lambda: len(runs.threads) == 1, "the first run")
        frame.distrust()
        await until(lambda: len(runs.threads) == 2, "the second run")
        assert runs.ended == 1, "never two at a time"
        assert restarts == ["again"]
    assert runs.ended == 2


async def test_however_often_kopf_ends_the_next_start_is_seconds_away(monkeypatch):
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread() and seconds > 0.1:
            pauses.append(seconds)
        await sleep(0.001)

    monkeypatch.setattr(frame_module.asyncio, "sleep", record)
    async with framed(Runs("fail").run):
        await until(lambda: len(pauses) == 12, "twelve restarts")
    assert pauses[:3] == [0.25, 0.5, 1]
    assert max(pauses) <= 5


async def test_when_the_frame_ends_so_does_kopfs_thread():
    runs = Runs("runs")
    async with framed(runs.run):
        await until(lambda: len(runs.threads) == 1, "the first run")
    await until(lambda: not runs.threads[0].is_alive(), "the end of the thread")


async def test_a_kopf_that_does_not_end_when_it_is_told_to_ends_the_process(monkeypatch):
    monkeypatch.setattr(frame_module, "STOP_SECONDS", 0.1)
    runs = Runs("hang")
    async with framed(runs.run) as (frame, task, _):
        await until(lambda: len(runs.threads) == 1, "the first run")
        frame.distrust()
        with pytest.raises(Stuck):
            await within(10, task)


def test_kopfs_pauses_never_end_and_begin_anew_for_each_request():
    pauses = EndlessPauses()
    for _ in range(2):
        made = [pause for pause, _ in zip(pauses, range(1000), strict=False)]
        assert made[0] == 0.25
        assert len(made) == 1000
        assert max(made) <= 5


# --- the real kopf, on an API server that is not well ----------------------------------------


def model_deployment(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "v", "uid": f"uid-{name}", "resourceVersion": "5"}
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata}


KIND = {"name": api.PLURAL, "kind": api.KIND, "singularName": "", "namespaced": True}
# kopf waits until it has seen that there are namespaces.
NAMESPACES = {"name": "namespaces", "kind": "Namespace", "singularName": "", "namespaced": False}
VERSION = {"groupVersion": api.API_VERSION, "version": api.VERSION}
GROUP = {"name": api.GROUP, "versions": [VERSION], "preferredVersion": VERSION}
DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [NAMESPACES]},
    "/apis": {"groups": [GROUP]},
    f"/apis/{api.API_VERSION}": {"resources": [{**KIND, "verbs": ["list", "watch"]}]},
}
LIST = {"metadata": {"resourceVersion": "7"}, "items": [model_deployment("listed")]}


class Api:
    """As much of an API server as kopf asks for; its watches do what the script says."""

    def __init__(self, *watches: Any) -> None:
        self.watches = list(watches)
        """A status, or lines; then streams tell of one more object and stay open."""
        self.watched = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if "watch" in request.query:
            self.watched += 1
            return await self._watch(request, self.watches.pop(0) if self.watches else b"")
        return web.json_response(DISCOVERY.get(request.path.rstrip("/"), LIST))

    async def _watch(self, request: web.BaseRequest, step: int | bytes) -> web.StreamResponse:
        if isinstance(step, int):
            headers = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
            return web.json_response({"message": "no"}, status=step, headers=headers)
        response = web.StreamResponse()
        await response.prepare(request)
        if step:
            await response.write(step)
            return response
        event = {"type": "ADDED", "object": model_deployment("told")}
        await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.Event().wait()
        return response


@contextlib.asynccontextmanager
async def kopf_over(
    server: Api, folder: Path
) -> AsyncIterator[list[tuple[str | None, Mapping[str, Any]]]]:
    """What the frame's real kopf tells while it watches this server."""
    told: list[tuple[str | None, Mapping[str, Any]]] = []
    async with serving(server.answer) as url:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": url}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "users": [{"name": "u", "user": {"token": "t0k3n"}}],
                }
            )
        )
        run = kopf_run(lambda *event: told.append(event), (), str(kubeconfig))
        async with framed(run) as (_, task, _):
            yield told
            assert not task.done()


ERROR = json.dumps({"type": "ERROR", "object": {"code": 500, "message": "etcd"}}).encode() + b"\n"
TROUBLES = [403, 404, 409, 410, 429, 500, ERROR, b'{"type": "ADDED", "obj', b"<html>\n"]


@pytest.mark.parametrize("step", TROUBLES, ids=lambda step: str(step)[:14])
async def test_after_any_trouble_kopf_watches_again(step: int | bytes, tmp_path: Path, caplog):
    server = Api(step)
    async with kopf_over(server, tmp_path) as told:
        await until(lambda: server.watched >= 2, "the second watch")
        await until(lambda: any(one["name"] == "told" for _, one in told), "what it tells")
    assert (None, {**model_deployment("listed")["metadata"]}) in told
    assert ("ADDED", {**model_deployment("told")["metadata"]}) in told
    assert "t0k3n" not in caplog.text


async def test_a_stream_that_falls_silent_is_opened_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(cluster_module, "SILENCE_SECONDS", 0.3)
    server = Api()
    async with kopf_over(server, tmp_path):
        await until(lambda: server.watched >= 3, "the third watch")


@pytest.mark.api
async def test_kopf_tells_of_what_is_made_changed_and_deleted(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str
):
    told: list[tuple[str | None, Mapping[str, Any]]] = []
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}

    def heard(change: str) -> bool:
        return any(c == change and one["namespace"] == namespace for c, one in told)

    run = kopf_run(lambda *event: told.append(event), (), str(control_plane.kubeconfig))
    async with framed(run):
        kubectl("apply", "-f", "-", stdin=body)
        await until(lambda: heard("ADDED") or heard(None), "what was made")
        kubectl("annotate", "md", "cats-dogs", "-n", namespace, "changed=yes")
        await until(lambda: heard("MODIFIED"), "what was changed")
        kubectl("delete", "md", "cats-dogs", "-n", namespace)
        await until(lambda: heard("DELETED"), "what was deleted")
    assert {*told[0][1]} == {"uid", "namespace", "name", "resourceVersion"}
