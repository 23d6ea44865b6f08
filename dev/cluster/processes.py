"""Starts processes that outlive us, remembers which they are, and ends exactly those.

Called by the local cluster and by the control plane for tests. A process is known by its pid
together with its start time and the boot it belongs to, so a pid that another program got later
is never taken for ours.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Record:
    """One process that was started: enough to find it again, and nothing else in its place."""

    name: str
    pid: int
    start_time: int  # clock ticks since boot, /proc/<pid>/stat field 22
    boot: str

    def is_alive(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        return self.boot == boot_id() and start_time(self.pid) == self.start_time


def boot_id() -> str:
    """Names the time since the machine was started; another one after a reboot."""
    return BOOT_ID.read_text().strip()


def parse_stat(stat: str) -> tuple[str, int]:
    """/proc/<pid>/stat -> (state, start time). The name in it may hold blanks and brackets."""
    fields = stat.rsplit(")", 1)[1].split()
    return fields[0], int(fields[19])


def start_time(pid: int) -> int | None:
    """The start time of a running process; None when there is none or it is a zombie."""
    try:
        state, started = parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else started


def record_of(name: str, pid: int) -> Record | None:
    """The record of a running process; None when it has ended already."""
    started = start_time(pid)
    return None if started is None else Record(name, pid, started, boot_id())


class Records:
    """The records of one cluster, a file each, in the order in which they were started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, record: Record) -> None:
        """Keeps a record; an older one of the same name is replaced."""
        self.directory.mkdir(parents=True, exist_ok=True)
        draft = self.directory / f".{record.name}"
        draft.write_text(json.dumps(asdict(record)))
        draft.rename(self.directory / f"{record.name}.json")

    def all(self) -> dict[str, Record]:
        """Name -> record, whether the process is still alive or not."""
        records = [Record(**json.loads(p.read_text())) for p in self.directory.glob("*.json")]
        return {record.name: record for record in sorted(records, key=lambda r: r.start_time)}


def start(
    argv: Sequence[str], log: Path, environ: Mapping[str, str], pass_fds: Sequence[int] = ()
) -> int:
    """Starts a process that outlives us, in a session of its own; returns its pid.

    Its output is appended to `log`. `argv[0]` is looked up on our PATH.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    for descriptor in pass_fds:
        os.set_inheritable(descriptor, True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawnp(
        argv[0],
        list(argv),
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def end(records: Iterable[Record], grace: float) -> None:
    """SIGTERM to those that are alive, SIGKILL after `grace` seconds; returns when all are gone."""
    handles: dict[int, Record] = {}
    for record in records:
        try:
            handle = os.pidfd_open(record.pid)
        except ProcessLookupError:
            continue
        if record.is_alive():  # checked after the handle is held: the pid cannot change hands now
            handles[handle] = record
        else:
            os.close(handle)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        for handle in handles:
            _signal(handle, number)
        _wait(handles, patience)
    for handle in handles:
        os.close(handle)


def _signal(handle: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return


def _wait(handles: Mapping[int, Record], patience: float) -> None:
    """Waits until the processes behind all handles have ended, at most `patience` seconds."""
    deadline = time.monotonic() + patience
    left = set(handles)
    poller = select.poll()
    for handle in left:
        poller.register(handle, select.POLLIN)
    while left and (rest := deadline - time.monotonic()) > 0:
        for handle, _ in poller.poll(rest * 1000):
            poller.unregister(handle)
            left.discard(handle)
