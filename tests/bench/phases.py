"""What is measured of each contender: a fresh control plane, the same estate, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from dev.cluster.controlplane import ControlPlane, free_ports
from tests.bench import counters, estate
from tests.bench.counters import Call, Counters
from tests.bench.estate import Estate, Key
from tests.bench.floor import Floor, Sample, take_sample
from tests.bench.process import Contender
from tests.bench.registry import registry
from tests.bench.workloads import Workloads
from tests.fault.admin import Admin
from tests.fault.house import install

WORKERS = 8
"""How many resources the operator works on at a time, and so how many requests the floor makes."""
LIMIT_SECONDS = 1800.0
QUIET_SECONDS = 2.0
"""Nothing waits and no pass was made for so long: it is settled."""
BETWEEN_EDITS_SECONDS = 0.5
"""An edit is measured, and not what is left to do of the one before."""
Tell = Callable[[str], None]
Follow = Callable[[Estate, Key, int], Awaitable[None]]


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    size: int
    edits: int
    idle_seconds: float
    folder: Path
    """For logs and kubeconfigs."""


@dataclass(frozen=True)
class Bare:
    """What a client found that only makes the requests."""

    seconds: float
    """For those of all resources."""
    edits: list[float]
    """Seconds from a change of a spec to that of its child, made as soon as the watch tells."""


@dataclass(frozen=True)
class Ours:
    """The operator."""

    seconds: float
    """From the first resource's creation until the last one is Ready."""
    counted: Counters
    """Until then."""
    idle_megabytes: float
    """Before there is any resource."""
    megabytes: float
    restart_seconds: float
    """From the process's start until everything was listed and nothing unsettled waited."""
    looked_at_seconds: float
    """Until each resource was looked at, at leisure where it says that it is settled."""
    restart: Counters
    edits: list[float]
    """Seconds from a change of a spec to its child's."""
    idle_cpu_percent: float
    """Of one core."""
    idle: Counters
    sample: Sample

    @property
    def calls(self) -> Mapping[Call, int]:
        """What it asked of the API server until all had converged."""
        return self.counted.calls


@contextlib.asynccontextmanager
async def stage(plan: Plan, converged: Callable[[Any], bool]) -> AsyncIterator[Stage]:
    """A fresh control plane with empty namespaces, and workloads that get ready."""
    with ControlPlane() as plane:
        await asyncio.to_thread(install, plane.kubeconfig)
        async with Admin(plane.kubeconfig) as admin:
            there = Estate(admin, plan.size, converged)
            await there.make_namespaces()
            async with there, Workloads(admin):
                yield Stage(admin, there, plane.kubeconfig)


@dataclass(frozen=True)
class Stage:
    """Where one contender is measured."""

    admin: Admin
    estate: Estate
    kubeconfig: Path


def operator(plan: Plan, here: Stage, port: int, tracking_uri: str) -> Contender:
    """The operator as it is delivered, alone: nobody else could take the lead."""
    environment = {
        "KUBECONFIG": str(here.kubeconfig),
        "CV_FACTORY_SERVER_IMAGE": "example/server:1",
        "CV_FACTORY_HEALTH_PORT": str(port),
        "CV_FACTORY_WORKERS": str(WORKERS),
        "CV_FACTORY_LEASE_SECONDS": "0",
        "MLFLOW_TRACKING_URI": tracking_uri,
    }
    return Contender(["-m", "model_operator.main"], environment, plan.folder / "operator.log")


async def measure_ours(plan: Plan, tell: Tell) -> Ours:
    """The operator: convergence, memory, restart, edits, idling."""
    async with registry() as tracking_uri, stage(plan, estate.is_ready) as here:
        (port,) = free_ports(1)
        async with operator(plan, here, port, tracking_uri) as process:
            await settled(port, 0)
            empty, before = process.usage, await counters.read(port)
            tell(f"{plan.size} resources are created; the operator runs")
            seconds = await converge(here.estate, tell)
            counted = (await counters.read(port)).since(before)
            await settled(port, 0)
            full = process.usage
        sample = await take_sample(here.admin, here.estate.keys[0])
        tell("the operator is started again")
        async with operator(plan, here, port, tracking_uri) as process:
            started = time.perf_counter()
            await counters.until_ready(port)
            restart_seconds = time.perf_counter() - started
            restart = await settled(port, plan.size)
            looked_at_seconds = time.perf_counter() - started - QUIET_SECONDS
            tell(f"{plan.edits} edits")
            edits = await edit_some(here.estate, plan.edits)
            mark = await settled(port, 0)
            tell(f"idle for {plan.idle_seconds:.0f} s")
            used = process.usage.cpu_seconds
            await asyncio.sleep(plan.idle_seconds)
            used = process.usage.cpu_seconds - used
            idle = (await counters.read(port)).since(mark)
    return Ours(
        seconds=seconds,
        counted=counted,
        idle_megabytes=empty.resident_megabytes,
        megabytes=full.resident_megabytes,
        restart_seconds=restart_seconds,
        looked_at_seconds=looked_at_seconds,
        restart=restart,
        edits=edits,
        idle_cpu_percent=100 * used / plan.idle_seconds,
        idle=idle,
        sample=sample,
    )


async def measure_unrelated(plan: Plan, count: int, tell: Tell) -> float:
    """Megabytes that so many Deployments and as many Secrets of others add, or as the operator
    starts beside them.
    """
    few = replace(plan, size=min(plan.size, 50))
    async with registry() as tracking_uri, stage(few, estate.is_ready) as here:
        (port,) = free_ports(1)
        async with operator(few, here, port, tracking_uri) as process:
            await converge(here.estate, tell)
            await settled(port, 0)
            without = process.usage.resident_megabytes
            tell(f"{count} Deployments and Secrets of others are created")
            await here.estate.make_unrelated(count)
            await settled(port, 0)
            beside = process.usage.resident_megabytes
        async with operator(few, here, port, tracking_uri) as process:
            await settled(port, few.size)
            return max(beside, process.usage.resident_megabytes) - without


async def measure_textbook(plan: Plan, tell: Tell) -> float:
    """Seconds until the textbook's operator has written every resource's children."""
    async with stage(plan, estate.is_written) as here:
        arguments = ["-m", "kopf", "run", "--standalone", "--all-namespaces", "-q"]
        arguments += ["-m", "tests.bench.textbook"]
        environment = {"KUBECONFIG": str(here.kubeconfig)}
        async with Contender(arguments, environment, plan.folder / "textbook.log"):
            tell(f"{plan.size} resources are created; a textbook's operator runs")
            return await converge(here.estate, tell)


async def measure_floor(plan: Plan, calls: Mapping[Call, int], sample: Sample, tell: Tell) -> Bare:
    """The operator's requests, made by a client that does nothing else."""
    async with stage(plan, estate.is_ready) as here:
        await here.estate.make()
        floor = Floor(here.admin, calls, plan.size, sample)
        tell("the operator's requests are made by a bare client")
        seconds = await floor.run(here.estate, WORKERS)
        tell(f"{plan.edits} edits")
        return Bare(seconds, await edit_some(here.estate, plan.edits, floor.follow))


async def converge(there: Estate, tell: Tell) -> float:
    """Creates all resources; returns the seconds until the last has converged."""
    started = time.perf_counter()
    await there.make()
    done = await there.until_converged(
        LIMIT_SECONDS, lambda count: tell(f"{count} of {there.size} have converged")
    )
    return done - started


async def settled(port: int, passes: int) -> Counters:
    """Waits until so many passes were made, and then none for a while; what was counted by then."""
    last, since = -1, time.perf_counter()
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                now = await counters.read(port)
                if now.passes != last or now.waiting or now.passes < passes:
                    last, since = now.passes, time.perf_counter()
                elif time.perf_counter() - since >= QUIET_SECONDS:
                    return now
            await asyncio.sleep(0.1)


async def edit_some(there: Estate, count: int, follow: Follow | None = None) -> list[float]:
    """One after the other, each of another resource; the seconds that each took. Each finds the
    operator, or whoever follows, at rest.
    """
    chosen = random.Random(0).sample(there.keys, min(count, there.size))
    seconds = []
    for key in chosen:
        following = asyncio.ensure_future(follow(there, key, 2)) if follow else None
        seconds.append(await there.edit(key, 2))
        if following:
            await following
        await asyncio.sleep(BETWEEN_EDITS_SECONDS)
    return seconds


def percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000
