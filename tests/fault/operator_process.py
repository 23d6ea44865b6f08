"""One process of the operator, as a user starts it: started, killed, started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.deadlines import within

ROOT = Path(__file__).resolve().parents[2]
ENDING_SECONDS = 20.0


def clean_environment() -> dict[str, str]:
    """This process's, with none of the operator's settings and no pod's service account."""
    names = ("CV_FACTORY_", "MLFLOW_", "KUBERNETES_", "KUBECONFIG")
    return {key: value for key, value in os.environ.items() if not key.startswith(names)}


async def start_process(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> asyncio.subprocess.Process:
    """A process in a session of its own; its log is appended to."""
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


class Process(Protocol):
    """As `asyncio.subprocess` gives one."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Raises ProcessLookupError when it is dead and known to be."""

    async def wait(self) -> int:
        """Returns its exit status when it is dead."""


Launch = Callable[[Mapping[str, str], Path], Awaitable[Process]]
"""Starts a process with this environment, in a session of its own; its log is appended to."""


def interpreter(module: str) -> Launch:
    """`python -m` of a module, as a user starts it."""

    async def launch(environment: Mapping[str, str], log: Path) -> Process:
        return await start_process([sys.executable, "-m", module], environment, log)

    return launch


class OperatorProcess:
    """The operator's process, in one life after the other.

    It is the only one, and has no Lease, unless `settings` (the environment) says otherwise.
    """

    def __init__(
        self,
        kubeconfig: Path,
        tracking_uri: str,
        log: Path,
        launch: Launch,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = clean_environment() | {
            "KUBECONFIG": str(kubeconfig),
            "CV_FACTORY_SERVER_IMAGE": "example/server:1",
            "CV_FACTORY_ROUTER_IMAGE": "example/router:1",
            "CV_FACTORY_POD_ACCESS": "proxy",
            "CV_FACTORY_HEALTH_PORT": "0",
            "CV_FACTORY_LEASE_SECONDS": "0",
            "MLFLOW_TRACKING_URI": tracking_uri,
            **(settings or {}),
        }
        self._launch = launch
        self._log = log
        self._process: Process | None = None
        self._ended_by_us = True

    @property
    def crashed(self) -> bool:
        """Whether the process ended by itself, which it never should."""
        return not self._ended_by_us and not self.running

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Starts a process; its log is appended to."""
        self._process = await self._launch(self._environment, self._log)
        self._ended_by_us = False

    def signal(self, number: signal.Signals) -> None:
        """A signal to the process, which runs."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        self._ended_by_us = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not heard."""
        if self._process is None:
            return
        self._ended_by_us = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await within(ENDING_SECONDS, self._process.wait())
        except TimeoutError:
            await self.kill()

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, warnings and worse first choice."""
        found = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        grave = [line for line in found if _is_grave(line)]
        return "\n".join((grave or found)[-lines:])


def _is_grave(line: str) -> bool:
    try:
        level = json.loads(line).get("level")
    except (ValueError, AttributeError):
        return True
    return level not in ("debug", "info")
