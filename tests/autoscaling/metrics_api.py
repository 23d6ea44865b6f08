"""metrics.k8s.io, served by a definition: what a metrics server would tell, a test writes.

Kubernetes' own autoscaler reads `pods.metrics.k8s.io` and cannot tell the difference: the API
server answers with the same objects, under the same names and labels.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.deadlines import within
from tests.fault.admin import Admin

Body = dict[str, Any]
GROUP = "metrics.k8s.io"
VERSION = "v1beta1"
NAME = f"pods.{GROUP}"
SERVED_SECONDS = 30.0
WINDOW = "1s"
"""Over which a usage was measured; a pod counts once it has been ready for as long."""


def definition() -> Body:
    """The CustomResourceDefinition. Groups of Kubernetes' own ask for the annotation."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": NAME,
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests alone"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": "PodMetrics", "listKind": "PodMetricsList", "plural": "pods"},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }


async def install(admin: Admin) -> None:
    """Makes the API server serve it."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await admin.call("POST", definitions, definition())

    async def is_served() -> None:
        target = f"/apis/{GROUP}/{VERSION}/namespaces/default/pods"
        # Until then the answer is plain text, and nothing tells of the change.
        while b"PodMetricsList" not in await admin.raw(target, ""):  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    await within(SERVED_SECONDS, is_served())


def path(namespace: str, pod: str) -> str:
    """Where one pod's metrics are."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/pods/{pod}"


def pod_metrics(pod: Body, millicores: int, timestamp: str) -> Body:
    """What the pod used until then."""
    metadata = pod["metadata"]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "PodMetrics",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata["labels"],
        },
        "timestamp": timestamp,
        "window": WINDOW,
        "containers": [{"name": "server", "usage": {"cpu": f"{millicores}m", "memory": "100Mi"}}],
    }
