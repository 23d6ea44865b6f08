"""What is looked at in its turn: everything that exists when the process starts, and all who follow
an alias that has moved.

A resource that says of itself that it is settled is most likely right. Ten thousand of them at once
would keep those waiting that are not, so they are handed out a few at a time, and fewer while
others wait. `main` starts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

AT_ONCE = 200
"""So many are handed out without a pause: most estates are smaller."""
PAUSE_SECONDS = 0.05
"""Between two of the others."""
LONGEST_PAUSE_SECONDS = 1.0
"""Between two while there is always somebody who waits: the last ones' turn comes all the same."""


class Backlog(Generic[Key]):
    """Belongs to one event loop. Each key is in it once, the one that came first goes first."""

    def __init__(
        self,
        hand_out: Callable[[Key], None],
        others: Callable[[], int] = lambda: 0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`others` says how many keys wait that were handed out, by this or by others."""
        self._hand_out = hand_out
        self._others = others
        self._sleep = sleep
        self._keys: dict[Key, None] = {}
        self._some = asyncio.Event()

    def __len__(self) -> int:
        """How many keys wait for their turn."""
        return len(self._keys)

    def add(self, key: Key) -> None:
        """Hands the key out when its turn comes."""
        self._keys.setdefault(key)
        self._some.set()

    def discard(self, key: Key) -> None:
        """Does not hand the key out after all: somebody else has."""
        self._keys.pop(key, None)

    async def run(self) -> None:
        """Hands out for ever."""
        while True:
            await self._some.wait()
            left = AT_ONCE
            while self._keys:
                key = next(iter(self._keys))
                del self._keys[key]
                self._hand_out(key)
                left -= 1
                if left < 0:
                    await self._pause()
            self._some.clear()

    async def _pause(self) -> None:
        for _ in range(round(LONGEST_PAUSE_SECONDS / PAUSE_SECONDS)):
            await self._sleep(PAUSE_SECONDS)
            if not self._others():
                return
