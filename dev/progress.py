"""Says what a long command is doing, how long that should take and how long it took.

Called by the cluster, the image builder and the demo. On a terminal a running step rewrites its
line every second; elsewhere (a log) it adds a line every fifteen seconds, so nothing looks stuck.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

LOG_INTERVAL = 15.0  # seconds between the lines of a running step when not on a terminal
TERMINAL_INTERVAL = 1.0


def duration(seconds: float) -> str:
    """12.3 -> '12.3 s', 125 -> '2 min 05 s'."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints one line at once, also when the output is a pipe."""
    print(text, file=stream or sys.stdout, flush=True)


def running_line(title: str, elapsed: float, estimate: float | None) -> str:
    """The line of a step that has not ended: elapsed time against its estimate."""
    if estimate is None:
        return f"  ... {title}: {duration(elapsed)}"
    if elapsed > estimate:
        return f"  ... {title}: {duration(elapsed)}, longer than the usual {duration(estimate)}"
    return f"  ... {title}: {duration(elapsed)} of about {duration(estimate)}"


@contextmanager
def step(title: str, estimate: float | None = None, stream: TextIO | None = None) -> Iterator[None]:
    """Announces a step, shows that it runs, and prints its real time when it ends.

    `estimate` is in seconds; None for steps that are over at once. A step that raises is
    reported as failed and the exception goes on.
    """
    out = stream or sys.stdout
    terminal = out.isatty()
    about = f" (about {duration(estimate)})" if estimate is not None else ""
    say(f"- {title}{about}", out)
    started = time.monotonic()
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(TERMINAL_INTERVAL if terminal else LOG_INTERVAL):
            line = running_line(title, time.monotonic() - started, estimate)
            if terminal:
                out.write(f"\r\x1b[K{line}")
                out.flush()
            else:
                say(line, out)

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    word = "failed after"
    try:
        yield
        word = "done in"
    finally:
        ended.set()
        ticker.join()
        clear = "\r\x1b[K" if terminal else ""
        say(f"{clear}  {word} {duration(time.monotonic() - started)}", out)
