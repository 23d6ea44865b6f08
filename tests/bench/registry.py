"""Answers for an MLflow server, at once: so that the operator is measured, and not MLflow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.operator.builders import digest_of


async def _version(request: web.Request) -> web.Response:
    number = request.query["version"]
    tags = [{"key": "sha256", "value": digest_of(number)}]
    return web.json_response({"model_version": {"version": number, "tags": tags}})


@asynccontextmanager
async def registry() -> AsyncIterator[str]:
    """Its URL, until the block ends."""
    app = web.Application()
    app.router.add_get("/api/2.0/mlflow/model-versions/get", _version)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
