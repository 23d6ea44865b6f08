"""Operators whose interpreter has imported everything already: each is forked from one process.

A campaign starts some 1,500 of them, and the imports are nearly all that a start costs. What an
operator does from its first line on, and how it dies, is the same.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from kubernetes.aio.config import kube_config

from model_operator import main
from tests.fault import mutant


class Forked:
    """A process as `asyncio.subprocess` gives one, as far as OperatorProcess asks."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError when it is dead and known to be."""
        if self.returncode is not None or self._process.pid is None:
            raise ProcessLookupError
        os.kill(self._process.pid, number)

    async def wait(self) -> int:
        """Returns its exit status when it is dead."""
        loop = asyncio.get_running_loop()
        dead = asyncio.Event()
        loop.add_reader(self._process.sentinel, dead.set)
        try:
            await dead.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        return self._process.exitcode or 0


class ForkServer:
    """Launches operators (see `operator_process.Launch`), without the rule `mutation`, if any."""

    def __init__(self, mutation: str | None = None) -> None:
        self._mutation = mutation
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    async def __call__(self, environment: Mapping[str, str], log: Path) -> Forked:
        """A process in a session of its own; its log is appended to."""
        process = self._context.Process(
            target=_live, args=(dict(environment), log, self._mutation), daemon=True
        )
        await asyncio.to_thread(process.start)
        return Forked(process)


def _live(environment: dict[str, str], log: Path, mutation: str | None) -> None:
    os.setsid()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, sys.stdout.fileno())
    os.dup2(file, sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    # The client reads this variable when it is imported.
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment["KUBECONFIG"]
    sys.argv = ["model-operator"]
    if mutation:
        mutant.remove(mutation)
    sys.exit(main.main())
