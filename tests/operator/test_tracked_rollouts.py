"""Rollouts on a real API server, recorded in a real MLflow server, or in one that is not well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from model_operator import api
from model_operator.clients.mlflow import MlflowClient
from model_operator.clients.tracker import MlflowTracker
from model_operator.metrics import Metrics
from model_operator.reconcile import Reconciler
from model_operator.runtime.recording import Recording
from tests.operator.conftest import Kubectl
from tests.operator.loopback import serving
from tests.operator.pod_player import PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until
from tests.operator.test_tracker import Mlflow, listed

pytestmark = pytest.mark.api


@contextlib.asynccontextmanager
async def tracking(
    reconciler: Reconciler, url: str, experiment: str
) -> AsyncIterator[tuple[Reconciler, Recording]]:
    """A life of an operator that tracks; passes are made by hand."""
    tracker = MlflowTracker(MlflowClient(url), "test", experiment)
    recording = Recording(tracker, lambda key: None, Metrics("1"), jitter=lambda: 0.1)
    defaults = replace(reconciler.sources.defaults, tracks_rollouts=True)
    sources = replace(reconciler.sources, defaults=defaults)
    task = asyncio.create_task(recording.run())
    try:
        yield replace(reconciler, sources=sources, recording=recording), recording
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def rollouts(reconciler: Reconciler, namespace: str) -> list[dict[str, Any]]:
    found = await reconciler.sources.cluster.get(api.KIND, namespace, "cats-dogs") or {}
    told: list[dict[str, Any]] = found["status"]["rollouts"]
    return told


async def pass_until_recorded(reconciler: Reconciler, namespace: str) -> None:
    async def recorded() -> bool:
        await reconciler.reconcile(namespace, "cats-dogs")
        told = await rollouts(reconciler, namespace)
        return [r.get("record") for r in told] == ["Written"]

    await eventually(recorded, "the rollout is recorded")


@pytest.fixture
def mlflow(mlflow_server: str) -> Iterator[Mlflow]:
    server = Mlflow(mlflow_server)
    with contextlib.closing(server.client):
        yield server


async def test_a_rollout_goes_on_while_mlflow_hangs_and_is_recorded_when_it_is_back(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, mlflow: Mlflow
):
    async def hang(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(hang) as url, tracking(reconciler, url, "any") as (operator, recording):
        for version in (1, 2):
            model = {"uri": f"models:/{mlflow.model}/{version}"}
            short = {"type": "Standard", "scaleDownDelaySeconds": 20}
            body = manifest(namespace, model=model, strategy=short)
            kubectl("apply", "-f", "-", stdin=body)
            resource = await reconcile_until(operator, namespace, READY)
            assert resource["status"]["stable"]["version"] == str(version)
        told = await rollouts(operator, namespace)
        assert [(r["version"], r["record"]) for r in told] == [("2", "Waiting"), ("1", "Waiting")]
        assert recording.waiting() == 2
    async with tracking(reconciler, mlflow.url, mlflow.experiment) as (operator, _):
        await pass_until_recorded(operator, namespace)
        plan = await operator.reconcile(namespace, "cats-dogs")
        assert not plan.writes
    versions = {listed(run, "params")["to.version"] for run in mlflow.runs()}
    assert versions == {"1", "2"}
    assert f"cvfactory.live.test.{namespace}.cats-dogs" in mlflow.tags(2)


async def test_a_death_between_the_record_and_the_status_leaves_one_run(
    reconciler: Reconciler, kubectl: Kubectl, namespace: str, pod_player: PodPlayer, mlflow: Mlflow
):
    model = {"uri": f"models:/{mlflow.model}/1"}
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model=model))
    async with tracking(reconciler, mlflow.url, mlflow.experiment) as (operator, recording):
        await reconcile_until(operator, namespace, READY)

        async def written() -> bool:
            return bool(recording.results((namespace, "cats-dogs")))

        await eventually(written, "MLflow has the record")
    (told,) = await rollouts(reconciler, namespace)
    assert told["record"] == "Waiting", "the process died before it could say so"
    async with tracking(reconciler, mlflow.url, mlflow.experiment) as (operator, _):
        await pass_until_recorded(operator, namespace)
    (run,) = mlflow.runs()
    assert run["info"]["status"] == "FINISHED"
