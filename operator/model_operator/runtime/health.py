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


class Health:
    """Over all that is watched."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        self.cluster: Cluster | None = None
        """None until the process has logged in."""

    async def stale(self) -> list[str]:
        """The kinds whose watches have died unnoticed; empty while the process lives."""
        if (cluster := self.cluster) is None:
            return []
        silent = [view for view in self._views if view.age >= STALE_SECONDS]
        answers = await asyncio.gather(
            *(cluster.answers(view.kind, view.namespace) for view in silent)
        )
        return [view.kind for view, answer in zip(silent, answers, strict=True) if answer]

    def unlisted(self) -> list[str]:
        """The kinds that have not been listed yet; empty once the process is ready."""
        return [view.kind for view in self._views if not view.listed]
