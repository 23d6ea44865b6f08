"""The router as its image runs it: the agent in a process of its own, HAProxy as its child."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.router.backends import Backend

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20.0
"""The deadline of everything that is waited for."""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {SECONDS} s: {what}")
        await asyncio.sleep(0.02)


def document(
    backends: Mapping[str, Backend],
    stable: str,
    canary: str | None = None,
    weight: int = 0,
    **settings: Any,
) -> str:
    """A route document, as the operator writes it."""
    return json.dumps(
        {
            "stable": stable,
            "canary": canary,
            "weight": weight,
            "revisions": {name: {"address": backend.address} for name, backend in backends.items()},
            **settings,
        }
    )


class Router:
    """One router process, and what a kubelet, an operator and a client do to it."""

    def __init__(self, folder: Path, drain_seconds: int = 2) -> None:
        self.folder = folder
        self.port, self.agent_port = free_ports(2)
        self.route_file = folder / "route.json"
        self.log = folder / "log"
        self._drain_seconds = drain_seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.agent = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.agent_port}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """In a session of its own, so that an end takes HAProxy along, as in a container."""
        settings = {
            "ROUTE_FILE": self.route_file,
            "RUN_DIR": self.folder / "run",
            "ADDRESS": "127.0.0.1",
            "PORT": self.port,
            "AGENT_PORT": self.agent_port,
            "DRAIN_SECONDS": self._drain_seconds,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "model_router"],
                env=os.environ
                | {f"ROUTER_{key}": str(value) for key, value in settings.items()}
                | {"PYTHONPATH": str(ROOT / "router")},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def write(self, text: str) -> str:
        """What a kubelet does when the ConfigMap has changed; the hash to wait for."""
        new = self.route_file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.route_file)
        return hashlib.sha256(text.encode()).hexdigest()

    async def answer(self) -> dict[str, Any]:
        """GET /route; empty while nobody listens."""
        try:
            return dict((await self.agent.get("/route")).json())
        except httpx.TransportError:
            return {}

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """Waits until the agent's answer has these members."""
        deadline = time.monotonic() + SECONDS
        while True:
            answer = await self.answer()
            if wanted.items() <= answer.items():
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"{wanted} in {SECONDS} s, not {answer}: {self.words()}")
            await asyncio.sleep(0.02)

    async def give(self, text: str) -> dict[str, Any]:
        """Writes a route and waits until it is in force."""
        return await self.until(hash=self.write(text), error=None)

    def words(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    def terminate(self) -> None:
        """What the kubelet sends first."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit status."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, SECONDS)

    def kill(self) -> None:
        """The end of the container, HAProxy's too."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.asynccontextmanager
async def running(folder: Path, route: str, **settings: Any) -> AsyncIterator[Router]:
    """A router at this route."""
    router = Router(folder, **settings)
    hash_ = router.write(route)
    router.start()
    try:
        await router.until(hash=hash_)
        yield router
    finally:
        router.kill()
        await router.agent.aclose()
