"""The account of every request: begun, answered, or lost and how.

`clients` write it, `campaign` and the command line read it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field

WARM_ANSWERS = 40  # good answers of a pod that has the load


@dataclass
class Ledger:
    """All requests of a run; a request that was begun is answered or lost, nothing else."""

    requests: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    """Good answers by the version that gave them."""
    by_client: Counter[str] = field(default_factory=Counter)
    """Good answers by the kind of client."""
    losses: list[str] = field(default_factory=list)
    """One sentence for each lost request."""
    busy_until: dict[str, float] = field(default_factory=dict)
    """The loop's time at which a version's last request had ended, answered or not."""
    warm: defaultdict[str, asyncio.Event] = field(
        default_factory=lambda: defaultdict(asyncio.Event)
    )
    """Set once a version has the load."""
    _told_to_end: dict[str, float] = field(default_factory=dict)

    def begin(self, count: int) -> None:
        self.requests += count

    def told_to_end(self, version: str, at: float) -> None:
        """A pod was sent SIGTERM; losses are told by the time since then."""
        self._told_to_end[version] = at

    def good(self, client: str, version: str) -> None:
        self.answered[version] += 1
        if self.answered[version] >= WARM_ANSWERS:
            self.warm[version].set()
        self.by_client[client] += 1
        self.busy_until[version] = asyncio.get_running_loop().time()

    def lost(self, count: int, client: str, version: str, what: str) -> None:
        now = asyncio.get_running_loop().time()
        self.busy_until[version] = now
        since = self._told_to_end.get(version)
        when = "before its SIGTERM" if since is None else f"{now - since:.2f} s after its SIGTERM"
        self.losses += [f"{client} client, pod {version}, {when}: {what}"] * count
