"""Errors of the API server, each for a time, in the middle of a rollout.

Version 2 is about to take over when the fault begins, and its pods become ready under it. When
the fault is over, the rollout must go on within RECOVERY_SECONDS, without a restart of the
process; a watch that has fallen silent for ever must be noticed within SILENT_STREAM_SECONDS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.fault import faults, workflows
from tests.fault.faults import Answer, ErrorEvent, Fault, MuteStreams, Silence
from tests.fault.news import edit, let_pods_be_ready, second_version_serves, three_serve
from tests.fault.stage import NotWithin, Stage

RECOVERY_SECONDS = 10.0
SILENT_STREAM_SECONDS = 75.0
WATCHED = frozenset({"modeldeployments", "deployments", "services", "pods"})
CALLS_PER_SECOND = 30.0
"""More than that, of one resource's operator under a fault, is a storm."""


@dataclass(frozen=True)
class Outage:
    """One kind of fault."""

    name: str
    fault: Callable[[], Fault]
    recovery: float = RECOVERY_SECONDS


@dataclass(frozen=True)
class Result:
    """What became of one outage."""

    outage: Outage
    seconds: float = 0.0
    """From the fault's end to the rollout's commit; 0 when it came before."""
    calls_per_second: float = 0.0
    """While the fault lasted."""
    divergences: tuple[str, ...] = ()


OUTAGES = (
    Outage("403 to writes", lambda: Answer(faults.writes, 403, "Forbidden")),
    Outage("403 to lists and watches", lambda: Answer(faults.lists_and_watches, 403, "Forbidden")),
    Outage("409 to writes", lambda: Answer(faults.writes, 409, "Conflict")),
    Outage(
        "429 with Retry-After to everything",
        lambda: Answer(faults.everything, 429, "TooManyRequests", retry_after=1),
    ),
    Outage("500 to everything", lambda: Answer(faults.everything, 500)),
    Outage("500 to writes", lambda: Answer(faults.writes, 500)),
    Outage("503 to everything", lambda: Answer(faults.everything, 503, "ServiceUnavailable")),
    Outage("503 to reads", lambda: Answer(faults.reads, 503, "ServiceUnavailable")),
    Outage("410 to watches", lambda: Answer(faults.streams, 410, "Expired")),
    Outage("ERROR 500 in the watches", lambda: ErrorEvent(faults.streams, 500)),
    Outage("ERROR 410 in the watches", lambda: ErrorEvent(faults.streams, 410)),
    Outage("silence", lambda: Silence(faults.everything)),
    Outage("silence to writes", lambda: Silence(faults.writes)),
)
SILENT_STREAMS = Outage(
    "watches that say nothing for ever",
    lambda: MuteStreams(faults.streams),
    SILENT_STREAM_SECONDS,
)


async def endure(stage: Stage, outage: Outage, duration: float) -> Result:
    """One outage in mid-rollout."""
    async with stage.scene() as scene:
        fault = outage.fault()
        try:
            await workflows.one_serves(scene)
            await workflows.start_version_2_and_hold_it(scene)
            mark = len(scene.proxy.record.calls)
            scene.proxy.add(fault)
            await let_pods_be_ready(scene)
            await asyncio.sleep(duration)  # how long it lasts
            scene.proxy.remove(fault)
            ended, calls = time.monotonic(), len(scene.proxy.record.calls) - mark
            await scene.until(lambda: second_version_serves(scene), outage.name, outage.recovery)
            seconds = time.monotonic() - ended
            await workflows.ready(scene)
        except NotWithin as late:
            divergences = (str(late), *scene.invariants.violations)
            return Result(outage, outage.recovery, divergences=divergences)
        rate = calls / duration
        storm = [f"{rate:.0f} calls a second under it"] if rate > CALLS_PER_SECOND else []
        return Result(outage, seconds, rate, (*scene.invariants.violations, *storm))


async def endure_silent_streams(stage: Stage) -> Result:
    """Every watch falls silent for ever, the spec is edited, and each new watch is well again.

    The streams themselves must be noticed: within the limit the operator has to open new ones.
    """
    outage, limit = SILENT_STREAMS, SILENT_STREAM_SECONDS
    async with stage.scene() as scene:
        try:
            await workflows.one_serves(scene)
            await scene.until_quiet()
            fault = MuteStreams(faults.streams)
            scene.proxy.add(fault)

            async def are_silent() -> bool:
                return fault.muted >= WATCHED

            await scene.until(are_silent, "every watch is silent", limit)
            scene.proxy.remove(fault)
            silent, mark = time.monotonic(), len(scene.proxy.record.calls)
            await edit(scene)
            await scene.until(lambda: three_serve(scene), outage.name, limit)

            async def watches_again() -> bool:
                calls = scene.proxy.record.calls[mark:]
                return {c.request.plural for c in calls if c.request.verb == "watch"} >= WATCHED

            left = limit - (time.monotonic() - silent)
            await scene.until(watches_again, f"{outage.name}: every watch is opened anew", left)
        except NotWithin as late:
            return Result(outage, limit, divergences=(str(late), *scene.invariants.violations))
        seconds = time.monotonic() - silent
        return Result(outage, seconds, divergences=tuple(scene.invariants.violations))


async def every_outage(stage: Stage, duration: float) -> list[Result]:
    """All of them, as many at a time as the stage allows; the silent streams come first."""
    outages = [endure(stage, outage, duration) for outage in OUTAGES]
    return list(await asyncio.gather(endure_silent_streams(stage), *outages))
