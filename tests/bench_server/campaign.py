"""Plays the rounds: in each, every contender is started, asked over every cell, and ended.

A round goes once through all of them and the next begins with another, so that what the machine
does meanwhile falls on all alike. Only one server runs at a time: an idle one would be in the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench_server.client import Order
from tests.bench_server.contenders import (
    BFLOAT16,
    OUR_ENVIRONMENT,
    Contender,
    Start,
    engine_setting,
)
from tests.bench_server.environments import ROOT
from tests.bench_server.figures import CONNECTIONS, FLOOR, Key, Measurement, percentile
from tests.bench_server.material import MAIN, Material, PictureSet
from tests.bench_server.server import NotServing, Server, free_port
from tests.deadlines import within

Tell = Callable[[str], None]
CLIENT_SECONDS = 300.0
"""One order, its warm-up and its verdict included."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    contenders: Sequence[Contender]
    sets: Sequence[PictureSet]
    rounds: int
    seconds: float
    """Of one load over the main set; the others take half of it."""

    def seconds_of(self, name: str) -> float:
        """How long one load takes."""
        return self.seconds if name == MAIN else self.seconds / 2


@dataclass
class Record:
    """What was measured."""

    measured: dict[Key, list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    engine: str = ""
    """What this server has chosen to compute with, in its own words."""
    requests: int = 0
    wrong: int = 0
    failed: int = 0
    troubles: list[str] = field(default_factory=list)
    """Who answered wrongly or not at all, or was not measured, and why."""

    @property
    def engine_setting(self) -> str:
        """The setting that names that engine: once chosen, it is the same for all rounds."""
        return engine_setting(self.engine) if self.engine else "auto"

    @property
    def is_whole(self) -> bool:
        """Whether this server was measured, and what it is held to most of all."""
        return {"ours", FLOOR} <= {key.contender for key, rounds in self.measured.items() if rounds}

    @property
    def in_bfloat16(self) -> bool:
        """Whether that engine computes in bfloat16."""
        return self.engine_setting.endswith(BFLOAT16)


async def play(plan: Plan, material: Material, tell: Tell) -> Record:
    """All rounds."""
    record = Record()
    absent: set[str] = set()
    for number in range(plan.rounds):
        tell(f"round {number + 1} of {plan.rounds}")
        turn = number % len(plan.contenders)
        await _floor(plan, material, record, tell)
        for contender in [*plan.contenders[turn:], *plan.contenders[:turn]]:
            if contender.name in absent or (contender.in_float32 and not record.in_bfloat16):
                continue
            try:
                await _contender(contender, plan, material, record, tell)
            except NotServing as error:
                absent.add(contender.name)
                record.troubles.append(f"{contender.name} is not measured: {error}")
                tell(f"  {record.troubles[-1]}")
    return record


async def _contender(
    contender: Contender, plan: Plan, material: Material, record: Record, tell: Tell
) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        start = Start(
            contender.environment.python,
            free_port(),
            material,
            Path(scratch),
            record.engine_setting,
        )
        async with Server(contender, start) as server, _client(material) as ask:
            for one in plan.sets:
                for connections in CONNECTIONS:
                    order = Order(
                        server.port,
                        contender.protocol,
                        one.name,
                        connections,
                        warm_up=_warm_up(one, connections),
                        seconds=plan.seconds_of(one.name),
                    )
                    key = Key(contender.name, one.name, connections)
                    measurement = await _measure(server, ask, order, key, record)
                    tell(_line(key, measurement))


def _warm_up(pictures: PictureSet, connections: int) -> int:
    """So many requests that every worker has had some."""
    each = 2 if pictures.width * pictures.height > 10**6 else 8
    return each * max(4, connections)


async def _measure(
    server: Server, ask: asyncio.subprocess.Process, order: Order, key: Key, record: Record
) -> Measurement:
    """One load; the server's CPU is read before its first request and after its last answer."""
    async with asyncio.timeout(CLIENT_SECONDS):
        await _write(ask, json.dumps(asdict(order)))
        await _read(ask, "begin")
        before = server.cpu_seconds
        await _write(ask, "")
        await _read(ask, "answered")
        used = server.cpu_seconds - before
        outcome = await _read(ask, "end")
    record.requests += outcome["succeeded"] + outcome["wrong"] + outcome["failed"]
    record.wrong += outcome["wrong"]
    record.failed += outcome["failed"]
    if outcome["wrong"] or outcome["failed"]:
        where = f"{key.contender}, {key.pictures}, {key.connections} connections"
        counts = f"{outcome['wrong']} wrong and {outcome['failed']} failed"
        record.troubles.append(f"{where}: {counts}; first: {outcome['first_trouble'][:300]}")
    measurement = Measurement(
        outcome["succeeded"],
        outcome["seconds"],
        used,
        percentile(outcome["milliseconds"], 50),
        percentile(outcome["milliseconds"], 99),
    )
    record.measured[key].append(measurement)
    return measurement


@asynccontextmanager
async def _client(material: Material) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench_server.client", str(material.folder)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _write(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    await process.stdin.drain()


async def _read(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """Its next line, which has to be of this event."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    found: dict[str, Any] = json.loads(line)
    assert found["event"] == event, found
    return found


async def _floor(plan: Plan, material: Material, record: Record, tell: Tell) -> None:
    """Decoding and inference alone, in this server's own environment."""
    names = [one.name for one in plan.sets]
    script = ROOT / "tests" / "bench_server" / "floor.py"
    process = await asyncio.create_subprocess_exec(
        *(str(OUR_ENVIRONMENT.python), str(script), str(material.folder)),
        *(str(plan.seconds / 2), *names),
        cwd=ROOT,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
            "ENGINE": record.engine_setting,
        },
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await within(CLIENT_SECONDS, process.communicate())
    if process.returncode:
        raise NotServing(f"the floor ended with {process.returncode}")
    answer = json.loads(out)
    record.engine = answer["engine"]
    for name, by_threads in answer["sets"].items():
        for threads, one in by_threads.items():
            took = one["milliseconds"]
            key = Key(FLOOR, name, int(threads))
            measurement = Measurement(
                len(took),
                one["seconds"],
                one["cpu_seconds"],
                percentile(took, 50),
                percentile(took, 99),
            )
            record.measured[key].append(measurement)
            tell(_line(key, measurement))


def _line(key: Key, one: Measurement) -> str:
    where = f"{key.contender}, {key.pictures}, {key.connections} at once"
    return (
        f"  {where}: {one.cpu_milliseconds:.2f} CPU-ms, {one.per_second:.0f}/s,"
        f" p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms"
    )
