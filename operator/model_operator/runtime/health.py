"""What the probes ask: does it live, is it ready.

Restarting the process helps only where the process is at fault. So it lives unless a watch has
given no sign for long *while the API server answers a plain request for the same kind*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from model_operator.clients.cluster import Cluster
from model_operator.clients.view import View

STALE_SECONDS = 180.0
"""Beyond the pause between two sweeps, which on a large estate is minutes."""


class Health:
    """Over all that is watched."""

    def __init__(self, views: Sequence[View] | None = None) -> None:
        """`views` are those of a process that leads; None: it does not."""
        self._views = views
        self._has_seen_lease = False
        self.cluster: Cluster | None = None
        """None until the process has logged in."""

    def saw_lease(self) -> None:
        """The API server has told who leads."""
        self._has_seen_lease = True

    def lead(self, views: Sequence[View]) -> None:
        """From now on this process leads and watches."""
        self._views = views

    def stand_by(self) -> None:
        """From now on it watches nothing."""
        self._views = None

    @property
    def leads(self) -> bool:
        """Whether there is anything that should be watched."""
        return self._views is not None

    @property
    def stands_by(self) -> bool:
        """Whether this process could take over: it does not lead, and it reaches the Lease."""
        return not self.leads and self._has_seen_lease

    async def stale(self) -> list[str]:
        """The kinds whose watches have died unnoticed; empty while the process lives."""
        if (cluster := self.cluster) is None:
            return []
        views = self._views or ()
        silent = [view for view in views if view.overdue >= STALE_SECONDS]
        answers = await asyncio.gather(
            *(cluster.answers(view.kind, view.namespace) for view in silent)
        )
        return [view.kind for view, answer in zip(silent, answers, strict=True) if answer]

    def unlisted(self) -> list[str]:
        """The kinds that have not been listed yet; empty once the process is ready."""
        return [view.kind for view in self._views or () if not view.listed]
