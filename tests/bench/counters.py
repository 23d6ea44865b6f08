"""What the operator says of itself: its `/metrics`, read before and after a phase."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

Call = tuple[str, str]
"""A verb and a kind."""
WRITES = ("create", "update", "apply", "patch", "delete")


@dataclass(frozen=True)
class Counters:
    """One reading."""

    calls: Mapping[Call, int]
    passes: int
    waiting: int
    """Resources that wait for a worker."""

    @property
    def writes(self) -> int:
        """Requests that change something."""
        return sum(count for (verb, _), count in self.calls.items() if verb in WRITES)

    @property
    def total(self) -> int:
        """All requests but watches."""
        return sum(count for (verb, _), count in self.calls.items() if verb != "watch")

    def since(self, earlier: Counters) -> Counters:
        """What came after an earlier reading."""
        calls = Counter(self.calls)
        calls.subtract(earlier.calls)
        return Counters(calls, self.passes - earlier.passes, self.waiting)


async def read(port: int) -> Counters:
    """Reads them now. Raises aiohttp.ClientError when nobody answers yet."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    calls: Counter[Call] = Counter()
    passes = waiting = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "cv_factory_api_calls_total":
                calls[sample.labels["verb"], sample.labels["kind"]] += int(sample.value)
            elif sample.name == "cv_factory_reconcile_duration_seconds_count":
                passes += int(sample.value)
            elif sample.name == "cv_factory_queue_depth":
                waiting = int(sample.value)
    return Counters(calls, passes, waiting)


async def until_ready(port: int) -> None:
    """Waits until the process says that it has listed everything, and nothing waits."""
    async with aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200 and not (await read(port)).waiting:
                        return
            await asyncio.sleep(0.05)
