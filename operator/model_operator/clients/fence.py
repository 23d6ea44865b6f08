"""The fence: until when this process may write to the cluster. Checked before every single write.

`runtime.election` opens it for a while at each renewal of the Lease; the transport asks it. Its
clock goes on while the process is stopped or the machine sleeps, so whoever wakes up too late
finds it closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator

from model_operator.errors import NotLeading

_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
"""macOS's CLOCK_MONOTONIC goes on while the machine sleeps, Linux's does not."""


def boot_seconds() -> float:
    """Seconds of a clock that never stops, is never set, and means nothing to other machines."""
    return time.clock_gettime(_CLOCK)


class Fence:
    """Closed at first."""

    def __init__(self, clock: Callable[[], float] = boot_seconds) -> None:
        self._clock = clock
        self._until = -math.inf
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def seconds_left(self) -> float:
        """For how long this process may still write; 0 when it may not."""
        return max(0.0, self._until - self._clock())

    def open_until(self, moment: float) -> None:
        """Opens it until a moment of its clock."""
        self._until = moment

    def close(self) -> None:
        """From now on nothing is written."""
        self._until = -math.inf

    def check(self, what: str) -> float:
        """For how long this process may still write.

        Raises:
            NotLeading: not any more; `what` is the write that is not sent.

        """
        if left := self.seconds_left:
            return left
        raise NotLeading(f"{what} is not sent: this process has lost the lead")

    @contextlib.contextmanager
    def passing(self, what: str) -> Iterator[float]:
        """Around a write, from before it is sent until its answer is read; else as `check`."""
        left = self.check(what)
        self._under_way += 1
        self._quiet.clear()
        try:
            yield left
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    async def quiet(self) -> None:
        """Waits until no write is under way."""
        await self._quiet.wait()
