"""Passes over a ModelDeployment on a real API server, for the tests of the api layer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from model_operator import api, reasons, sources
from model_operator.api import ModelSource
from model_operator.clients.children import ChildReader
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import ClusterEvents
from model_operator.clients.following import Following
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.questions import Questions
from model_operator.clients.registry import MlflowRegistry, unregistered
from model_operator.errors import Conflict, ResolutionRefused
from model_operator.observe import Sources
from model_operator.observed import Defaults
from model_operator.reconcile import Reconciler
from model_operator.revisions import ResolvedModel, Undigested
from model_operator.runtime.turns import Turns
from model_operator.settings import Settings
from tests.operator.builders import digest_of

DEADLINE_SECONDS = 60


class ShelfRegistry:
    """A registry that knows versions 1 to 8 of every model, and no other source's digest."""

    async def resolve(self, source: ModelSource) -> ResolvedModel | Undigested:
        if not sources.is_registered(source.uri):
            return unregistered(source)
        version = source.uri.rsplit("/", 1)[1]
        if int(version) > 8:
            raise ResolutionRefused(reasons.MODEL_NOT_FOUND, f"{source.uri} does not exist")
        return ResolvedModel(source.uri, version, source.sha256 or digest_of(version))


def follows_nothing() -> Following:
    """For resources that follow no alias: it would ask a registry that is not there."""
    registry = MlflowRegistry(Settings(server_image="example/server:1"))
    return Following(registry, lambda key: None, 30)


@contextlib.asynccontextmanager
async def reconciling(cluster: Cluster) -> AsyncIterator[Reconciler]:
    async with contextlib.aclosing(Closing()) as readers:
        yield Reconciler(
            sources=Sources(
                cluster=cluster,
                children=ChildReader(cluster),
                registry=ShelfRegistry(),
                following=follows_nothing(),
                questions=Questions(lambda key: None),
                measurer=Measurer(readers.pods, readers.prometheus),
                pods=readers.pods,
                defaults=Defaults(
                    server_image="example/server:1", tracking_uri="http://mlflow:5000"
                ),
            ),
            emitter=ClusterEvents(cluster),
            turns=Turns(0, lambda _: None),
            clock=lambda: datetime.now(UTC),
        )


class Closing:
    """What reads pods, to be closed together."""

    def __init__(self) -> None:
        self.pods, self.prometheus = DirectPodReader(), Prometheus(None)

    async def aclose(self) -> None:
        await self.pods.close()
        await self.prometheus.close()


def manifest(namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": "cats-dogs", "namespace": namespace},
        "spec": {"model": {"uri": "models:/cats-dogs/1"}, "replicas": 2, **spec},
    }


async def eventually(check: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await check():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        await asyncio.sleep(0.1)


async def reconcile_until(
    reconciler: Reconciler, namespace: str, condition: tuple[str, str, str]
) -> dict[str, Any]:
    """Passes until a condition has a status and a reason; returns the resource."""
    resource: dict[str, Any] = {}

    async def holds() -> bool:
        with contextlib.suppress(Conflict):  # then a worker makes the pass again, too
            await reconciler.reconcile(namespace, "cats-dogs")
        resource.update(
            await reconciler.sources.cluster.get(api.KIND, namespace, "cats-dogs") or {}
        )
        conditions = resource.get("status", {}).get("conditions", ())
        return condition in [(c["type"], c["status"], c["reason"]) for c in conditions]

    await eventually(holds, str(condition))
    return resource


READY = (reasons.READY, "True", reasons.COMPLETE)
