"""The inference threads and the bounded queue in front of them.

The HTTP routes hand every decode and prediction to these, so that the event loop only moves bytes
and probes are answered at once however busy the threads are. Copies of another revision's requests
have a thread and a queue of their own: nobody waits for them, so they wait for everybody. It is
one thread, since any client can call its requests copies, and would double what a pod needs.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from model_server import scheduling
from model_server.admission import Admission
from model_server.cpu_limit import available_cpus
from model_server.errors import Overloaded

T = TypeVar("T")


class Workers:
    """A fixed number of threads, and at most `queue_size` jobs that wait for one.

    Fewer while more come than can be done, as `admission` says.
    """

    def __init__(self, *, queue_size: int, threads: int | None = None) -> None:
        self.threads = threads or max(1, math.floor(available_cpus()))
        self._clients = _Lane(self.threads, queue_size, "inference")
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

        Cancelling it takes the job out of the queue; one that runs, runs on. `when_over` is called,
        in any thread, once nothing here holds the job: it has run, was taken out, or was refused.
        A `copied` job runs where nothing else on the machine wants the processor.

        Raises:
            Overloaded: as many jobs wait as may.

        """
        lane = self._copies if copied else self._clients
        return asyncio.wrap_future(lane.submit(job, when_over))

    def run_in_each(self, job: Callable[[], T]) -> list[T]:
        """Run `job` once in every thread, so that what a thread makes at first use is made."""
        together = threading.Barrier(self.threads)

        def once() -> T:
            together.wait()
            return job()

        futures = [self._clients.executor.submit(once) for _ in range(self.threads)]
        return [future.result() for future in futures]

    def close(self) -> None:
        """Drop what waits; what runs is not waited for."""
        for lane in (self._clients, self._copies):
            lane.executor.shutdown(wait=False, cancel_futures=True)


class _Lane:
    """Threads, which are started when they are first needed, and who waits for them."""

    def __init__(
        self, threads: int, queue_size: int, name: str, begin: Callable[[], object] | None = None
    ) -> None:
        self.executor = ThreadPoolExecutor(threads, name, begin)
        self._admission = Admission(threads, queue_size)
        self._lock = threading.Lock()

    @property
    def pending(self) -> int:
        """The jobs that run or wait."""
        return self._admission.pending

    def submit(self, job: Callable[[], T], when_over: Callable[[], None]) -> Future[T]:
        """See `Workers.run`."""
        with self._lock:
            if not self._admission.enter(time.monotonic()):
                when_over()
                raise Overloaded(
                    "More requests wait than are queued: send it again after Retry-After seconds."
                )
        held = [job]  # the executor keeps what was cancelled until its turn comes

        def start() -> T:
            return held[0]()

        def over(ended: Future[T]) -> None:
            held.clear()
            is_late = ended.cancelled() or isinstance(ended.exception(), Overloaded)
            self._leave(answered=not is_late)
            when_over()

        try:
            future = self.executor.submit(start)
        except BaseException:
            self._leave(answered=False)
            when_over()
            raise
        future.add_done_callback(over)
        return future

    def _leave(self, *, answered: bool) -> None:
        with self._lock:
            self._admission.leave(time.monotonic(), answered=answered)
