"""Leaders that are killed, stopped and told to end, again and again, under load.

`__main__` plays all of it, test_leader.py a sample.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.leader.audit import Write, first_write_of_another, out_of_turn
from tests.leader.stage import Operator, Stage, until

START_SECONDS = 2.0
"""After the Lease has run out, until the next leader's first write to a child."""


@dataclass
class Outcome:
    """What became of the trials."""

    lease_seconds: int
    takeovers: list[float] = field(default_factory=list)
    """Seconds from SIGKILL to the next leader's first write to a child."""
    stops: list[float] = field(default_factory=list)
    """The same from SIGSTOP."""
    hand_overs: list[float] = field(default_factory=list)
    """The same from SIGTERM: less than the Lease's duration where it was given back."""
    late: list[Write] = field(default_factory=list)
    """Writes of processes that did not hold the Lease."""
    writes: int = 0
    """All that the operators have sent, renewals aside."""

    @property
    def limit(self) -> float:
        """How long a takeover may last."""
        return self.lease_seconds + START_SECONDS

    def troubles(self) -> list[str]:
        """What is wrong, in sentences."""
        found = [f"out of turn: {write}" for write in self.late]
        slowest = max([*self.takeovers, *self.stops], default=0.0)
        if slowest > self.limit:
            found.append(f"a takeover lasted {slowest:.1f} s of {self.limit:g} s")
        if any(seconds > self.lease_seconds for seconds in self.hand_overs):
            slowest = max(self.hand_overs)
            found.append(f"a hand-over lasted {slowest:.1f} s, as if nothing was given back")
        return found

    def figures(self) -> str:
        """One line."""
        takeover, stop = (max(found, default=0.0) for found in (self.takeovers, self.stops))
        hand_over = max(self.hand_overs, default=0.0)
        return (
            f"kills {len(self.takeovers)}: slowest takeover {takeover:.1f} s"
            f" of limit {self.limit:g} s; "
            f"stops {len(self.stops)}: slowest takeover {stop:.1f} s of limit {self.limit:g} s,"
            f" writes of a deposed leader {len(self.late)}; "
            f"ends {len(self.hand_overs)}: slowest hand-over {hand_over:.1f} s"
            f" of limit {self.lease_seconds} s"
        )


OnTrial = Callable[[str], None]


class Campaign:
    """Trials on one stage."""

    def __init__(self, stage: Stage, seed: int = 6, on_trial: OnTrial = lambda _: None) -> None:
        self._stage = stage
        self._random = Random(seed)
        self._on_trial = on_trial
        self.outcome = Outcome(stage.lease_seconds)

    async def play(self, kills: int, stops: int, ends: int) -> Outcome:
        """So many trials of each kind, in any order."""
        trials = [self.kill] * kills + [self.stop] * stops + [self.end] * ends
        self._random.shuffle(trials)
        for trial in trials:
            await trial()
        self.judge()
        return self.outcome

    def judge(self) -> None:
        """Looks at every write so far."""
        self._stage.audit.follow()
        self.outcome.late = out_of_turn(self._stage.audit.writes)
        self.outcome.writes = sum(w.holder is None for w in self._stage.audit.writes)

    async def kill(self) -> None:
        """SIGKILL: the other one takes over when the Lease has run out."""
        identity, leader, _ = await self._ready()
        killed = time.time()
        await leader.process.kill()
        seconds = await self._takeover(identity, killed)
        self.outcome.takeovers.append(seconds)
        self._on_trial(f"SIGKILL of {leader.pod}: taken over after {seconds:.2f} s")
        await leader.start()

    async def stop(self) -> None:
        """SIGSTOP until another one writes, then SIGCONT: the deposed one writes nothing more."""
        identity, leader, _ = await self._ready()
        stopped = time.time()
        leader.process.signal(signal.SIGSTOP)
        seconds = await self._takeover(identity, stopped)
        leader.process.signal(signal.SIGCONT)
        await until(leader.stands_by, f"{leader.pod} knows that it was deposed")
        self.judge()
        self.outcome.stops.append(seconds)
        self._on_trial(
            f"SIGSTOP of {leader.pod} for {time.time() - stopped:.1f} s, taken over after"
            f" {seconds:.2f} s: writes of a deposed leader so far {len(self.outcome.late)}"
        )

    async def end(self) -> None:
        """SIGTERM: the leader gives the Lease back."""
        identity, leader, _ = await self._ready()
        told = time.time()
        leader.process.signal(signal.SIGTERM)
        seconds = await self._takeover(identity, told)
        await leader.process.stop()
        self.outcome.hand_overs.append(seconds)
        self._on_trial(f"SIGTERM to {leader.pod}: handed over after {seconds:.2f} s")
        await leader.start()

    async def _ready(self) -> tuple[str, Operator, Operator]:
        """Somewhere between two renewals, in the middle of whatever the leader does."""
        found = await self._stage.leader()
        pause = time.monotonic() + self._random.uniform(0, self._stage.lease_seconds / 5)

        async def passed() -> bool:
            return time.monotonic() >= pause

        await until(passed, "some moment")
        return found

    async def _takeover(self, identity: str, since: float) -> float:
        """Seconds until another process has written a child."""
        first: Write | None = None

        async def written() -> bool:
            nonlocal first
            self._stage.audit.follow()
            first = first_write_of_another(self._stage.audit.writes, identity, since)
            return first is not None

        await until(written, f"another than {identity} writes")
        assert first is not None
        return first.ended - since
