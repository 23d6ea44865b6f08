"""Which request lines are written under load. Pure: the caller brings the time.

`rest.telemetry` keeps one Sampler for answers and one for refusals, so that a flood of the one
leaves room for the other.
"""

from __future__ import annotations


class Sampler:
    """A token bucket: bursts of one second's lines, and no more than `per_second` for long.

    What is left out is counted in the next line: the numbers that `take` returned plus `pending`
    always are the calls that were made.
    """

    def __init__(self, per_second: int) -> None:
        """`per_second` lines; 0 writes every one."""
        self._per_second = per_second
        self._tokens = float(per_second)
        self._filled_at: float | None = None
        self.pending = 0
        """The requests since the last line, which the next one will stand for."""

    def take(self, now: float) -> int | None:
        """Return how many requests this one's line stands for, or None to leave it out.

        `now` is in seconds of a clock that never goes back.
        """
        self.pending += 1
        if self._per_second and not self._spend(now):
            return None
        standing_for, self.pending = self.pending, 0
        return standing_for

    def _spend(self, now: float) -> bool:
        since = 0.0 if self._filled_at is None else now - self._filled_at
        self._filled_at = now
        self._tokens = min(float(self._per_second), self._tokens + since * self._per_second)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
