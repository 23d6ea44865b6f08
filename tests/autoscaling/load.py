"""The load of clients, as a metrics server would tell of it: who gets requests uses CPU for them.

The whole demand is divided between the pods as the requests are, so a canary takes load from stable
and gives it back, a new pod takes its part, and an autoscaler that acts on it is seen to act.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.autoscaling import metrics_api
from tests.autoscaling.chronicle import Chronicle
from tests.fault.admin import Refused

Body = dict[str, Any]
PERIOD_SECONDS = 0.5


@dataclass
class Load:
    """On the pods of one namespace; `demand` may be changed at any time."""

    chronicle: Chronicle
    demand: int
    """Millicores that all requests together cost."""
    lag: float = 0.0
    """How many seconds old is what is told, as from a metrics server that looks seldom."""
    _seen: list[tuple[float, list[Body]]] = field(default_factory=list)
    """Not told yet, and since when."""

    @contextlib.asynccontextmanager
    async def playing(self) -> AsyncIterator[Load]:
        """Tells what the pods use until the block ends."""
        task = asyncio.create_task(self._tell())
        try:
            yield self
            assert not task.done(), "nobody tells what the pods use any more"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tell(self) -> None:
        while True:
            # A pod or its whole namespace may go in between.
            with contextlib.suppress(Refused, aiohttp.ClientError):
                await self._tell_once()
            await asyncio.sleep(PERIOD_SECONDS)

    async def _tell_once(self) -> None:
        held = self.chronicle.now
        shares = held.shares()
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        seen = [
            metrics_api.pod_metrics(pod, round(self.demand * shares.get(name, 0.0)), now)
            for pod in held.objects["pods"].values()
            if (name := pod["metadata"]["name"]) and "deletionTimestamp" not in pod["metadata"]
        ]
        clock = asyncio.get_running_loop().time()
        self._seen.append((clock, seen))
        due = [old for old in self._seen if old[0] <= clock - self.lag]
        self._seen = [one for one in self._seen if one not in due]
        told = due[-1][1] if due else []
        apply = self.chronicle.admin.apply
        paths = [metrics_api.path(b["metadata"]["namespace"], b["metadata"]["name"]) for b in told]
        await asyncio.gather(*(apply(*pair) for pair in zip(paths, told, strict=True)))
