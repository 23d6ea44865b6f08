"""One work queue of keys: a key that waits is there once, and is never worked on twice at a time.

A key that is added while it is being worked on is handed out again afterwards. Keys can be added
for later, and with a pause that doubles each time until `forget`. Used by the workers.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class WorkQueue(Generic[Key]):
    """Belongs to one event loop."""

    def __init__(self, jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2)) -> None:  # noqa: S311
        self._jitter = jitter
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: dict[Key, float] = {}
        """Since when; the first one has waited longest."""
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        """How many keys wait."""
        return len(self._waiting)

    def oldest_wait(self) -> float:
        """How many seconds the key that waits longest has waited; 0 when none waits."""
        since = next(iter(self._waiting.values()), None)
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def add(self, key: Key) -> None:
        """Hands the key out as soon as a worker is free."""
        self._cancel_timer(key)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().time()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Adds the key later; the earlier of two appointments stays."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= due:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(due, self._due, key)

    def add_with_back_off(
        self,
        key: Key,
        *,
        first: float = FIRST_PAUSE_SECONDS,
        longest: float = LONGEST_PAUSE_SECONDS,
        at_least: float = 0.0,
    ) -> float:
        """Adds the key later, each time twice as late, with jitter; returns the pause in seconds.

        `at_least` is what the other side asked for.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = max(min(longest, first * 2.0 ** min(failures, 16)) * self._jitter(), at_least)
        self.add_after(key, pause)
        return pause

    def forget(self, key: Key) -> None:
        """The key's last pass went well: the next pause is the first again."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key; `done` must follow."""
        key = await self._ready.get()
        self._waiting.pop(key, None)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The work on the key is over; hands it out again if it was added meanwhile."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Forgets every appointment; nobody takes keys any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._waiting.clear()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
