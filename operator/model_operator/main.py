"""The operator's process: settings, the composition root, the order of starting and ending.

Everything is wired in here. While the process leads, one group of tasks runs: workers, informers,
the sweep, kopf in its frame. None of them ends by itself; should one do so, the process ends with
status 1 and is started anew, rather than living on half dead. A process that does not lead has
none of them: only its part in the election, and its HTTP port.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import prometheus_client
import structlog

from model_operator import api, resolving, standing
from model_operator.clients import cluster as cluster_client
from model_operator.clients import leases, login, pods
from model_operator.clients.children import ChildReader
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import ClusterEvents
from model_operator.clients.fence import Fence
from model_operator.clients.following import Following
from model_operator.clients.informer import CHILD_KINDS, Informer
from model_operator.clients.leases import LeaseClient
from model_operator.clients.listing import read_bodies
from model_operator.clients.measuring import Measurer
from model_operator.clients.mlflow import MlflowClient, headers_of
from model_operator.clients.pods import PodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.questions import Questions
from model_operator.clients.registry import MlflowRegistry
from model_operator.clients.sweep import Sweep
from model_operator.clients.tracker import MlflowTracker
from model_operator.clients.view import Key, View
from model_operator.errors import ApiError, ApiUnreachable, OperatorError, SettingsError
from model_operator.leadership import Terms
from model_operator.metrics import Metrics
from model_operator.observe import Sources
from model_operator.observed import Defaults
from model_operator.reconcile import Reconciler
from model_operator.runtime import logs, web
from model_operator.runtime.backlog import Backlog
from model_operator.runtime.election import Election, new_identity
from model_operator.runtime.frame import Frame, kopf_run
from model_operator.runtime.health import Health
from model_operator.runtime.queue import WorkQueue
from model_operator.runtime.recording import Recording
from model_operator.runtime.turns import Turns
from model_operator.runtime.workers import work
from model_operator.settings import Settings

FIRST_LIST_PAUSE_SECONDS = 2.0
LEAST_SECONDS_EACH = 1.0
"""Between two looks at resources of which nothing was heard: more often, and an operator that has
nothing to do would be busy.
"""

log = structlog.get_logger(__name__)


class EndedByItself(OperatorError):
    """A task that should run until the process ends has ended before."""


@dataclass(frozen=True)
class Process:
    """What there is once, whether the process leads or not."""

    settings: Settings
    identity: str
    metrics: Metrics
    health: Health
    fence: Fence
    cluster: Cluster
    reader: PodReader
    prometheus: Prometheus
    lease: LeaseClient


@dataclass(frozen=True)
class Parts:
    """What the tasks share."""

    settings: Settings
    cluster: Cluster
    fence: Fence
    reader: PodReader
    prometheus: Prometheus
    queue: WorkQueue[Key]
    backlog: Backlog[Key]
    turns: Turns[Key]
    resources: list[View]
    """Of ModelDeployments: one for the cluster, or one per namespace."""
    children: list[View]
    metrics: Metrics

    def resync_seconds(self) -> float:
        """After how long a resource is looked at again, whatever was or was not heard of it."""
        known = sum(map(len, self.resources))
        return max(self.settings.resync_seconds, known * LEAST_SECONDS_EACH)


async def endless(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A task of the process. A group of tasks minds errors; this one minds every other end."""
    task = asyncio.current_task()
    try:
        await run()
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
    raise EndedByItself(f"{name} has ended by itself")


async def watch_resources(parts: Parts, frame: Frame) -> None:
    """Lists the ModelDeployments, then lets kopf watch them.

    kopf looks for the CRD once, and without it would watch nothing for ever; so the list comes
    first and is tried until it is answered. What is under way goes before what is settled.
    """
    unsettled: set[Key] = set()

    def look(key: Key, body: Mapping[str, Any]) -> None:
        if not standing.is_settled(body):
            unsettled.add(key)
        told = body.get("status") or {}
        if standing.is_under_way(told):
            parts.turns.know(key, rolling=standing.rolls_out(told))

    for view in parts.resources:
        while not view.listed:
            try:
                view.replace(await read_bodies(parts.cluster, view, look))
            except (ApiError, ApiUnreachable) as error:
                log.warning("waiting until ModelDeployments are served", error=str(error))
                await asyncio.sleep(FIRST_LIST_PAUSE_SECONDS)
    for key in unsettled:
        parts.backlog.discard(key)
        parts.queue.add(key)
    parts.turns.know_all()
    await frame.run()


def tasks_of(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """All tasks of the process by their names."""
    settings, cluster, metrics = parts.settings, parts.cluster, parts.metrics
    registry = MlflowRegistry(settings)
    # All who follow one alias must not stand before what is under way.
    moved: Backlog[Key] = Backlog(parts.queue.add, parts.queue.__len__)
    following = Following(registry, moved.add, settings.follow_seconds)
    questions: Questions[resolving.Found] = Questions(parts.queue.add)
    metrics.follow_aliases(following.__len__)
    recording = recording_of(parts)
    sources = Sources(
        cluster=cluster,
        children=ChildReader(cluster, parts.children),
        registry=registry,
        following=following,
        questions=questions,
        measurer=Measurer(parts.reader, parts.prometheus),
        pods=parts.reader,
        defaults=Defaults(
            server_image=settings.server_image,
            router_image=settings.router_image,
            tracking_uri=settings.tracking_uri,
            allowed_hosts=settings.allowed_hosts,
            cluster_domain=settings.cluster_domain,
            tracks_rollouts=settings.tracks_rollouts,
        ),
    )
    of_namespace = {view.namespace: view for view in parts.resources}

    def view_of(metadata: Mapping[str, Any]) -> View:
        return of_namespace[metadata["namespace"] if settings.namespaces else None]

    reconciler = Reconciler(
        sources=sources,
        emitter=ClusterEvents(cluster),
        turns=parts.turns,
        clock=lambda: datetime.now(UTC),
        recording=recording,
        writing=lambda metadata: view_of(metadata).writing(metadata),
    )
    metrics.follow_resources(reconciler.stalled.__len__, reconciler.unavailable.__len__)

    def tell(change: str | None, metadata: Mapping[str, Any]) -> None:
        view_of(metadata).tell(change, metadata)

    frame = Frame(kopf_run(tell, settings.namespaces), metrics.kopf_restarted)
    informers = {view: Informer(cluster, view) for view in parts.children}
    watches = dict.fromkeys(parts.resources, frame.distrust)
    watches |= {view: informer.distrust for view, informer in informers.items()}
    sweep = Sweep(cluster, watches, settings.sweep_seconds, metrics)
    return {
        "kopf": lambda: watch_resources(parts, frame),
        "sweep": sweep.run,
        "backlog": parts.backlog.run,
        "aliases": following.run,
        "moved aliases": moved.run,
        "questions": questions.run,
        **({"tracker": recording.run} if recording else {}),
        **{f"informer {number}": one.run for number, one in enumerate(informers.values())},
        **{
            f"worker {number}": lambda: work(parts.queue, reconciler, parts.resync_seconds, metrics)
            for number in range(settings.workers)
        },
    }


def recording_of(parts: Parts) -> Recording | None:
    """What records rollouts in MLflow; None where they are not tracked."""
    settings = parts.settings
    if not settings.tracks_rollouts or settings.tracking_uri is None:
        return None
    client = MlflowClient(settings.tracking_uri, headers_of(settings), parts.fence)
    tracker = MlflowTracker(client, settings.cluster_name, settings.rollouts_experiment)
    recording = Recording(tracker, parts.queue.add, parts.metrics)
    parts.metrics.follow_tracker(recording.waiting)
    return recording


@contextlib.asynccontextmanager
async def prepared(settings: Settings) -> AsyncIterator[Process]:
    """The composition root: the HTTP port, and the way to the cluster."""
    version = metadata.version("cv-factory")
    identity = new_identity(settings.pod_name)
    metrics, health, fence = Metrics(version), Health(), Fence()
    metrics.follow_lead(lambda: fence.seconds_left > 0)
    async with contextlib.AsyncExitStack() as stack:
        if settings.health_port:
            await stack.enter_async_context(
                web.serving(health, metrics.registry, settings.health_port)
            )
        agent = f"model-operator/{version} ({identity})"
        configuration = await login.log_in(user_agent=agent)
        cluster = health.cluster = cluster_client.logged_in(configuration, metrics.api_call, fence)
        stack.push_async_callback(cluster.close)
        reader = pods.reader(settings.pod_access, configuration, metrics.api_call)
        stack.push_async_callback(reader.close)
        prometheus = Prometheus(settings.prometheus_url)
        stack.push_async_callback(prometheus.close)
        lease = leases.connect(
            configuration, settings.lease_namespace, settings.lease_name, metrics.api_call
        )
        stack.push_async_callback(lease.close)
        yield Process(
            settings, identity, metrics, health, fence, cluster, reader, prometheus, lease
        )


@contextlib.asynccontextmanager
async def leading(process: Process) -> AsyncIterator[None]:
    """One term: views, informers, kopf, the sweep and workers, all new, until the context ends."""
    settings, metrics, health = process.settings, process.metrics, process.health
    queue: WorkQueue[Key] = WorkQueue()
    backlog = Backlog(queue.add, queue.__len__)
    turns = Turns(settings.max_rollouts, queue.add)
    namespaces = settings.namespaces or (None,)
    resources, children = (
        [View(kind, ns, queue.add, greet=backlog.add) for kind in kinds for ns in namespaces]
        for kinds in ((api.KIND,), CHILD_KINDS)
    )
    metrics.follow_queue(queue.__len__, queue.oldest_wait)
    metrics.follow_rollouts(turns.__len__, lambda: turns.waiting, turns.oldest)
    metrics.follow_views([*resources, *children])
    health.lead([*resources, *children])
    parts = Parts(
        settings=settings,
        cluster=process.cluster,
        fence=process.fence,
        reader=process.reader,
        prometheus=process.prometheus,
        queue=queue,
        backlog=backlog,
        turns=turns,
        resources=resources,
        children=children,
        metrics=metrics,
    )
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(endless(name, run), name=name)
                for name, run in tasks_of(parts).items()
            ]
            yield
            for task in tasks:
                task.cancel()
    finally:
        health.stand_by()
        metrics.forget_term()
        queue.close()


async def operate(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with prepared(settings) as process:
        log.info("started", version=metadata.version("cv-factory"), identity=process.identity)
        if settings.lease_seconds:
            election = Election(
                process.lease,
                Terms(settings.lease_seconds),
                process.fence,
                process.identity,
                pod=settings.pod_name,
                on_look=process.health.saw_lease,
            )
            await election.run(lambda: leading(process), told_to_end)
        else:
            process.fence.open_until(math.inf)
            async with leading(process):
                await told_to_end.wait()
    log.info("ended")


def main() -> int:
    """The console script `model-operator`."""
    parser = argparse.ArgumentParser(
        prog="model-operator",
        description="Reconciles ModelDeployment resources. Its settings are environment "
        "variables: CV_FACTORY_SERVER_IMAGE, MLFLOW_TRACKING_URI and those in docs/operator.md.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("cv-factory"))
    parser.parse_args()
    try:
        settings = Settings.from_environment(os.environ)
        logs.configure(settings.log_level)
        # Otherwise there is a series more for each, which nobody reads.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        asyncio.run(operate(settings))
    except SettingsError as error:
        sys.stderr.write(f"model-operator: {error}\n")
        return 2
    except BaseExceptionGroup:
        log.exception("crashed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
