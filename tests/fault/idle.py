"""Nothing to do: settled resources of every kind of outcome, and not one write in minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fault import workflows
from tests.fault.stage import NotWithin, Scene, Stage

SETTLED: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "rolled out": workflows.one_serves,
    "updated": workflows.two_serves,
    "model not found": workflows.model_not_found,
}


@dataclass(frozen=True)
class Result:
    """One settled resource."""

    name: str
    calls: int = 0
    """Reads included, in all the time."""
    written: tuple[str, ...] = ()


async def watch_idling(
    stage: Stage, name: str, settle: Callable[[Scene], Awaitable[None]], duration: float
) -> Result:
    """Settles a resource and counts what is written afterwards; a Lease is none."""
    async with stage.scene() as scene:
        try:
            await settle(scene)
            await scene.until_quiet()
        except NotWithin as late:
            return Result(name, written=(str(late),))
        mark = len(scene.proxy.record.calls)
        await asyncio.sleep(duration)  # how long nothing may happen
        calls = scene.proxy.record.calls[mark:]
        return Result(name, len(calls), tuple(scene.proxy.record.accepted(mark)))


async def every_idler(stage: Stage, duration: float) -> list[Result]:
    """One of each kind, at the same time."""
    idlers = (watch_idling(stage, name, settle, duration) for name, settle in SETTLED.items())
    return list(await asyncio.gather(*idlers))
