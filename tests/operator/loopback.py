"""Small real HTTP servers on the loopback, for answers that a healthy server never gives."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web
from kubernetes.aio import client

from model_operator.clients.cluster import Cluster
from model_operator.clients.transport import CallObserver

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The URL at which `handler` answers every request."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def cluster_of(
    handler: Handler, observe: CallObserver | None = None
) -> AsyncIterator[Cluster]:
    """The operator's own client of an API server that answers as `handler` does."""
    async with serving(handler) as url:
        configuration = client.Configuration()
        configuration.host = url
        cluster = Cluster(client.ApiClient(configuration), observe)
        try:
            yield cluster
        finally:
            await cluster.close()
