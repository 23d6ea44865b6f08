"""A contender's server: started, ready when it answers rightly, measured from outside, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Sequence
from typing import Self

from tests.bench_server import process_tree
from tests.bench_server.client import Exchange
from tests.bench_server.contenders import PEERS, Contender, Start
from tests.bench_server.material import MAIN, Material
from tests.bench_server.protocols import PROTOCOLS
from tests.deadlines import within

READY_SECONDS = 180.0
ENDING_SECONDS = 20.0
POLL_SECONDS = 0.2


class NotServing(Exception):
    """A contender did not start, or never answered rightly; has the end of its log."""


class Server:
    """Runs from `async with` on, until its block ends."""

    def __init__(self, contender: Contender, start: Start) -> None:
        self._contender = contender
        self._start = start
        self._log = start.scratch / "log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._start.port

    @property
    def cpu_seconds(self) -> float:
        """Of the whole tree of processes until now."""
        return process_tree.cpu_seconds(process_tree.read(self._pid))

    @property
    def _pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        try:
            if self._contender.prepare is not None:
                await self._run(self._contender.prepare(self._start))
                await within(READY_SECONDS, self._ended())
            await self._run(self._contender.command(self._start))
            await self._answers(self._start.material)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _run(self, command: Sequence[object]) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(word) for word in command),
                env=self._contender.variables(self._start),
                cwd=PEERS,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _ended(self) -> None:
        assert self._process is not None
        if await self._process.wait():
            raise NotServing(f"preparing it ended with {self._process.returncode}: {self._words()}")

    async def _answers(self, material: Material) -> None:
        """Wait for the right answer to a picture."""
        protocol = PROTOCOLS[self._contender.protocol]
        picture, expected = material.pictures(MAIN)[0], material.expected(MAIN)[0]
        trouble = "it never listened"
        try:
            async with asyncio.timeout(READY_SECONDS):
                while True:
                    assert self._process is not None
                    if self._process.returncode is not None:
                        raise NotServing(f"ended with {self._process.returncode}: {self._words()}")
                    with contextlib.suppress(OSError):
                        status, body = await self._ask(protocol.request(self.port, picture))
                        trouble = protocol.fault(body, expected) or f"status {status}"
                        if status == 200 and not protocol.fault(body, expected):
                            return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise NotServing(f"{trouble}; its log ends with: {self._words()}") from error

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(Exchange, "127.0.0.1", self.port)
        try:
            return await exchange.ask(request)
        finally:
            exchange.close()

    def _words(self) -> str:
        return " ".join(self._log.read_text(errors="replace").split()[-80:])

    async def _end(self) -> None:
        """SIGTERM to the first process; SIGKILL to what is left of its tree."""
        if self._process is None:
            return
        family = {one.key for one in process_tree.read(self._pid)}
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await within(ENDING_SECONDS, self._process.wait())
        for one in process_tree.read_all():
            if one.key in family or one.session == self._pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        await self._process.wait()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
