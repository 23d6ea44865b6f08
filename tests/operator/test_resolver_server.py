"""Resolver Jobs on a real API server with the real Job controller: made, read, and gone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from model_operator import reasons, resolver
from model_operator.clients.cluster import Cluster
from model_operator.reconcile import Reconciler
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import Part, PodPlayer
from tests.operator.reconciling import READY, eventually, manifest, reconcile_until

pytestmark = pytest.mark.api

URI = "s3://models/cats-dogs/3/"
DIGEST = hashlib.sha256(b"bytes").hexdigest()
RESOLVING = (reasons.MODEL_RESOLVED, "False", reasons.RESOLVING)
Body = dict[str, Any]


def of_jobs(code: int, words: str) -> Part:
    """Pods of Jobs end like this; all others become ready."""
    return Part(
        ended=lambda pod: (code, words) if "job-name" in pod["metadata"]["labels"] else None
    )


async def jobs(cluster: Cluster, namespace: str) -> list[Body]:
    found, _ = await cluster.list(resolver.KIND, namespace)
    return found


async def test_a_job_computes_the_digest_and_goes_once_it_is_frozen(
    reconciler: Reconciler, pod_player: PodPlayer, kubectl: Kubectl, namespace: str
):
    pod_player.part(namespace, of_jobs(0, json.dumps({"uri": URI, "sha256": DIGEST})))
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": URI}))
    resource = await reconcile_until(reconciler, namespace, READY)
    assert resource["status"]["model"]["sha256"] == DIGEST
    assert resource["status"]["stable"]["version"] == DIGEST[:12]
    assert "resolverJob" not in resource["status"]

    async def gone() -> bool:
        await reconciler.reconcile(namespace, "cats-dogs")
        return not await jobs(reconciler.sources.cluster, namespace)

    await eventually(gone, "the Job is gone")
    plan = await reconciler.reconcile(namespace, "cats-dogs")
    assert not plan.writes


async def test_a_job_that_fails_tells_its_words_and_is_removed_with_its_resource(
    reconciler: Reconciler, pod_player: PodPlayer, kubectl: Kubectl, namespace: str
):
    pod_player.part(namespace, of_jobs(4, "The bucket is empty: fill it."))
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": URI}))
    failed = (reasons.MODEL_RESOLVED, "False", reasons.MODEL_MISSING)
    resource = await reconcile_until(reconciler, namespace, failed)
    assert resource["status"]["message"] == "The bucket is empty: fill it."
    (made,) = await jobs(reconciler.sources.cluster, namespace)
    assert resource["status"]["resolverJob"] == made["metadata"]["name"]
    again = await reconciler.reconcile(namespace, "cats-dogs")
    assert not again.writes
    assert again.requeue_after is not None
    kubectl("delete", "md", "cats-dogs", "-n", namespace)

    async def gone() -> bool:
        return not await jobs(reconciler.sources.cluster, namespace)

    await eventually(gone, "the Job went with its resource")


async def test_a_source_that_changes_meanwhile_leaves_no_job_behind(
    reconciler: Reconciler, pod_player: PodPlayer, kubectl: Kubectl, namespace: str
):
    kubectl("apply", "-f", "-", stdin=manifest(namespace, model={"uri": URI}))
    await reconcile_until(reconciler, namespace, RESOLVING)
    kubectl("apply", "-f", "-", stdin=manifest(namespace))
    await reconcile_until(reconciler, namespace, READY)

    async def gone() -> bool:
        await reconciler.reconcile(namespace, "cats-dogs")
        return not await jobs(reconciler.sources.cluster, namespace)

    await eventually(gone, "the Job is gone")
