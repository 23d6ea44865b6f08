"""A target for the mirror that keeps what it gets, and answers as it is told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    connection: object
    """The client's address: the same for requests on one connection."""


@dataclass
class Target:
    url: str = ""
    status: int = 200
    location: str = ""
    received: list[Received] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.received.append(
            Received(
                path=request.raw_path,
                headers={name.lower(): value for name, value in request.headers.items()},
                body=await request.read(),
                connection=request.transport.get_extra_info("peername"),
            )
        )
        headers = {"Location": self.location} if self.location else None
        return web.Response(status=self.status, headers=headers)


@contextlib.asynccontextmanager
async def mirror_target() -> AsyncIterator[Target]:
    """A listening target."""
    target = Target()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", target.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    target.url = f"http://{host}:{port}"
    try:
        yield target
    finally:
        await runner.cleanup()
