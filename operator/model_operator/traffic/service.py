"""Traffic through one Service: its selector names the revision that has all requests.

Pure: weights to objects, objects to confirmed weights. One write of the selector moves every
new connection at once, and is the commit of a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import naming, resources
from model_operator.api import ServiceSettings
from model_operator.diagnosis import is_ready
from model_operator.observed import Observed, Resource

Body = dict[str, Any]

PORTS = ({"name": "http", "port": 80}, {"name": "http-8000", "port": 8000})


def service(resource: Resource, revision: str, settings: ServiceSettings | None = None) -> Body:
    """The endpoint, giving all requests to one revision; `settings` instead of the spec's."""
    if settings is None and resource.spec:
        settings = resource.spec.traffic.service
    labels = naming.identity_labels(resource.name)
    metadata = resources.metadata(resource, resource.name, labels)
    if settings and settings.annotations:
        metadata["annotations"] = dict(settings.annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            **({"type": settings.type} if settings else {}),
            "selector": naming.pod_selector(resource.name, revision),
            "ports": [{**port, "targetPort": "http", "protocol": "TCP"} for port in PORTS],
        },
    }


def settings_of(endpoint: Mapping[str, Any] | None) -> ServiceSettings | None:
    """The settings that a live endpoint has; None without one."""
    if endpoint is None:
        return None
    return ServiceSettings.model_construct(
        type=endpoint["spec"].get("type", "ClusterIP"),
        annotations=endpoint["metadata"].get("annotations"),
    )


def serving_revision(endpoint: Mapping[str, Any] | None) -> str | None:
    """The revision that the endpoint gives all requests to; None without an endpoint."""
    if endpoint is None:
        return None
    revision: str | None = endpoint["spec"].get("selector", {}).get(naming.REVISION_LABEL)
    return revision


def reachable_pods(observed: Observed, revision: str) -> int:
    """How many ready pods of the revision the data plane sends requests to."""
    ready = {pod["metadata"]["name"] for pod in observed.pods.get(revision, ()) if is_ready(pod)}
    return len(ready & (observed.endpoint_pods or frozenset()))


def is_confirmed(observed: Observed, revision: str) -> bool:
    """Whether the data plane lists exactly the revision's ready pods, and at least one."""
    ready = frozenset(
        pod["metadata"]["name"] for pod in observed.pods.get(revision, ()) if is_ready(pod)
    )
    return bool(ready) and observed.endpoint_pods == ready
