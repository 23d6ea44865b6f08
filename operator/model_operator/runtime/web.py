"""The process's own HTTP port: /healthz, /readyz and /metrics. `main` serves it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from model_operator.errors import SettingsError
from model_operator.runtime.health import Health


@contextlib.asynccontextmanager
async def serving(
    health: Health,
    registry: CollectorRegistry,
    port: int,
    host: str = "",
) -> AsyncIterator[int]:
    """Serves until the context ends, and gives the port. Without a host on every address of the
    machine, of IPv6 as well where there is any.

    Raises:
        SettingsError: the port cannot be listened on.

    """
    runner = web.AppRunner(application(health, registry), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.SockSite(runner, _listening(host, port)).start()
        except OSError as error:
            raise SettingsError(
                f"CV_FACTORY_HEALTH_PORT: port {port} cannot be listened on: {error.strerror}"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _listening(host: str, port: int) -> socket.socket:
    if host or not socket.has_dualstack_ipv6():
        return socket.create_server((host, port))
    return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """The three endpoints."""

    async def healthz(_: web.Request) -> web.Response:
        stale = await health.stale()
        return _answer("stale watches", stale)

    async def readyz(_: web.Request) -> web.Response:
        if health.stands_by:
            return web.Response(text="standby\n")
        if not health.leads:
            return web.Response(status=503, text="the Lease was not read yet\n")
        return _answer("not listed yet", health.unlisted())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


def _answer(trouble: str, kinds: list[str]) -> web.Response:
    if kinds:
        return web.Response(status=503, text=f"{trouble}: {', '.join(kinds)}\n")
    return web.Response(text="ok\n")
