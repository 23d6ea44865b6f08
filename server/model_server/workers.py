"""The inference threads and the bounded queue in front of them.

The HTTP routes hand every decode and prediction to these, so that the event loop only moves bytes
and probes are answered at once however busy the threads are. Copies of another revision's requests
have a thread and a queue of their own: nobody waits for them, so they wait for everybody. It is
one thread, since any client can call its requests copies, and would double what a pod needs.
The standard library's executor does the same with a future more for each job, on both sides.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

import structlog

from model_server import scheduling
from model_server.admission import Admission
from model_server.cpu_limit import available_cpus
from model_server.errors import Abandoned, Overloaded, RequestError

T = TypeVar("T")
V = TypeVar("V")

log = structlog.get_logger()

_ENDING_SECONDS = 1.0
"""Within which all threads end that have nothing to do."""


class Workers:
    """A fixed number of threads, and at most `queue_size` jobs that wait for one.

    Fewer while more come than can be done, as `admission` says.
    """

    def __init__(self, *, queue_size: int, threads: int | None = None) -> None:
        self.threads = threads or max(1, math.floor(available_cpus()))
        self._clients = _Lane(self.threads, queue_size, "inference", scheduling.yield_to_event_loop)
        self._copies = _Lane(1, queue_size, "copies", scheduling.yield_to_all)

    @property
    def pending(self) -> int:
        """The clients' jobs that run or wait."""
        return self._clients.pending

    def run(
        self,
        job: Callable[[], T],
        when_over: Callable[[], None] = lambda: None,
        *,
        copied: bool = False,
    ) -> asyncio.Future[T]:
        """Return the future of what `job` returns, computed in one of the threads.

        Cancelling it, or giving it another outcome, takes the job out of the queue; one that runs,
        runs on. `when_over` is called, in any thread, once nothing here holds the job: it has run,
        was taken out, or was refused. A `copied` job runs where nothing else on the machine wants
        the processor.

        Raises:
            Overloaded: as many jobs wait as may.

        """
        lane = self._copies if copied else self._clients
        return lane.submit(job, when_over)

    def run_in_each(self, job: Callable[[], T]) -> list[T]:
        """Run `job` once in every thread, so that what a thread makes at first use is made."""
        together = threading.Barrier(self.threads)
        shares = [_Share(job, together) for _ in range(self.threads)]
        for share in shares:
            self._clients.put(share)
        return [share.result.result() for share in shares]

    def close(self) -> bool:
        """Drop what waits, and return whether every thread ends at once: what runs is not awaited.

        One that does not must not outlive the interpreter: in the middle of a library's code it
        would take the process down with it.
        """
        until = time.monotonic() + _ENDING_SECONDS
        clients, copies = self._clients.close(until), self._copies.close(until)
        return clients and copies


class _Work(Protocol):
    """What a thread is given to do."""

    def run(self) -> None:
        """Do it; raises nothing."""

    def drop(self) -> None:
        """It will not be run."""


class _Lane:
    """Threads, which are started when they are first needed, and what waits for them."""

    def __init__(
        self,
        threads: int,
        queue_size: int,
        name: str,
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        self.lock = threading.Lock()
        self.admission = Admission(threads, queue_size)
        self._threads = [
            threading.Thread(target=self._work, args=(begin,), name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._is_open = self._is_closed = False

    @property
    def pending(self) -> int:
        """The jobs that run or wait."""
        return self.admission.pending

    def submit(self, job: Callable[[], T], when_over: Callable[[], None]) -> asyncio.Future[T]:
        """See `Workers.run`."""
        with self.lock:
            is_admitted = self.admission.enter(time.monotonic())
        if not is_admitted:
            when_over()
            raise Overloaded(
                "More requests wait than are queued: send it again after Retry-After seconds."
            )
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        admitted = _Job(job, future, self, when_over)
        try:
            self.put(admitted)
        except RuntimeError:
            admitted.drop()
            raise
        return future

    def put(self, work: _Work) -> None:
        """Have a thread run it in its turn.

        Raises:
            RuntimeError: the lane is closed, or the system has no thread for it.

        """
        if not self._is_open:
            self._open()
        self._queue.put(work)

    def close(self, until: float) -> bool:
        """See `Workers.close`; `until` is of the monotonic clock."""
        with self.lock:
            self._is_open, self._is_closed = False, True
        with contextlib.suppress(Empty):
            while True:
                work = self._queue.get_nowait()
                if work is not None:
                    work.drop()
        for _ in self._threads:
            self._queue.put(None)
        started = [thread for thread in self._threads if thread.ident is not None]
        for thread in started:
            thread.join(0 if self.pending else max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in started)

    def _open(self) -> None:
        """Start the threads, or those that could not be started the last time."""
        with self.lock:
            if self._is_closed:
                raise RuntimeError("no thread takes jobs any more")
            for thread in self._threads:
                if thread.ident is None:
                    thread.start()
            self._is_open = True

    def _work(self, begin: Callable[[], object]) -> None:
        begin()
        while (work := self._queue.get()) is not None:
            work.run()
            del work  # else it would be held until the next comes


class _Share(Generic[T]):
    """One thread's share of what each is to do."""

    def __init__(self, job: Callable[[], T], together: threading.Barrier) -> None:
        self._job = job
        self._together = together
        self.result: Future[T] = Future()

    def run(self) -> None:
        """Do it once all are there: none then does two."""
        self._together.wait()
        try:
            self.result.set_result(self._job())
        except BaseException as error:  # noqa: BLE001 - is raised where it is waited for
            self.result.set_exception(error)

    def drop(self) -> None:
        """Leave it: the process ends, and who waits with it."""


class _Job(Generic[T]):
    """One of a lane's jobs that were let in.

    It stays in the queue until its turn, also where it has its outcome before: then it holds
    nothing of the request any more, be it by the outcome's traceback.
    """

    def __init__(
        self,
        job: Callable[[], T],
        future: asyncio.Future[T],
        lane: _Lane,
        when_over: Callable[[], None],
    ) -> None:
        self._job: Callable[[], T] | None = job
        self._future: asyncio.Future[T] | None = future
        self._lane = lane
        self._when_over = when_over
        self._loop = future.get_loop()
        future.add_done_callback(self._settled)

    def run(self) -> None:
        """Do it, in a thread, unless it was dropped."""
        job = self._take()
        if job is None:
            return
        try:
            result = job()
        except BaseException as error:  # noqa: BLE001 - is raised where it is waited for
            self._leave(answered=not isinstance(error, Overloaded))
            self._tell(self._fail, error)
            del self  # the error holds this frame, which would hold what will hold the error
        else:
            del job
            self._leave(answered=True)
            self._tell(self._succeed, result)

    def drop(self) -> None:
        """Let it go, if no thread has begun it."""
        if self._take() is not None:
            self._leave(answered=False)

    def _take(self) -> Callable[[], T] | None:
        with self._lane.lock:
            job, self._job = self._job, None
        return job

    def _leave(self, *, answered: bool) -> None:
        with self._lane.lock:
            self._lane.admission.leave(time.monotonic(), answered=answered)
        self._when_over()

    def _tell(self, settle: Callable[[V], None], outcome: V) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(settle, outcome)

    def _succeed(self, result: T) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_exception(_raisable(error))
        elif not isinstance(error, RequestError | Abandoned):
            log.error("a job failed that nobody waits for any more", exc_info=error)

    def _settled(self, future: asyncio.Future[T]) -> None:
        """It has its outcome, by the job or by whoever waited for it: it need not run any more."""
        self.drop()
        self._future = None
        if not future.cancelled():
            future.exception()  # else it would be logged where nobody waits any more


def _raisable(error: BaseException) -> BaseException:
    """The error as a future can have it: none takes the one that ends an iterator."""
    if not isinstance(error, StopIteration):
        return error
    raisable = RuntimeError("a job raised StopIteration")
    raisable.__cause__ = error
    return raisable
