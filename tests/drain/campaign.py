"""Terminations under load: SIGTERM to a pod, its successor ready, the nodes late to hear of it.

What Kubernetes does when a pod is deleted: it sends SIGTERM, and takes the pod's address out of the
endpoints at the same time; the nodes hear of that later, each at a time of its own. `__main__` and
tests/server/test_drain.py play it.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random

from tests.drain.clients import crowd
from tests.drain.ledger import Ledger
from tests.drain.service import Pod, Service
from tests.server.processes import ServerProcess

NODES = 4
JUST_UNDER = 0.05  # seconds that the slowest node's lag stays below the drain
AT_ONCE_SECONDS = 3.0  # an end that waits for nothing takes less, on a busy machine too
WARM_SECONDS = 120.0


@dataclass(frozen=True)
class Plan:
    """What is played."""

    artifact: Path
    folder: Path
    """For logs."""
    terminations: int
    seed: int
    drain_seconds: float = 1.5
    """How long the pods drain, unless that is switched off; the nodes' lags stay below it."""
    drain_off: bool = False
    request_timeout_seconds: float = 30.0
    side_by_side: int = 1
    """Services with pods and clients of their own, at the same time."""

    @property
    def drain(self) -> float:
        """The pods' DRAIN_SECONDS."""
        return 0.0 if self.drain_off else self.drain_seconds

    @property
    def settings(self) -> dict[str, object]:
        """The pods' environment; connections end in normal life too, by age."""
        return {
            "drain_seconds": self.drain,
            "request_timeout_seconds": self.request_timeout_seconds,
            "connection_max_age_seconds": 4,
        }

    @property
    def limit_seconds(self) -> float:
        """The grace period of such a pod."""
        return self.drain + self.request_timeout_seconds + 5


@dataclass
class Outcome:
    """What became of it."""

    ledger: Ledger = field(default_factory=Ledger)
    exits: list[float] = field(default_factory=list)
    """Seconds from SIGTERM to the end of the process, one for each termination."""
    idle: list[float] = field(default_factory=list)
    """Seconds from the drain's end, or a later last answer, to the server's own end."""
    bad_ends: list[str] = field(default_factory=list)
    """One sentence for each process that ended too late, or not with 0."""


OnExit = Callable[[Outcome], None]


async def play(plan: Plan, on_exit: OnExit = lambda _: None) -> Outcome:
    """Play the plan; `on_exit` hears of each termination."""
    outcome = Outcome()
    async with asyncio.TaskGroup() as group:
        for number in range(1, plan.side_by_side + 1):
            share = len(range(number, plan.terminations + 1, plan.side_by_side))
            group.create_task(_Lane(plan, number, outcome).run(share, on_exit))
    return outcome


class _Lane:
    """One Service: its pods one after the other, and its clients."""

    def __init__(self, plan: Plan, number: int, outcome: Outcome) -> None:
        self._plan = plan
        self._number = number
        self._outcome = outcome
        self._ledger = outcome.ledger
        self._random = Random(f"{plan.seed} {number}")
        self._processes: dict[str, ServerProcess] = {}

    async def run(self, terminations: int, on_exit: OnExit) -> None:
        try:
            pod = await self._start()
            service = Service(pod, NODES)
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for client in crowd(service, self._ledger, self._random):
                    group.create_task(client.run(stop))
                starting = group.create_task(self._start())
                for left in reversed(range(terminations)):
                    successor = await starting
                    await self._warm(pod)
                    ending = group.create_task(self._end(service, pod, successor))
                    if left:
                        starting = group.create_task(self._start())
                    await ending
                    on_exit(self._outcome)
                    pod = successor
                await self._warm(pod)
                stop.set()
        finally:
            for process in self._processes.values():
                process.close()

    async def _start(self) -> Pod:
        """A new pod, ready."""
        version = f"{self._number}.{len(self._processes) + 1}"
        folder = self._plan.folder / version
        settings = {**self._plan.settings, "model_version": version}
        process = ServerProcess(self._plan.artifact, folder, settings)
        self._processes[version] = process
        await asyncio.to_thread(process.wait_ready)
        return Pod(version, ("127.0.0.1", process.port))

    async def _warm(self, pod: Pod) -> None:
        """Until the pod has the load."""
        async with asyncio.timeout(WARM_SECONDS):
            await self._ledger.warm[pod.version].wait()

    def _lags(self) -> list[float]:
        """One node hears of it at once, one at the last moment, the others in between."""
        last = self._plan.drain_seconds - JUST_UNDER
        lags = [0.0, last, *(self._random.uniform(0, last) for _ in range(NODES - 2))]
        self._random.shuffle(lags)
        return lags

    async def _end(self, service: Service, pod: Pod, successor: Pod) -> None:
        """SIGTERM to the pod; the endpoint is the successor from now on."""
        loop = asyncio.get_running_loop()
        process = self._processes[pod.version]
        began, wall = loop.time(), time.time()
        service.hand_over(successor, began, self._lags())
        self._ledger.told_to_end(pod.version, began)
        process.signal(signal.SIGTERM)
        try:
            status: int | str = await asyncio.to_thread(process.wait, self._plan.limit_seconds)
        except subprocess.TimeoutExpired:
            process.close()
            status = "none: it was killed at its limit"
        self._outcome.exits.append(loop.time() - began)
        if status != 0:
            self._bad_end(pod, f"exit status {status}")
            return
        # The process's own last word: what the interpreter then takes depends on the machine.
        ended = began + datetime.fromisoformat(process.event("ended")["timestamp"]).timestamp()
        idle = ended - wall - max(began + self._plan.drain, self._ledger.busy_until[pod.version])
        self._outcome.idle.append(max(0.0, idle))
        if idle > AT_ONCE_SECONDS:
            self._bad_end(pod, f"it ended only {idle:.1f} s after its drain and its last answer")

    def _bad_end(self, pod: Pod, what: str) -> None:
        self._outcome.bad_ends.append(f"pod {pod.version}: {what}")
