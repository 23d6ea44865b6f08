"""A contender's process: started with an environment of its own, looked at from outside, ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.fault.operator_process import clean_environment, start_process

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process has used."""

    cpu_seconds: float
    resident_megabytes: float


class Contender:
    """Runs from `async with` on."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, *arguments]
        self._environment = clean_environment() | dict(environment)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await start_process(self._command, self._environment, self._log)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    @property
    def usage(self) -> Usage:
        """Of the process until now. Raises FileNotFoundError when it has ended."""
        assert self._process is not None
        folder = Path("/proc") / str(self._process.pid)
        # The command's name may hold anything, and ends with the last bracket.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text().splitlines()
        (resident,) = (line.split()[1] for line in status if line.startswith("VmRSS:"))
        return Usage((int(fields[11]) + int(fields[12])) / CLOCK_TICKS, int(resident) / 1024)
