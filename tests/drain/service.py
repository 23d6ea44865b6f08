"""What stands between clients and pods: a Service, whose nodes learn late where the pod is.

`campaign` hands it over from pod to pod; `clients` ask it at each new connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tests.server.load import Address


@dataclass(frozen=True)
class Pod:
    """One server process; its version is in each of its answers."""

    version: str
    address: Address


class Service:
    """One ready pod at a time, and nodes that each hear of a change after a lag of their own.

    A node's view is computed from the clock when it is asked, so that a late timer in this process
    cannot make a lag longer than it was drawn.
    """

    def __init__(self, pod: Pod, nodes: int) -> None:
        self._old = pod
        self._pod = pod
        self._switches_at = [0.0] * nodes

    @property
    def nodes(self) -> int:
        return len(self._switches_at)

    def hand_over(self, pod: Pod, now: float, lags: Sequence[float]) -> None:
        """From `now` the endpoint is `pod`; each node hears of it so many seconds later."""
        self._old, self._pod = self._pod, pod
        self._switches_at = [now + lag for lag in lags]

    def pod(self, node: int) -> Pod:
        """Where a connection that is made on this node now goes."""
        late = asyncio.get_running_loop().time() < self._switches_at[node]
        return self._old if late else self._pod
