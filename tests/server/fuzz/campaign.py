"""One campaign against one server: good requests first, to compare with, then the fuzzer's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.server.fuzz.making import Maker
from tests.server.fuzz.sending import Tally, send
from tests.server.load import Address
from tests.server.neighbour import beside
from tests.server.processes import ServerProcess
from tests.server.usage import Usage

_DECODED = ("model_decode_time_seconds_count", "model_decode_failures_total")


@dataclass(frozen=True)
class Plan:
    """How much is sent, and how."""

    requests: int
    seed: int = 7
    connections: int = 8

    @property
    def good(self) -> int:
        """Good requests that are sent before, over the same connections."""
        return max(200, min(20_000, self.requests // 10))


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    tally: Tally
    decoded: int
    """Requests of the fuzzer's with which a decoder began."""
    grown_megabytes: float
    """From the end of the good requests to the end of the fuzzer's."""
    good_p99: float
    """Seconds; the neighbour's beside good requests."""
    fuzz_p99: float
    """Seconds; the neighbour's beside the fuzzer's."""
    refused: int
    """Answers to the neighbour that were no 200."""
    crashed: bool

    @property
    def decoded_share(self) -> float:
        """Of the fuzzer's requests."""
        return self.decoded / self.tally.requests

    @property
    def wrong(self) -> list[str]:
        """A sentence for each behaviour that is wrong."""
        found = list(self.tally.findings)
        if self.crashed:
            found.append("the server has ended")
        if self.refused:
            found.append(f"{self.refused} answers to the well-behaved client were refusals")
        return found


def play(
    server: ServerProcess, plan: Plan, progress: Callable[[Tally, Usage], None] = lambda *_: None
) -> Outcome:
    """Send what `plan` says to a server that is ready."""
    return asyncio.run(_play(server, plan, progress))


async def _play(
    server: ServerProcess, plan: Plan, progress: Callable[[Tally, Usage], None]
) -> Outcome:
    address: Address = ("127.0.0.1", server.port)
    maker, usage = Maker(plan.seed), Usage(server.process.pid)
    async with beside(address) as good:
        await send(address, map(maker.good, range(plan.good)), plan.connections, Tally())
    before, held, tally = await _decoded(server.url), usage.megabytes, Tally()
    async with beside(address) as fuzz:
        await send(
            address,
            map(maker.fuzzed, range(plan.requests)),
            plan.connections,
            tally,
            lambda tally: progress(tally, usage),
        )
    if crashed := server.process.poll() is not None:
        return Outcome(tally, 0, 0.0, 0.0, 0.0, 0, crashed)
    return Outcome(
        tally,
        decoded=await _decoded(server.url) - before - len(fuzz.seconds),
        grown_megabytes=usage.megabytes - held,
        good_p99=good.percentile(0.99),
        fuzz_p99=fuzz.percentile(0.99),
        refused=len(good.refused) + len(fuzz.refused),
        crashed=crashed,
    )


async def _decoded(url: str) -> int:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url}/metrics")).text
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in _DECODED
    )
