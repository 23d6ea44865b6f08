"""Whose pods start now: those of one resource at a time, on a node that has two processors.

A server that starts takes a processor for seconds. Where two resources' pods start at once, nothing
is left of a small node for those that serve, and the load is no longer half of what it can do.
`scene` waits for a turn before it asks for other pods.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 10.0
"""Between two starts: what one takes, and some rest."""


class Starts:
    """Shared by all that play at the same time."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def wait(self) -> None:
        """Returns when nobody else has started anything for SECONDS."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._free_at)
            self._free_at = turn + SECONDS
        self._sleep(turn - now)
