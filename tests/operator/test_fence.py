"""The fence before every write: what may not be sent is not sent, and nothing is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from structlog.testing import capture_logs

from model_operator import api
from model_operator.apply import apply
from model_operator.clients import cluster as cluster_client
from model_operator.clients import login
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import ClusterEvents
from model_operator.clients.fence import Fence, boot_seconds
from model_operator.clients.transport import CallObserver
from model_operator.errors import ApiError, ApiUnreachable, NotLeading
from model_operator.observe import read_resource
from model_operator.observed import Observed
from model_operator.plan import Event, Plan
from tests.deadlines import within
from tests.operator.builders import make_model_deployment
from tests.operator.loopback import Handler, serving
from tests.operator.test_cluster_client import service
from tests.operator.test_view import Clock
from tests.operator.world import DEFAULTS

RESOURCE = {
    "apiVersion": api.API_VERSION,
    "kind": api.KIND,
    "metadata": {"name": "cats-dogs", "namespace": "v"},
}
WRITES: dict[str, Callable[[Cluster], Awaitable[Any]]] = {
    "apply": lambda cluster: cluster.apply(service("v", "s")),
    "create": lambda cluster: cluster.create(service("v", "s")),
    "replace": lambda cluster: cluster.replace("Service", "v", "s", ("spec",), {}, "1"),
    "scale": lambda cluster: cluster.scale("v", "d", 1),
    "annotate": lambda cluster: cluster.annotate_pod("v", "p", "uid", {}),
    "delete": lambda cluster: cluster.delete("Service", "v", "s", "uid"),
    "status": lambda cluster: cluster.put_status(RESOURCE),
}
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)


@contextlib.asynccontextmanager
async def fenced(
    handler: Handler, fence: Fence, observe: CallObserver | None = None
) -> AsyncIterator[Cluster]:
    """The operator's client behind a fence, of an API server that answers as `handler` does."""
    async with serving(handler) as url:
        configuration = client.Configuration()
        configuration.host = url
        cluster = cluster_client.logged_in(configuration, observe, fence)
        try:
            yield cluster
        finally:
            await cluster.close()


class Heard:
    """An API server that notes what it is asked for, and says yes."""

    def __init__(self, status: int = 200) -> None:
        self.requests: list[web.BaseRequest] = []
        self.status = status

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        body = {"apiVersion": "v1", "kind": "x", "metadata": {"resourceVersion": "1"}}
        return web.json_response(body, status=self.status)


@every_write
async def test_a_closed_fence_lets_no_write_through_and_counts_none(write):
    heard, counted = Heard(), []
    async with fenced(heard, Fence(), lambda *call: counted.append(call)) as cluster:
        with pytest.raises(NotLeading, match="is not sent: this process has lost the lead"):
            await write(cluster)
    assert (heard.requests, counted) == ([], [])


@every_write
async def test_an_open_fence_lets_every_write_through_and_the_api_server_knows_until_when(write):
    heard, fence = Heard(), Fence(clock := Clock())
    fence.open_until(clock.now + 7.5)
    async with fenced(heard, fence) as cluster:
        await write(cluster)
    (request,) = heard.requests
    assert request.query["timeout"] == "7500ms"


async def test_reading_needs_no_lead():
    heard = Heard()
    async with fenced(heard, Fence()) as cluster:
        await cluster.get("Pod", "v", "p")
        await cluster.list("Pod", "v")
    assert [("timeout" in request.query) for request in heard.requests] == [False, False]


async def test_without_a_lease_a_write_has_the_usual_patience():
    heard, fence = Heard(), Fence()
    fence.open_until(float("inf"))
    async with fenced(heard, fence) as cluster:
        await cluster.apply(service("v", "s"))
    assert heard.requests[0].query["timeout"] == "10000ms"


async def test_no_answer_is_waited_for_beyond_the_fence():
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    fence = Fence()
    async with fenced(silent, fence) as cluster:
        fence.open_until(boot_seconds() + 0.3)
        started = time.monotonic()
        with pytest.raises(NotLeading, match="the lead was lost meanwhile"):
            await cluster.apply(service("v", "s"))
        assert 0.2 < time.monotonic() - started < 5


async def test_an_answer_that_never_ends_is_not_waited_for_either():
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await asyncio.sleep(60)
        return response

    fence = Fence()
    async with fenced(endless, fence) as cluster:
        fence.open_until(boot_seconds() + 0.3)
        with pytest.raises(NotLeading):
            await within(5, cluster.apply(service("v", "s")))


async def test_the_fence_is_asked_again_when_the_connection_is_there():
    """A pool without a free connection holds a write up for as long as it likes."""
    arrived, free = asyncio.Event(), asyncio.Event()
    heard: list[str] = []

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        heard.append(request.method)
        arrived.set()
        await free.wait()
        return web.json_response({})

    fence = Fence(clock := Clock())
    fence.open_until(clock.now + 5)
    async with serving(slow) as url:
        configuration = client.Configuration(connection_pool_maxsize=1)
        configuration.host = url
        cluster = cluster_client.logged_in(configuration, None, fence)
        reading = asyncio.create_task(cluster.get("Pod", "v", "p"))
        await arrived.wait()
        writing = asyncio.create_task(cluster.apply(service("v", "s")))
        await asyncio.sleep(0.05)
        clock.now += 60
        free.set()
        await reading
        with pytest.raises(NotLeading):
            await within(5, writing)
        await cluster.close()
    assert heard == ["GET"]


@pytest.mark.parametrize("left", [True, False])
async def test_an_error_is_the_api_servers_own_unless_the_lead_was_lost_meanwhile(left: bool):
    fence = Fence(clock := Clock())
    fence.open_until(clock.now + 5)

    async def refuses(request: web.BaseRequest) -> web.StreamResponse:
        clock.now += 0 if left else 60
        return web.json_response({"message": "no"}, status=504)

    async with fenced(refuses, fence) as cluster:
        with pytest.raises(ApiError if left else NotLeading):
            await cluster.apply(service("v", "s"))


async def test_a_write_that_was_answered_is_done_although_the_lead_was_lost_meanwhile():
    fence = Fence(clock := Clock())
    fence.open_until(clock.now + 5)

    async def answers(request: web.BaseRequest) -> web.StreamResponse:
        clock.now += 60
        return web.json_response({"kind": "Service"})

    async with fenced(answers, fence) as cluster:
        assert await cluster.apply(service("v", "s")) == {"kind": "Service"}


async def test_what_is_told_after_the_lead_was_lost_is_in_the_log_and_breaks_nothing_off():
    """The status that it tells of is written: the pass has done what it had to."""
    heard, fence = list[str](), Fence(clock := Clock())
    fence.open_until(clock.now + 5)

    async def answers(request: web.BaseRequest) -> web.StreamResponse:
        heard.append(request.path)
        clock.now += 60
        return web.json_response({})

    told = (Event("Normal", "Complete", "it serves"), Event("Warning", "Stalled", "it does not"))
    done = Plan(status={"message": "it serves"}, events=told)
    world = Observed(read_resource(make_model_deployment().build()), DEFAULTS)
    async with fenced(answers, fence) as cluster:
        with capture_logs() as logs:
            await apply(cluster, ClusterEvents(cluster), world, done, datetime.now(UTC))
    assert [path.rsplit("/", 1)[1] for path in heard] == ["status"]
    lost = [(log["reason"], log["message"]) for log in logs if log["event"] == "event not written"]
    assert lost == [("Complete", "it serves"), ("Stalled", "it does not")]


async def test_an_api_server_that_is_away_is_not_the_loss_of_the_lead():
    fence = Fence()
    fence.open_until(float("inf"))
    configuration = client.Configuration()
    configuration.host = "http://127.0.0.1:1"
    cluster = cluster_client.logged_in(configuration, None, fence)
    with pytest.raises(ApiUnreachable):
        await cluster.apply(service("v", "s"))
    await cluster.close()


async def test_whoever_logs_in_with_a_name_is_known_by_it(tmp_path, monkeypatch):
    heard = Heard()
    async with serving(heard) as url:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            f"{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}],"
            f" clusters: [{{name: c, cluster: {{server: '{url}'}}}}],"
            " contexts: [{name: c, context: {cluster: c, user: u}}]}"
        )
        configuration = await login.log_in(str(kubeconfig), "model-operator/1 (pod_1)")
        for fence in (None, Fence()):
            cluster = cluster_client.logged_in(configuration, None, fence)
            await cluster.get("Pod", "v", "p")
            await cluster.close()
    agents = {request.headers["User-Agent"] for request in heard.requests}
    assert agents == {"model-operator/1 (pod_1)"}


def test_the_clock_of_the_fence_goes_on_while_the_machine_sleeps():
    """CLOCK_BOOTTIME is never behind CLOCK_MONOTONIC, which stops then."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert boot_seconds() >= before
    assert abs(boot_seconds() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1
