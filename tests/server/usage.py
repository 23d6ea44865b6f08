"""What a process uses, as the kernel counts it."""

from __future__ import annotations

import os
import re
from pathlib import Path


class Usage:
    """Of the process with this id."""

    def __init__(self, pid: int) -> None:
        self._process = Path("/proc", str(pid))

    def forget_peak(self) -> float:
        """Start to look for a new peak, and return the megabytes held now."""
        (self._process / "clear_refs").write_text("5")
        return self.megabytes

    @property
    def megabytes(self) -> float:
        """Held in memory now."""
        return self._status("VmRSS")

    @property
    def peak_megabytes(self) -> float:
        """The most that was held since the last peak was forgotten."""
        return self._status("VmHWM")

    @property
    def cpu_seconds(self) -> float:
        """Used since its start, in the kernel too."""
        fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._process / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024
