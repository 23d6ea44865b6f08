"""The operator's process: settings, the composition root, the order of starting and ending.

Everything is wired in here and runs as one group of tasks: workers, informers, the sweep, kopf in
its frame, the HTTP port. None of them ends by itself; should one do so, the process ends with
status 1 and is started anew, rather than living on half dead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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

from model_operator import api
from model_operator.clients import cluster as cluster_client
from model_operator.clients import pods
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import ClusterEvents
from model_operator.clients.informer import CHILD_KINDS, Informer
from model_operator.clients.listing import read
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import PodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.registry import MlflowRegistry
from model_operator.clients.sweep import Sweep
from model_operator.clients.view import Key, View
from model_operator.errors import ApiError, ApiUnreachable, OperatorError, SettingsError
from model_operator.metrics import Metrics
from model_operator.observed import Defaults
from model_operator.reconcile import Reconciler
from model_operator.runtime import logs, web
from model_operator.runtime.frame import Frame, kopf_run
from model_operator.runtime.health import Health
from model_operator.runtime.queue import WorkQueue
from model_operator.runtime.workers import work
from model_operator.settings import Settings

FIRST_LIST_PAUSE_SECONDS = 2.0

log = structlog.get_logger(__name__)


class EndedByItself(OperatorError):
    """A task that should run until the process ends has ended before."""


@dataclass(frozen=True)
class Parts:
    """What the tasks share."""

    settings: Settings
    cluster: Cluster
    reader: PodReader
    prometheus: Prometheus
    queue: WorkQueue[Key]
    resources: list[View]
    """Of ModelDeployments: one for the cluster, or one per namespace."""
    children: list[View]
    metrics: Metrics


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
    first and is tried until it is answered.
    """
    for view in parts.resources:
        while not view.listed:
            try:
                view.replace((await read(parts.cluster, view)).present)
            except (ApiError, ApiUnreachable) as error:
                log.warning("waiting until ModelDeployments are served", error=str(error))
                await asyncio.sleep(FIRST_LIST_PAUSE_SECONDS)
    await frame.run()


def tasks_of(parts: Parts) -> dict[str, Callable[[], Awaitable[None]]]:
    """All tasks of the process by their names."""
    settings, cluster, metrics = parts.settings, parts.cluster, parts.metrics
    reconciler = Reconciler(
        cluster=cluster,
        registry=MlflowRegistry(settings),
        measurer=Measurer(parts.reader, parts.prometheus),
        reader=parts.reader,
        emitter=ClusterEvents(cluster),
        defaults=Defaults(
            server_image=settings.server_image,
            router_image=settings.router_image,
            tracking_uri=settings.tracking_uri,
            cluster_domain=settings.cluster_domain,
        ),
        clock=lambda: datetime.now(UTC),
    )

    def tell(change: str | None, body: Mapping[str, Any]) -> None:
        of_namespace[body["namespace"] if settings.namespaces else None].tell(change, body)

    of_namespace = {view.namespace: view for view in parts.resources}
    frame = Frame(kopf_run(tell, settings.namespaces), metrics.kopf_restarted)
    informers = {view: Informer(cluster, view) for view in parts.children}
    watches = dict.fromkeys(parts.resources, frame.distrust)
    watches |= {view: informer.distrust for view, informer in informers.items()}
    sweep = Sweep(cluster, watches, settings.sweep_seconds, metrics)
    return {
        "kopf": lambda: watch_resources(parts, frame),
        "sweep": sweep.run,
        **{f"informer {number}": one.run for number, one in enumerate(informers.values())},
        **{
            f"worker {number}": lambda: work(
                parts.queue, reconciler, settings.resync_seconds, metrics
            )
            for number in range(settings.workers)
        },
    }


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    """The composition root: everything runs until the context ends."""
    queue: WorkQueue[Key] = WorkQueue()
    metrics = Metrics(metadata.version("cv-factory"))
    namespaces = settings.namespaces or (None,)
    resources = [View(api.KIND, namespace, queue.add) for namespace in namespaces]
    children = [View(kind, ns, queue.add) for kind in CHILD_KINDS for ns in namespaces]
    health = Health([*resources, *children])
    metrics.follow_queue(queue.__len__, queue.oldest_wait)
    metrics.follow_views([*resources, *children])
    async with contextlib.AsyncExitStack() as stack:
        if settings.health_port:
            await stack.enter_async_context(
                web.serving(health, metrics.registry, settings.health_port)
            )
        configuration = await cluster_client.log_in()
        cluster = health.cluster = cluster_client.logged_in(configuration, metrics.api_call)
        stack.push_async_callback(cluster.close)
        metrics.leads(True)
        reader = pods.reader(settings.pod_access, configuration, metrics.api_call)
        stack.push_async_callback(reader.close)
        prometheus = Prometheus(settings.prometheus_url)
        stack.push_async_callback(prometheus.close)
        parts = Parts(settings, cluster, reader, prometheus, queue, resources, children, metrics)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [
            group.create_task(endless(name, run), name=name)
            for name, run in tasks_of(parts).items()
        ]
        yield
        for task in tasks:
            task.cancel()


async def operate(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with running(settings):
        log.info("started", version=metadata.version("cv-factory"))
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
