"""What a server costs: the CPU of its process and of all that it has started.

`server` reads it before and after each measurement. A process belongs to the tree when it descends
from the first one, or when it is in that one's session: a worker whose parent has ended is the
child of another then, but still in the session. Source: proc(5), "/proc/pid/stat".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process as the kernel counts it."""

    pid: int
    parent: int
    session: int
    ticks: int
    """Of its own threads, and of children that it has waited for."""
    started: int
    """In ticks since boot: tells it from an earlier process of the same id."""

    @property
    def key(self) -> tuple[int, int]:
        """What no other process has."""
        return (self.pid, self.started)


def parse(stat: str) -> Process:
    """One line of `/proc/PID/stat`.

    >>> parse("7 (a (b) c) S 1 7 5 0 -1 0 0 0 0 0 11 4 2 1 20 0 3 0 99 0").ticks
    18
    """
    head, _, tail = stat.rpartition(")")  # the name may hold anything, brackets included
    fields = tail.split()
    return Process(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=sum(int(field) for field in fields[11:15]),
        started=int(fields[19]),
    )


def tree(root: int, processes: Iterable[Process]) -> list[Process]:
    """Those that belong to the process `root`, itself first where it is there."""
    by_parent: dict[int, list[Process]] = {}
    found: dict[int, Process] = {}
    waiting: list[Process] = []
    for one in processes:
        by_parent.setdefault(one.parent, []).append(one)
        if root in (one.pid, one.session):
            waiting.append(one)
    while waiting:
        one = waiting.pop()
        if one.pid not in found:
            found[one.pid] = one
            waiting += by_parent.get(one.pid, [])
    return sorted(found.values(), key=lambda one: (one.pid != root, one.pid))


def cpu_seconds(processes: Iterable[Process]) -> float:
    """All that they have used until now."""
    return sum(one.ticks for one in processes) / CLOCK_TICKS


def read_all() -> Iterator[Process]:
    """Every process there is; one that ends meanwhile is left out."""
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                yield parse((folder / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue


def read(root: int) -> list[Process]:
    """The tree of the process `root`, as it is now."""
    return tree(root, read_all())
