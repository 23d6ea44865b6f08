"""Log lines on their way to standard error: nobody who logs waits for whoever reads it.

`main` gives it to `logs` for as long as the server runs. Who reads a container's standard error may
stop, and a write to a full pipe lasts until it goes on. So a line is written at once only where
that takes no time; else it waits for a thread that may take its time, and what does not fit is
dropped and counted.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue

MAX_LINES = 10_000
"""Lines that may wait: some megabytes."""
_LAST_SECONDS = 2.0


class LogWriter:
    """What `logs` writes to; safe to call in any thread."""

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES) -> None:
        # Not a file object: its lock would be held by a write that never ends, also at the end.
        self._descriptor = descriptor
        self._max_lines = max_lines
        self._lock = threading.RLock()  # the collector may find something to log within it
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._waiting_lines = 0
        self.on_drop: Callable[[], None] = lambda: None
        """Called for each line that is dropped."""
        threading.Thread(target=self._write_on, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Write a line, or have it wait, or drop it where too many wait."""
        content = line.encode(errors="backslashreplace")
        with self._lock:
            if self._takes_no_time(content):
                self._write(content)
            elif self._waiting_lines < self._max_lines:
                self._waiting_lines += 1
                self._waiting.put(content)
            else:
                self.on_drop()

    def flush(self) -> None:
        """Do nothing: what waits is written as soon as it can be."""

    def drain(self, seconds: float = _LAST_SECONDS) -> None:
        """Wait until all that was taken in is written, but no longer than `seconds`."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait(seconds)

    def _takes_no_time(self, content: bytes) -> bool:
        """Whether nothing waits, and a pipe that has any room has room for this."""
        if self._waiting_lines or len(content) > select.PIPE_BUF:
            return False
        return bool(select.select((), (self._descriptor,), (), 0)[1])

    def _write_on(self) -> None:
        while True:
            content = self._waiting.get()
            if isinstance(content, threading.Event):
                content.set()
                continue
            self._write(content)
            with self._lock:
                self._waiting_lines -= 1

    def _write(self, content: bytes) -> None:
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError:  # nobody will read it
            self.on_drop()
