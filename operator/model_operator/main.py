"""The operator's process: settings, the composition root, kopf's handlers, the workers.

kopf gives the process: start-up and shutdown, log-in, the watch of ModelDeployments, the
liveness probe. Its handlers only put keys into the queue; nothing of kopf's is written into a
resource (no annotations, no finalizers, no Events).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, cast

import kopf
import structlog

from model_operator import api, naming
from model_operator.clients import cluster as cluster_client
from model_operator.clients.events import ClusterEvents
from model_operator.clients.informer import CHILD_KINDS, Informer, Key
from model_operator.clients.registry import MlflowRegistry
from model_operator.errors import ApiError, ApiUnreachable, Conflict, SettingsError
from model_operator.observed import Defaults
from model_operator.plan import Plan
from model_operator.reconcile import Reconciler
from model_operator.runtime.queue import WorkQueue
from model_operator.settings import Settings

CRD_POLL_SECONDS = 2.0

log = structlog.get_logger(__name__)


async def work(queue: WorkQueue[Key], reconciler: Reconciler, resync_seconds: float) -> None:
    """Takes keys and makes passes, for ever. An error costs its key a pause, never the worker."""
    while True:
        key = await queue.get()
        try:
            plan = await reconciler.reconcile(*key)
        except Conflict:
            queue.add(key)
        except (ApiError, ApiUnreachable) as error:
            pause = queue.add_with_back_off(key, at_least=getattr(error, "retry_after", None))
            log.warning("pass failed", key=key, error=str(error), again_in=round(pause, 1))
        except Exception:
            pause = queue.add_with_back_off(key)
            log.exception("pass broke", key=key, again_in=round(pause, 1))
        else:
            if plan.back_off:
                queue.add_with_back_off(key)
            else:
                queue.forget(key)
                if plan.exists:
                    queue.add_after(key, next_look(plan, resync_seconds))
        finally:
            queue.done(key)


def next_look(plan: Plan, resync_seconds: float) -> float:
    """In how many seconds a resource is looked at again although nothing is heard of it."""
    asked = plan.requeue_after.total_seconds() if plan.requeue_after else resync_seconds
    return min(asked, resync_seconds)


async def until_served(cluster: cluster_client.Cluster) -> None:
    """Waits for the CRD: kopf looks for it once, and would watch nothing for ever."""
    while True:
        try:
            await cluster.list(api.KIND, None)
        except (ApiError, ApiUnreachable) as error:
            log.warning("waiting until ModelDeployments are served", error=str(error))
            await asyncio.sleep(CRD_POLL_SECONDS)
        else:
            return


@contextlib.asynccontextmanager
async def running(settings: Settings, queue: WorkQueue[Key]) -> AsyncIterator[None]:
    """The composition root: clients, informers and workers, until the context ends."""
    cluster = await cluster_client.connect()
    reconciler = Reconciler(
        cluster=cluster,
        registry=MlflowRegistry(settings),
        emitter=ClusterEvents(cluster),
        defaults=Defaults(
            server_image=settings.server_image,
            tracking_uri=settings.tracking_uri,
            cluster_domain=settings.cluster_domain,
        ),
        clock=lambda: datetime.now(UTC),
    )
    informers = [Informer(cluster, kind, queue.add) for kind in CHILD_KINDS]
    try:
        await until_served(cluster)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(informer.run()) for informer in informers]
            tasks += [
                group.create_task(work(queue, reconciler, settings.resync_seconds))
                for _ in range(settings.workers)
            ]
            yield
            for task in tasks:
                task.cancel()
    finally:
        await cluster.close()


def handlers(queue: WorkQueue[Key]) -> kopf.OperatorRegistry:
    """Kopf's registry: one raw event handler that enqueues, and the settings that silence kopf."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.queueing.worker_limit = 64
        settings.networking.request_timeout = 30

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        # As the client does it: by address, not by a name that DNS must resolve.
        configuration = await cluster_client.log_in()
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme="Bearer",
            token=await cluster_client.bearer_token(configuration),
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def enqueue(namespace: str | None, name: str | None, **_: Any) -> None:
        if namespace and name:
            queue.add((namespace, name))

    return registry


async def operate(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT."""
    queue: WorkQueue[Key] = WorkQueue()
    async with running(settings, queue):
        await kopf.operator(
            registry=handlers(queue),
            clusterwide=True,
            standalone=True,
            # Only peering would need one; to make one up, kopf asks for a user's name, and the
            # container's user has none.
            identity=cast("Any", naming.MANAGER),
            liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz"
            if settings.health_port
            else None,
        )


def configure_logs(level: str) -> None:
    """One JSON object per line on standard output, kopf's and the libraries' own lines too."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


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
    except SettingsError as error:
        sys.stderr.write(f"model-operator: {error}\n")
        return 2
    configure_logs(settings.log_level)
    asyncio.run(operate(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
