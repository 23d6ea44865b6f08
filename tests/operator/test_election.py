"""The election, in virtual time: many candidates, clocks that drift, pauses, answers that are lost.

The store is the API server's promise and no more: one object, each write on the version that it
names. Everything else is the code that runs in the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from model_operator.clients.fence import Fence
from model_operator.errors import ApiError, ApiUnreachable, Conflict
from model_operator.leadership import ABSENT, Claim, Lease, Terms
from model_operator.runtime.election import Election, new_identity
from tests.operator.virtual_time import now, run

TERMS = Terms(15)


class Store:
    """One Lease as an API server keeps it."""

    def __init__(self) -> None:
        self.lease = ABSENT
        self.changes: list[tuple[float, str]] = []
        """When it got which holder."""
        self._versions = 0

    def put(self, holder: str, seconds: int, transitions: int = 0) -> None:
        self._versions += 1
        if holder != self.lease.holder:
            self.changes.append((now(), holder))
        self.lease = Lease(str(self._versions), holder, seconds, transitions)

    async def read(self) -> Lease:
        return self.lease

    async def write(self, seen: Lease, claim: Claim) -> Lease:
        if seen.version != self.lease.version:
            raise Conflict(409, "the object has been modified")
        self.put(claim.holder, claim.seconds, claim.transitions)
        return self.lease


@dataclass
class Link:
    """One candidate's way to the store, which can break on either side of it."""

    store: Store
    down: bool = False
    deaf: bool = False
    """Requests arrive, and answers do not."""

    async def read(self) -> Lease:
        await self._there()
        lease = await self.store.read()
        await self._back()
        return lease

    async def write(self, seen: Lease, claim: Claim) -> Lease:
        await self._there()
        lease = await self.store.write(seen, claim)
        await self._back()
        return lease

    async def _there(self) -> None:
        await asyncio.sleep(0.005)
        if self.down:
            raise ApiUnreachable("refused")

    async def _back(self) -> None:
        if self.deaf:
            await asyncio.Event().wait()


@dataclass
class Candidate:
    """One process."""

    store: Any
    name: str = "a"
    rate: float = 1.0
    """How fast its clock runs."""
    pod: str | None = None
    terms: Terms = TERMS
    sleep: Callable[[float], Any] = asyncio.sleep
    terms_of_office: list[float] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.fence = Fence(self.clock)
        identity = new_identity(self.pod or self.name)
        self.identity = identity
        self.election = Election(
            self.store,
            self.terms,
            self.fence,
            identity,
            pod=self.pod,
            clock=self.clock,
            sleep=self.sleep,
        )

    def clock(self) -> float:
        return 1000.0 + self.rate * now()

    @property
    def may_write(self) -> bool:
        return self.fence.seconds_left > 0

    @contextlib.asynccontextmanager
    async def term(self) -> AsyncIterator[None]:
        self.terms_of_office.append(now())
        yield

    async def run(self) -> None:
        await self.election.run(self.term, self.ended)


async def until(check: Callable[[], bool], seconds: float) -> float:
    """Waits in virtual time; returns how long it took."""
    started = now()
    while not check():
        assert now() - started <= seconds, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return now() - started


@contextlib.asynccontextmanager
async def standing(*candidates: Candidate) -> AsyncIterator[None]:
    """Starts them one after the other, and ends them so."""
    async with asyncio.TaskGroup() as group:
        for candidate in candidates:
            group.create_task(candidate.run())
            await asyncio.sleep(0.02)
        yield
        for candidate in candidates:
            candidate.ended.set()


def test_the_first_leads_at_once_and_the_second_when_the_first_has_ended_not_a_moment_later():
    async def scenario() -> None:
        store = Store()
        first, second = Candidate(Link(store), "a"), Candidate(Link(store), "b")
        async with standing(first, second):
            await until(lambda: first.may_write, 0.1)
            await asyncio.sleep(100)
            assert first.may_write
            assert not second.may_write
            first.ended.set()
            await until(lambda: second.may_write, TERMS.look_seconds + 0.1)
        holders = [holder.split("_")[0] for _, holder in store.changes]
        assert holders == ["a", "", "b", ""]
        assert store.lease.transitions == 1

    run(scenario())


def test_a_leader_that_is_cut_off_stops_writing_long_before_the_next_one_starts():
    async def scenario() -> None:
        store = Store()
        cut, other = Candidate(Link(store), "a"), Candidate(Link(store), "b")
        async with standing(cut, other):
            await until(lambda: cut.may_write, 0.1)
            await asyncio.sleep(10)
            cut.store.down = True
            stopped = await until(lambda: not cut.may_write, 11)
            started = stopped + await until(lambda: other.may_write, 11)
            assert stopped <= TERMS.write_seconds
            assert 13 <= started <= TERMS.lease_seconds + TERMS.look_seconds + 0.1
            assert started - stopped >= TERMS.lease_seconds / 3 - 0.1
            cut.store.down = False
            await asyncio.sleep(60)
            assert other.may_write
            assert not cut.may_write

    run(scenario())


def test_when_the_api_server_was_away_the_same_one_goes_on_as_soon_as_it_is_back():
    async def scenario() -> None:
        store = Store()
        first, second = Candidate(Link(store), "a"), Candidate(Link(store), "b")
        async with standing(first, second):
            await until(lambda: first.may_write, 0.1)
            first.store.down = second.store.down = True
            await asyncio.sleep(12)
            assert not first.may_write
            first.store.down = second.store.down = False
            await until(lambda: first.may_write, 2 * TERMS.look_seconds + 0.1)
            assert not second.terms_of_office

    run(scenario())


def test_the_time_for_writing_begins_when_the_renewal_is_sent_and_not_when_it_is_answered():
    async def scenario() -> None:
        store = Store()

        class Slow(Link):
            async def _back(self) -> None:
                await asyncio.sleep(3)

        leader = Candidate(Slow(store), "a")
        async with standing(leader):
            await until(lambda: leader.may_write, 10)
            assert leader.fence.seconds_left <= TERMS.write_seconds - 3

    run(scenario())


def test_an_answer_that_is_lost_costs_the_leader_nothing():
    async def scenario() -> None:
        store = Store()
        leader = Candidate(Link(store), "a")
        async with standing(leader):
            await until(lambda: leader.may_write, 0.1)
            await asyncio.sleep(1)
            leader.store.deaf = True
            await asyncio.sleep(TERMS.renew_seconds)
            leader.store.deaf = False
            await asyncio.sleep(60)
            assert len(leader.terms_of_office) == 1
            assert leader.may_write

    run(scenario())


def test_whoever_sees_another_holder_stops_at_once_although_it_could_still_write():
    """Somebody has meddled with the Lease: it does not pass by itself so early."""

    async def scenario() -> None:
        store = Store()
        leader = Candidate(Link(store), "a")
        with capture_logs() as logs:
            async with standing(leader):
                await until(lambda: leader.may_write, 0.1)
                store.put("somebody_1", 15)
                await until(lambda: not leader.may_write, TERMS.renew_seconds + 0.1)
        (lost,) = [log for log in logs if log["event"] == "no longer leading"]
        assert lost["why"] == "somebody_1 holds it"
        assert lost["log_level"] == "warning"

    run(scenario())


def test_a_pods_process_that_starts_anew_takes_its_lease_back_at_once_and_a_machines_does_not():
    async def takes(pod: str | None) -> float:
        store = Store()
        store.put("pod-a_00000000", 15)
        candidate = Candidate(Link(store), "pod-a", pod=pod)
        async with standing(candidate):
            return await until(lambda: candidate.may_write, 16)

    assert run(takes("pod-a")) < 0.1
    assert 14.9 <= run(takes(None)) < 15.1


def test_who_ends_in_order_begins_no_write_any_more_and_waits_for_those_under_way():
    async def scenario() -> None:
        store = Store()
        leader = Candidate(Link(store), "a")
        free_at: list[float] = []

        async def write() -> None:
            with leader.fence.passing("PATCH /x"):
                await asyncio.sleep(2)
                assert store.lease.holder == leader.identity
                assert not leader.may_write
                free_at.append(now())

        async with standing(leader):
            await until(lambda: leader.may_write, 0.1)
            writing = asyncio.create_task(write())
            await asyncio.sleep(0.5)
            leader.ended.set()
        await writing
        assert store.lease.holder == ""
        assert free_at[0] <= store.changes[-1][0] <= free_at[0] + 0.1

    run(scenario())


def test_a_write_that_is_never_answered_does_not_hold_the_end_up_for_long():
    async def scenario() -> None:
        leader = Candidate(Link(Store()), "a")
        async with standing(leader):
            await until(lambda: leader.may_write, 0.1)
            with leader.fence.passing("PATCH /x"):
                leader.ended.set()
                await until(lambda: not leader.store.store.lease.holder, TERMS.answer_seconds + 0.1)

    run(scenario())


def test_a_term_that_breaks_gives_the_lease_back_before_the_error_goes_on():
    async def scenario() -> None:
        store = Store()
        broken = Candidate(Link(store), "a")

        @contextlib.asynccontextmanager
        async def breaks() -> AsyncIterator[None]:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                yield

        async def fail() -> None:
            await asyncio.sleep(3)
            raise RuntimeError("a task has ended by itself")

        with pytest.raises(ExceptionGroup):
            await broken.election.run(breaks, broken.ended)
        assert store.lease.holder == ""
        assert not broken.may_write

    run(scenario())


def test_a_lease_that_was_won_in_the_moment_of_the_end_is_given_back():
    async def scenario() -> None:
        store = Store()
        candidate = Candidate(Link(store), "a")
        wrote = asyncio.Event()
        write = candidate.store.write

        async def write_and_be_cut(seen: Lease, claim: Claim) -> Lease:
            lease = await write(seen, claim)
            if not wrote.is_set():
                wrote.set()
                await asyncio.Event().wait()
            return lease

        candidate.store.write = write_and_be_cut
        task = asyncio.create_task(candidate.run())
        await wrote.wait()
        assert store.lease.holder == candidate.identity
        candidate.ended.set()
        await task
        assert store.lease.holder == ""
        assert not candidate.terms_of_office

    run(scenario())


@pytest.mark.parametrize("error", [ApiUnreachable("refused"), ApiError(403, "leases is forbidden")])
def test_trouble_with_the_lease_is_told_once_and_not_at_every_look(error: Exception):
    class Broken(Store):
        async def read(self) -> Lease:
            raise error

    async def scenario() -> None:
        candidate = Candidate(Broken(), "a")
        with capture_logs() as logs:
            async with standing(candidate):
                await asyncio.sleep(300)
        (told,) = [log for log in logs if log["event"] == "the Lease cannot be read"]
        assert told["error"] == str(error)
        assert not candidate.terms_of_office

    run(scenario())


def test_each_change_is_a_line_of_the_log_and_waiting_is_one():
    async def scenario() -> None:
        store = Store()
        first, second = Candidate(Link(store), "a"), Candidate(Link(store), "b")
        with capture_logs() as logs:
            async with standing(first, second):
                await asyncio.sleep(100)
                first.ended.set()
                await asyncio.sleep(100)
        told = [(log["event"], log["identity"][0]) for log in logs]
        assert told == [
            ("leading", "a"),
            ("standing by", "b"),
            ("the Lease was given back", "a"),
            ("leading", "b"),
            ("the Lease was given back", "b"),
        ]

    run(scenario())


def test_no_two_processes_have_the_same_identity_and_a_strange_machines_name_does_no_harm(
    monkeypatch,
):
    assert new_identity("pod-a") != new_identity("pod-a")
    assert new_identity("pod-a").startswith("pod-a_")
    monkeypatch.setattr("socket.gethostname", lambda: "André's (laptop)\n")
    assert new_identity(None).rpartition("_")[0] == "Andr--s--laptop--"


# --- whatever happens -------------------------------------------------------------------------


@dataclass
class Fate:
    """What chance does to one candidate: each call and each pause takes its next number."""

    numbers: list[int]
    calm_at: float
    """From then on nothing happens any more."""

    def next(self) -> int:
        return self.numbers.pop() if self.numbers and now() < self.calm_at else 0


@dataclass
class Unlucky:
    """A link on which anything can happen to each request, and a process that stops anywhere."""

    store: Store
    fate: Fate

    async def read(self) -> Lease:
        await self._delayed()
        lease = await self.store.read()
        await self._delayed()
        return lease

    async def write(self, seen: Lease, claim: Claim) -> Lease:
        kind = self.fate.next()
        if kind % 5 == 1:
            raise ApiUnreachable("reset")
        if kind % 5 == 2:  # it is given up, and arrives all the same, later
            late = asyncio.get_running_loop().create_task(self._later(seen, claim, kind / 10))
            late.add_done_callback(lambda task: task.exception())
            raise ApiUnreachable("reset")
        await self._delayed()
        lease = await self.store.write(seen, claim)
        if kind % 5 == 3:
            raise ApiUnreachable("the answer was lost")
        await self._delayed()
        return lease

    async def _later(self, seen: Lease, claim: Claim, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.store.write(seen, claim)

    async def _delayed(self) -> None:
        await asyncio.sleep(0.001 + self.fate.next() / 100)

    async def sleep(self, seconds: float) -> None:
        """A pause, and now and then the process is stopped for longer than any Lease."""
        kind = self.fate.next()
        await asyncio.sleep(seconds + (kind if kind % 3 == 1 else 0) / 2)


CALM_AFTER = 150.0
numbers = st.lists(st.integers(0, 100), max_size=60)
rates = st.floats(0.9, 1.1)


@hypothesis.settings(max_examples=60)
@given(fates=st.lists(st.tuples(numbers, rates), min_size=2, max_size=3))
def test_never_two_may_write_at_the_same_time_and_in_the_end_one_does(
    fates: list[tuple[list[int], float]],
):
    """Stopped for up to 50 s, requests and answers lost or late, clocks 10% fast or slow."""
    run(whatever_happens(fates))


async def whatever_happens(fates: list[tuple[list[int], float]]) -> None:
    store = Store()
    candidates: list[Candidate] = []
    for number, (drawn, rate) in enumerate(fates):
        link = Unlucky(store, Fate(list(drawn), CALM_AFTER))
        candidates.append(Candidate(link, "abc"[number], rate, sleep=link.sleep))

    def guard(candidate: Candidate) -> None:
        """Whenever a fence is opened, every other one is closed at that very moment."""
        opens = candidate.fence.open_until

        def watched(moment: float) -> None:
            opens(moment)
            writers = [one.name for one in candidates if one.may_write]
            assert writers in ([], [candidate.name]), f"at {now()}: {writers}"

        candidate.fence.open_until = watched  # type: ignore[method-assign]

    for candidate in candidates:
        guard(candidate)
    async with standing(*candidates):
        await asyncio.sleep(CALM_AFTER + 80)
        assert [one.name for one in candidates if one.may_write]
