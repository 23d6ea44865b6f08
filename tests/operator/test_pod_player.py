"""The pod player itself: that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from tests.fault.admin import Admin
from tests.operator.pod_player import Part, PodPlayer

DEADLINE_SECONDS = 5


class NoPods:
    """An API server where nothing ever happens."""

    async def call(self, method: str, path: str, *_: Any, **__: Any) -> dict[str, Any]:
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    async def watch(self, path: str, version: str) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}


async def test_it_ends_although_something_changes_at_that_very_moment():
    async with asyncio.timeout(DEADLINE_SECONDS):
        for ticks in range(6):
            async with PodPlayer(cast("Admin", NoPods())) as player:
                await asyncio.sleep(0.01)  # it waits for news by now
                player.part("vision", Part())
                for _ in range(ticks):
                    await asyncio.sleep(0)
