"""The probes and the metrics' endpoint, asked over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from model_operator.clients.view import View
from model_operator.errors import SettingsError
from model_operator.metrics import Metrics
from model_operator.runtime.health import STALE_SECONDS, Health
from model_operator.runtime.web import serving
from tests.operator.loopback import cluster_of
from tests.operator.test_view import Clock

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answers(status: int, text: str = '{"metadata": {}}') -> Handler:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return handler


async def ask(health: Health, path: str, metrics: Metrics | None = None) -> tuple[int, str]:
    registry = (metrics or Metrics("1")).registry
    async with (
        serving(health, registry, 0, "127.0.0.1") as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def views(clock: Clock) -> list[View]:
    return [View(kind, None, lambda _: None, clock) for kind in ("Pod", "Service")]


async def test_a_process_whose_watches_give_signs_lives(views: list[View], clock: Clock):
    clock.now += STALE_SECONDS - 1
    async with cluster_of(answers(200)) as cluster:
        health = Health(views)
        health.cluster = cluster
        assert await ask(health, "/healthz") == (200, "ok\n")


async def test_a_watch_that_died_while_the_api_server_answers_fails_liveness(
    views: list[View], clock: Clock
):
    clock.now += STALE_SECONDS
    views[0].alive()
    async with cluster_of(answers(200)) as cluster:
        health = Health(views)
        health.cluster = cluster
        assert await ask(health, "/healthz") == (503, "stale watches: Service\n")


async def test_on_a_large_estate_at_rest_only_a_sweep_that_is_overdue_fails_liveness(
    views: list[View], clock: Clock
):
    views[0].swept_every = views[1].swept_every = 400
    async with cluster_of(answers(200)) as cluster:
        health = Health(views)
        health.cluster = cluster
        clock.now += 400 + STALE_SECONDS - 1
        assert await ask(health, "/healthz") == (200, "ok\n")
        clock.now += 1
        assert (await ask(health, "/healthz"))[0] == 503


@pytest.mark.parametrize(
    "answer", [answers(500), answers(403), answers(404), answers(429), answers(200, "<html>")]
)
async def test_an_api_server_that_gives_no_list_never_fails_liveness(
    views: list[View], clock: Clock, answer: Handler
):
    clock.now += 100 * STALE_SECONDS
    async with cluster_of(answer) as cluster:
        health = Health(views)
        health.cluster = cluster
        assert await ask(health, "/healthz") == (200, "ok\n")


async def test_before_the_log_in_the_process_lives_and_is_not_ready(
    views: list[View], clock: Clock
):
    clock.now += 100 * STALE_SECONDS
    assert await ask(Health(views), "/healthz") == (200, "ok\n")
    assert await ask(Health(views), "/readyz") == (503, "not listed yet: Pod, Service\n")


async def test_a_process_that_does_not_lead_is_ready_once_it_has_read_the_lease_and_always_lives(
    views: list[View], clock: Clock
):
    health = Health()
    assert await ask(health, "/readyz") == (503, "the Lease was not read yet\n")
    assert await ask(health, "/healthz") == (200, "ok\n")
    health.saw_lease()
    assert await ask(health, "/readyz") == (200, "standby\n")
    health.lead(views)
    assert await ask(health, "/readyz") == (503, "not listed yet: Pod, Service\n")
    clock.now += 100 * STALE_SECONDS
    async with cluster_of(answers(200)) as cluster:
        health.cluster = cluster
        assert (await ask(health, "/healthz"))[0] == 503
        health.stand_by()
        assert await ask(health, "/healthz") == (200, "ok\n")
        assert await ask(health, "/readyz") == (200, "standby\n")


async def test_it_is_ready_once_every_kind_was_listed(views: list[View]):
    health = Health(views)
    views[0].replace({})
    assert await ask(health, "/readyz") == (503, "not listed yet: Service\n")
    views[1].replace({})
    assert await ask(health, "/readyz") == (200, "ok\n")


async def test_prometheus_can_read_the_metrics(views: list[View]):
    status, text = await ask(Health(views), "/metrics", Metrics("1.2"))
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (build,) = families["cv_factory_build_info"].samples
    assert build.labels == {"version": "1.2"}
    assert families["process_resident_memory_bytes"].samples[0].value > 0


async def test_a_port_that_is_taken_is_one_sentence_that_names_the_setting(views: list[View]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"^CV_FACTORY_HEALTH_PORT: port {port} cannot"):
            async with serving(Health(views), Metrics("1").registry, port, "127.0.0.1"):
                pass


async def test_without_a_host_it_listens_by_both_versions_of_ip(views: list[View]):
    hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
    async with (
        serving(Health(views), Metrics("1").registry, 0) as port,
        aiohttp.ClientSession() as session,
    ):
        for host in hosts:
            async with session.get(f"http://{host}:{port}/healthz") as response:
                assert response.status == 200
