"""How many requests may wait: many for a moment, few for as long as more come than can be answered.

`workers` asks it about every request of a client. A long queue carries a server over a burst, such
as a neighbour's clients after its end. Under lasting overload the same queue only makes every
answer late: as many are refused as with a short one, and those that are answered have all waited
for its whole length. So the queue is short once, for some windows on end, the threads were hardly
ever free and far more came than was answered: less than that is a burst, or a neighbour that starts
and takes the processor for some seconds, and what waits then is answered after all. Clients that
wait for one answer before they ask again never bring that about, however many there are, as long as
they wait for it: of them as many come as are answered. Pure: the caller brings the time.
docs/decisions/0024 says why.
"""

from __future__ import annotations

WINDOW_SECONDS = 1.0
LASTING_WINDOWS = 5
"""So many on end are no burst any more: servers that start beside this one take about as long."""
_MORE = 1.5
"""How many times as many come as are answered where that is overload."""
_FREE = 0.2
"""The part of a window in which a thread may be free all the same: a short queue is empty at times.
Where more come than are answered, and the threads work for the rest of it, they do not keep up.
"""
_SHORT = 2
"""How many may wait for each thread then: the next one is always there. With one, a fifth less was
answered.
"""


class Admission:
    """Counts what comes and what is answered, in windows of a second."""

    def __init__(self, threads: int, queue_size: int) -> None:
        self._threads = threads
        self._long = threads + queue_size
        self._short = min(self._long, threads + _SHORT * threads)
        self._room = self._long
        self._began = self._ends = 0.0
        self._came = 0
        self._done = 0
        self._free_seconds = 0.0
        self._free_since: float | None = 0.0
        """None while every thread has something to do."""
        self._overloaded_windows = 0
        self.pending = 0
        """Those that were let in and are not done."""

    @property
    def is_short(self) -> bool:
        """Whether the queue is short now."""
        return self._room < self._long

    def enter(self, now: float) -> bool:
        """Let one in, or return False where it is to be refused at once.

        `now` is in seconds of a clock that never goes back.
        """
        self._turn(now)
        self._came += 1
        if self.pending >= self._room:
            return False
        self.pending += 1
        if self._free_since is not None and self.pending >= self._threads:
            self._free_seconds += now - self._free_since
            self._free_since = None
        return True

    def leave(self, now: float, *, answered: bool = True) -> None:
        """Note that one of those let in is done, or was taken out before its turn."""
        self._turn(now)
        self._done += answered
        self.pending -= 1
        if self._free_since is None and self.pending < self._threads:
            self._free_since = now

    def _turn(self, now: float) -> None:
        """Judge the window that has ended, if one has, and begin the next."""
        if now < self._ends:
            return
        if self._free_since is not None:
            self._free_seconds += now - self._free_since
            self._free_since = now
        # A window in which nothing was asked for longer than it lasts says nothing of overload.
        on_time = now < self._ends + WINDOW_SECONDS
        busy = self._free_seconds <= _FREE * (now - self._began)
        overloaded = on_time and busy and self._came > _MORE * self._done
        self._overloaded_windows = self._overloaded_windows + 1 if overloaded else 0
        self._room = self._short if self._overloaded_windows >= LASTING_WINDOWS else self._long
        self._began, self._ends = now, now + WINDOW_SECONDS
        self._came = self._done = 0
        self._free_seconds = 0.0
