"""The operator that a textbook would write: kopf's handlers, the kubernetes client, no more.

It makes the same children (a Deployment, its record, a Service). It verifies nothing, waits
for nothing and repairs nothing. `python -m tests.bench` runs it as a process of its own.
"""

from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config

from model_operator import api


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Logs in; Events off and as many threads as the contender has workers."""
    config.load_kube_config()
    settings.posting.enabled = False
    settings.execution.max_workers = 8


@kopf.on.create(api.GROUP, api.VERSION, api.PLURAL)
@kopf.on.update(api.GROUP, api.VERSION, api.PLURAL, field="spec")
def reconcile(spec: kopf.Spec, name: str, namespace: str, reason: str, **_: Any) -> None:
    """Writes the children."""
    labels = {"app": name}
    container = {
        "name": "server",
        "image": "example/server:1",
        "args": [spec["model"]["uri"]],
        "ports": [{"containerPort": 8000}],
    }
    deployment: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": spec.get("replicas", 1),
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "automountServiceAccountToken": False},
            },
        },
    }
    record: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "revision": 1,
        "data": {"model": dict(spec["model"])},
    }
    service: dict[str, Any] = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    for body in (deployment, record, service):
        kopf.adopt(body)
    apps, core = client.AppsV1Api(), client.CoreV1Api()
    if reason == "update":
        apps.patch_namespaced_deployment(name, namespace, {"spec": deployment["spec"]})
    else:
        apps.create_namespaced_controller_revision(namespace, record)
        apps.create_namespaced_deployment(namespace, deployment)
        core.create_namespaced_service(namespace, service)
