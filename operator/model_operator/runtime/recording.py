"""Writes to the Tracker what waits to be recorded: one task, outside of all passes.

Passes offer what status says is waiting, and read here what became of it; nothing waits for the
tracker. What is offered again, because a process died or a server was away, is one record still.
While the server is away one record is tried, later each time, and the others wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from model_operator.api import Recorded
from model_operator.clients.tracker import Tracker
from model_operator.clients.view import Key
from model_operator.errors import MlflowError, MlflowRefused, NotLeading
from model_operator.tracking import RolloutRecord

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
MOST_WAITING = 20_000
"""More are offered again by later passes."""

log = structlog.get_logger(__name__)


class RecordingObserver(Protocol):
    """Hears what became of records."""

    def tracked(self, outcome: str) -> None:
        """One record was written, refused, withdrawn, put off (failed) or dropped."""
        ...


@dataclass(frozen=True)
class Withdrawal:
    """A resource is gone: no version is live there."""

    namespace: str
    name: str


Job = RolloutRecord | Withdrawal


class Recording:
    """Belongs to one event loop. `tell` is called with a key of which a record has an end."""

    def __init__(
        self,
        tracker: Tracker,
        tell: Callable[[Key], None],
        observer: RecordingObserver,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311
    ) -> None:
        self._tracker = tracker
        self._tell = tell
        self._observer = observer
        self._jitter = jitter
        self._waiting: dict[object, Job] = {}
        """By what makes a job the same job; the first one is the next."""
        self._in_hand: Job | None = None
        self._something_waits = asyncio.Event()
        self._results: dict[Key, dict[str, Recorded]] = {}
        self._named: set[Key] = set()
        """Resources that a tag in the registry may name."""
        self._put_off: set[object] = set()
        """Jobs whose last attempt failed."""

    def waiting(self) -> int:
        """How many jobs wait, the one in hand included."""
        return len(self._waiting) + (self._in_hand is not None)

    # --- for passes ----------------------------------------------------------------------------

    def results(self, key: Key) -> Mapping[str, Recorded]:
        """By a rollout's identity, what became of its record since status said that it waits."""
        return self._results.get(key, {})

    def offer(self, key: Key, records: Iterable[RolloutRecord], *, named: bool) -> None:
        """All that waits to be recorded of one resource, by its status; `named`: the registry may
        say that a version is live there.
        """
        records = tuple(records)
        if key in self._results:
            waits = {record.identity for record in records}
            left = {which: end for which, end in self._results[key].items() if which in waits}
            self._results[key] = left
            if not left:
                del self._results[key]
        for record in records:
            if self._in_hand is not None and _identity(self._in_hand) == record.identity:
                self._in_hand = record  # what is tried again is what is so now
            elif record.identity not in self.results(key):
                self._add(record)
        if named:
            self._named.add(key)
        if any(record.live and record.target for record in records):
            self._has_come_back(Withdrawal(*key))

    def forget(self, key: Key) -> None:
        """The resource is gone."""
        self._results.pop(key, None)
        if key in self._named:
            self._named.discard(key)
            self._add(Withdrawal(*key))

    def _has_come_back(self, withdrawal: Withdrawal) -> None:
        """A new resource of the name is live: what it records moves the tag, too."""
        self._waiting.pop(withdrawal, None)
        self._put_off.discard(withdrawal)
        if self._in_hand == withdrawal:
            self._in_hand = None  # not tried again

    def _add(self, job: Job) -> None:
        self._waiting[_identity(job)] = job
        if len(self._waiting) > MOST_WAITING:
            dropped = next(iter(self._waiting))
            del self._waiting[dropped]
            self._put_off.discard(dropped)
            self._observer.tracked("dropped")
        self._something_waits.set()

    # --- the task ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works for ever; a failure costs a pause, never the task."""
        failures = 0
        while True:
            while not self._waiting:
                self._something_waits.clear()
                await self._something_waits.wait()
            failures = 0 if await self._next() else failures + 1
            if failures:
                pause = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16)
                await asyncio.sleep(min(LONGEST_PAUSE_SECONDS, pause) * self._jitter())

    async def _next(self) -> bool:
        """Tries the job that has waited longest. One that fails is the last one then, so that it
        holds up no other; returns whether it has an end.
        """
        job = self._as_it_is_now(self._waiting.pop(next(iter(self._waiting))))
        self._in_hand = job
        outcome = "failed"
        try:
            outcome = await self._attempt(job)
        finally:
            latest = self._put_down()
            if latest is None:
                self._put_off.discard(_identity(job))
            elif outcome == "failed":
                self._add(self._as_it_is_now(latest))
        self._observer.tracked(outcome)
        return outcome != "failed"

    def _put_down(self) -> Job | None:
        """What was in hand, as it is by now; None when it is not to be tried again."""
        job, self._in_hand = self._in_hand, None
        return job

    async def _attempt(self, job: Job) -> str:
        """Carries a job out and says what became of it."""
        identity = _identity(job)
        try:
            if isinstance(job, Withdrawal):
                await self._tracker.withdraw(job.namespace, job.name)
                outcome = "withdrawn"
            else:
                await self._tracker.record(job)
                outcome = "written"
        except MlflowRefused as error:
            log.warning("not recorded", namespace=job.namespace, name=job.name, error=str(error))
            outcome = "refused"
        except NotLeading:  # the term ends, and the next leader records it
            return "failed"
        except MlflowError as error:
            self._fails(identity, str(error))
            return "failed"
        except Exception as error:  # a fault of ours may cost a record, never the process
            if identity not in self._put_off:
                log.exception("recording broke", namespace=job.namespace, name=job.name)
            self._fails(identity, repr(error))
            return "failed"
        self._goes_on(identity)
        if isinstance(job, RolloutRecord):
            self._ends(job, "Refused" if outcome == "refused" else "Written")
        return outcome

    def _as_it_is_now(self, job: Job) -> Job:
        """A version is not said to be live where its resource is gone."""
        if isinstance(job, RolloutRecord) and Withdrawal(job.namespace, job.name) in self._waiting:
            return replace(job, live=False)
        return job

    def _ends(self, record: RolloutRecord, became: Recorded) -> None:
        key = (record.namespace, record.name)
        self._results.setdefault(key, {})[record.identity] = became
        self._tell(key)

    def _fails(self, identity: object, error: str) -> None:
        """Tells once that something is wrong, however often it is tried."""
        if not self._put_off:
            log.warning("rollouts are not recorded now; tried again, later each time", error=error)
        self._put_off.add(identity)

    def _goes_on(self, identity: object) -> None:
        if identity in self._put_off:
            self._put_off.discard(identity)
            if not self._put_off:
                log.info("rollouts are recorded again")


def _identity(job: Job) -> object:
    """What makes a job the same job, however often it is offered."""
    return job.identity if isinstance(job, RolloutRecord) else job
