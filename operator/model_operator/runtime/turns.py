"""At most so many rollouts at once: a moved alias must not start the whole estate anew together.

Whose rollout is under way is known from status when the process starts, and from each pass after
that; nothing is written for it. A rollout that has begun is never stopped here, and the first
revision of a resource waits for nobody. `reconcile` asks where a pass would begin a rollout, and
tells after each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """Belongs to one event loop."""

    def __init__(
        self,
        limit: int,
        notify: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit` 0: as many as there are. `notify` is told who is next when one has ended."""
        self.limit = limit
        self._notify = notify
        self._clock = clock
        self._rolling: set[Key] = set()
        """Who has a place among those that may be at once."""
        self._under_way: dict[Key, float] = {}
        """Whose rollout is, and since when that is known here; not all of them need a place."""
        self._waiting: dict[Key, None] = {}
        """The one that came first is the next."""
        self._failed: set[Key] = set()
        """Whose last pass failed: it comes back by itself, when its pause is over."""
        self._known = False

    def __len__(self) -> int:
        """How many rollouts are under way."""
        return len(self._under_way)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def oldest(self) -> float:
        """Seconds since the rollout began that has been under way longest; 0 without any. Counted
        from when this process learned of it.
        """
        return self._clock() - min(self._under_way.values()) if self._under_way else 0.0

    def know(self, key: Key, *, rolling: bool) -> None:
        """A rollout was under way when the process started; `rolling`: it has a place."""
        self._under_way.setdefault(key, self._clock())
        if rolling:
            self._rolling.add(key)

    def know_all(self) -> None:
        """Everything was listed: from now on rollouts may begin."""
        self._known = True
        self._next()

    def take(self, key: Key) -> bool:
        """Whether a pass may begin a rollout; it holds its place until `tell`."""
        free = not self.limit or (self._known and len(self._rolling) < self.limit)
        if key in self._rolling or free:
            self._rolling.add(key)
            self._under_way.setdefault(key, self._clock())
            return True
        return False

    def tell(
        self,
        key: Key,
        *,
        rolling: bool,
        waits: bool,
        under_way: bool = False,
        failed: bool = False,
    ) -> None:
        """How the pass has left the resource: `rolling` needs a place, `under_way` may need none
        just now, `waits` would begin if it may. Where the pass has `failed`, the resource is not
        woken for its turn: that would end its pause.
        """
        (self._failed.add if failed else self._failed.discard)(key)
        if waits:
            self._waiting.setdefault(key)
        else:
            self._waiting.pop(key, None)
        if rolling or under_way:
            self._under_way.setdefault(key, self._clock())
        else:
            self._under_way.pop(key, None)
        if rolling:
            self._rolling.add(key)
        elif key in self._rolling or waits:
            self._rolling.discard(key)
            self._next()

    def _next(self) -> None:
        """Wakes as many as may begin now; they keep their place until a pass has told of them."""
        free = self.limit - len(self._rolling) if self._known else 0
        woken = (key for key in self._waiting if key not in self._failed)
        for key in list(islice(woken, max(0, free))):
            self._notify(key)
