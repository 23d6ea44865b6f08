"""The queue's length: a second's burst waits, what cannot be answered is refused."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from model_server.admission import LASTING_WINDOWS, WINDOW_SECONDS, Admission

THREADS, QUEUE = 2, 128
SERVICE = 0.01
"""Seconds that one request takes a thread: two threads answer 200 a second."""
LASTING = (LASTING_WINDOWS + 2) * WINDOW_SECONDS
"""The first window has begun with a free thread, and the last one has to have ended."""


@dataclass
class Simulation:
    """Two threads that take what waits in its order, under a clock of our own."""

    admission: Admission = field(default_factory=lambda: Admission(THREADS, QUEUE))
    now: float = 100.0
    service: float = SERVICE
    refused: int = 0
    waits: list[float] = field(default_factory=list)
    _free_at: list[float] = field(default_factory=lambda: [0.0] * THREADS)
    _ends: list[float] = field(default_factory=list)

    def arrive(self, at: float) -> bool:
        """One request at `at`; returns whether it was let in."""
        self.finish(at)
        self.now = at
        if not self.admission.enter(at):
            self.refused += 1
            return False
        thread = min(range(THREADS), key=self._free_at.__getitem__)
        begins = max(at, self._free_at[thread])
        self._free_at[thread] = begins + self.service
        self._ends.append(begins + self.service)
        self.waits.append(begins - at)
        return True

    def finish(self, until: float) -> None:
        """Everything that ends by then."""
        self._ends.sort()
        while self._ends and self._ends[0] <= until:
            self.admission.leave(self._ends.pop(0))

    def open_loop(self, rate: float, seconds: float) -> list[float]:
        """Arrivals at a fixed rate; returns how long those that were let in have waited."""
        start, before = self.now, len(self.waits)
        for number in range(int(rate * seconds)):
            self.arrive(start + number / rate)
        return self.waits[before:]

    def closed_loop(self, clients: int, seconds: float) -> None:
        """Clients of which each asks again when it has its answer."""
        until = self.now + seconds
        for _ in range(clients):
            self.arrive(self.now)
        while self._ends and self._ends[0] < until:
            self._ends.sort()
            at = self._ends[0]
            self.finish(at)
            while self.admission.pending < clients:
                self.arrive(at)


def test_under_lasting_overload_those_that_are_answered_wait_for_a_few_requests_only():
    simulation = Simulation()
    simulation.open_loop(600, LASTING)
    waits = simulation.open_loop(600, 5.0)
    assert simulation.admission.is_short
    assert max(waits) <= 3 * SERVICE
    assert len(waits) > 0.99 * 200 * 5.0  # and the threads are never without work


def test_a_burst_waits_and_nothing_of_it_is_refused():
    simulation = Simulation()
    simulation.open_loop(100, 2.3)
    for _ in range(120):
        simulation.arrive(simulation.now)
    simulation.open_loop(100, 5.0)
    assert simulation.refused == 0


def test_a_server_that_lacks_the_processor_for_some_seconds_refuses_nobody():
    """Neighbours start and take it: half of what comes is answered, and the rest waits."""
    simulation = Simulation()
    simulation.open_loop(76, 2.0)
    simulation.service = THREADS / 38
    simulation.open_loop(76, 1.6)
    simulation.service = SERVICE
    simulation.open_loop(76, 5.0)
    assert simulation.refused == 0


def test_clients_that_wait_for_their_answers_are_never_too_many_for_the_queue():
    simulation = Simulation()
    simulation.closed_loop(clients=100, seconds=10.0)
    assert simulation.refused == 0
    assert len(simulation.waits) > 1900


def test_the_queue_is_long_again_a_window_after_the_overload():
    simulation = Simulation()
    simulation.open_loop(600, LASTING)
    assert simulation.admission.is_short
    simulation.open_loop(150, 3 * WINDOW_SECONDS)
    assert not simulation.admission.is_short
    before = simulation.refused
    for _ in range(100):
        simulation.arrive(simulation.now)
    assert simulation.refused == before


def test_arrivals_at_random_leave_a_thread_free_at_times_and_the_queue_short_all_the_same():
    simulation, chance = Simulation(), random.Random(1)
    simulation.open_loop(600, LASTING)
    for _ in range(6_000):
        simulation.arrive(simulation.now + chance.expovariate(600))
        assert simulation.admission.is_short


def test_a_short_queue_is_long_again_although_bursts_are_refused_while_the_threads_idle():
    simulation = Simulation()
    simulation.open_loop(600, LASTING)
    for second in range(3):
        start = simulation.now + WINDOW_SECONDS
        for _ in range(50):
            simulation.arrive(start)
        assert simulation.admission.is_short == (second == 0)
    assert simulation.admission.pending == 50


def test_those_that_time_out_in_the_queue_are_not_answered():
    """A server whose every request takes long would else never see that it is overloaded."""
    admission = Admission(1, 10)
    now = 0.0
    for _ in range(10 * (LASTING_WINDOWS + 2)):
        while admission.pending < 11 and admission.enter(now):
            pass
        now += WINDOW_SECONDS / 10
        admission.leave(now, answered=False)
    assert admission.is_short


def test_a_burst_after_a_long_silence_is_judged_by_nothing_before_it():
    simulation = Simulation()
    simulation.open_loop(600, LASTING)
    simulation.finish(simulation.now + 60)
    simulation.now += 60
    for _ in range(100):
        assert simulation.arrive(simulation.now)


def test_the_queue_is_never_longer_than_it_may_be():
    admission = Admission(1, 3)
    assert [admission.enter(0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    admission.leave(0.1)
    assert admission.enter(0.1)
    assert admission.pending == 4
    assert not Admission(1, 0).is_short
