"""Real server processes for the tests of start and end."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

DEADLINE_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll until `condition` holds; fail by naming `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class ServerProcess:
    """One `python -m model_server.main`, its log and its termination message."""

    def __init__(self, artifact: Path, folder: Path, environment: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "log"
        self._termination = folder / "termination"
        settings = {name.upper(): str(value) for name, value in environment.items()}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "model_server.main", "--host", "127.0.0.1", "--port", "0"],
                stderr=log,
                env={
                    **os.environ,
                    "MODEL_PATH": str(artifact),
                    "ENGINE": "torch",  # the others take their time to be tried
                    "TERMINATION_MESSAGE_PATH": str(self._termination),
                    **settings,
                },
            )

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log so far, one object per line."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def event(self, name: str) -> dict[str, Any]:
        """The first log line of that name, waited for."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [event for event in self.events if event["event"] == name]
            return bool(found) or self.process.poll() is not None

        wait_until(there, f"the log line {name!r}")
        assert found, f"the process ended without logging {name!r}: {self._log.read_text()}"
        return found[0]

    @functools.cached_property
    def port(self) -> int:
        """The port it listens on, waited for."""
        return int(self.event("listening")["port"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_ready(self) -> ServerProcess:
        self.event("ready")
        assert httpx.get(f"{self.url}/ready").status_code == 200
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = DEADLINE_SECONDS) -> int:
        """The exit status, waited for."""
        return self.process.wait(seconds)

    @property
    def termination_message(self) -> str:
        return self._termination.read_text()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
