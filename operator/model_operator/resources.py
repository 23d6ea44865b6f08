"""The Deployer: the objects that run a revision. Pure builders of bodies for server-side apply.

No body carries `spec.replicas`: counts are written through the scale subresource alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import api, canonical, fetching, naming, revisions
from model_operator.observed import Defaults, Resource
from model_operator.revisions import ResolvedModel, RevisionRecord

Body = dict[str, Any]

BUDGET_KIND = "PodDisruptionBudget"
SERVER_PORT = 8000
DRAIN_SECONDS = 15
REQUEST_TIMEOUT_SECONDS = 30
EXIT_MARGIN_SECONDS = 5
START_SECONDS = 900
"""After which the kubelet starts a container anew that has not become ready."""
USER_ID = 65532
LAST_WORDS = "FallbackToLogsOnError"
"""A container that dies without a termination message leaves the end of its log as one."""
_TEMPORARY = "tmp"
MODEL_VOLUME = "/models"
MODEL_PATH = f"{MODEL_VOLUME}/model"
MIRROR_VOLUME = "/mirror"
MIRROR_FILE = "mirror.json"
"""Key of the mirror's ConfigMap."""
MIRROR_CONFIG = f"{MIRROR_VOLUME}/{MIRROR_FILE}"


def owner_reference(resource: Resource) -> Body:
    """The reference by which the cluster deletes children with their resource."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(resource: Resource, name: str, labels: Mapping[str, str]) -> Body:
    """Name, labels and owner of a child; nothing is copied from the resource's own metadata."""
    return {
        "name": name,
        "namespace": resource.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner_reference(resource)],
    }


def pod_template(
    resource: Resource, spec: api.ModelDeploymentSpec, model: ResolvedModel, defaults: Defaults
) -> Body:
    """Renders a new revision's pods; from then on the record in its ControllerRevision counts."""
    server = spec.server
    revision = revisions.revision_id(model.sha256, resource.server)
    drain = DRAIN_SECONDS if server.drain_seconds is None else server.drain_seconds
    image = _image(server, defaults)
    arguments = ["--uri", model.uri, "--sha256", model.sha256, "--out", MODEL_PATH]
    mounts = [*_mounts(read_only=False), *fetching.mounts(spec.model)]
    template = {
        "metadata": {
            "labels": {
                **(server.pod_labels or {}),
                **naming.revision_labels(resource.name, revision),
            },
            "annotations": server.pod_annotations,
        },
        "spec": {
            "initContainers": [fetch_container(spec.model, server, arguments, mounts, defaults)],
            "containers": [_server_container(resource.name, revision, server, model, drain, image)],
            "volumes": [
                {"name": "models", "emptyDir": {}},
                {"name": _TEMPORARY, "emptyDir": {}},
                _mirror_volume(resource.name),
                *fetching.volumes(spec.model),
                *(server.volumes or ()),
            ],
            "topologySpreadConstraints": server.topology_spread_constraints,
            "terminationGracePeriodSeconds": drain + REQUEST_TIMEOUT_SECONDS + EXIT_MARGIN_SECONDS,
            **pod_settings(server),
        },
    }
    body: Body = canonical.without_nulls(template)
    return body


def pod_settings(server: api.ServerSpec) -> Body:
    """What every pod that runs the server's image has: whose it is, where it runs, what it may."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "serviceAccountName": server.service_account_name,
        "imagePullSecrets": [{"name": s.name} for s in server.image_pull_secrets or ()] or None,
        "nodeSelector": server.node_selector,
        "tolerations": server.tolerations,
        "affinity": server.affinity,
        "priorityClassName": server.priority_class_name,
        "runtimeClassName": server.runtime_class_name,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _image(server: api.ServerSpec, defaults: Defaults) -> Body:
    image = server.image or defaults.server_image
    return {"image": image, "imagePullPolicy": server.image_pull_policy}


def fetch_container(
    source: api.ModelSource,
    server: api.ServerSpec,
    arguments: list[str],
    mounts: list[Body],
    defaults: Defaults,
) -> Body:
    """The only container that sees credentials: it fetches, verifies or says a digest, and ends."""
    return {
        "name": "fetch",
        **_image(server, defaults),
        "command": ["python", "-m", "model_server.fetch", *arguments],
        "env": [
            *fetching.environment(source, defaults),
            {"name": "HOME", "value": "/tmp"},  # noqa: S108 - an emptyDir of the pod's own
        ],
        "envFrom": fetching.credentials(source),
        "volumeMounts": mounts,
        "terminationMessagePolicy": LAST_WORDS,
        "securityContext": _container_security(),
    }


def _server_container(
    name: str,
    revision: str,
    server: api.ServerSpec,
    model: ResolvedModel,
    drain: int,
    image: Body,
) -> Body:
    environment = {
        "MODEL_PATH": MODEL_PATH,
        "MODEL_SHA256": model.sha256,
        "MODEL_NAME": name,
        "MODEL_VERSION": model.version,
        "REVISION": revision,
        "PORT": str(SERVER_PORT),
        "DRAIN_SECONDS": str(drain),
        "REQUEST_TIMEOUT_SECONDS": str(REQUEST_TIMEOUT_SECONDS),
        "MIRROR_CONFIG": MIRROR_CONFIG,
    }
    return {
        "name": "server",
        **image,
        "env": [
            *({"name": key, "value": value} for key, value in environment.items()),
            *(server.env or ()),
        ],
        "envFrom": server.env_from,
        "ports": [{"name": "http", "containerPort": SERVER_PORT, "protocol": "TCP"}],
        "resources": server.resources,
        "volumeMounts": [
            *_mounts(read_only=True),
            {"name": "mirror", "mountPath": MIRROR_VOLUME, "readOnly": True},
            *(server.volume_mounts or ()),
        ],
        "terminationMessagePolicy": LAST_WORDS,
        # Every second until it is ready; then seldom enough not to disturb.
        "startupProbe": _probe("/ready", period=1, failures=START_SECONDS),
        "readinessProbe": _probe("/ready", period=2, failures=2),
        "livenessProbe": _probe("/health", period=10, failures=3),
        "securityContext": _container_security(),
    }


def _mounts(*, read_only: bool) -> list[Body]:
    return [
        {"name": "models", "mountPath": MODEL_VOLUME, "readOnly": read_only or None},
        temporary_mount(),
    ]


def temporary_mount() -> Body:
    """Where containers write what nobody keeps: their root file system is read-only."""
    return {"name": _TEMPORARY, "mountPath": "/tmp"}  # noqa: S108 - an emptyDir of the pod's own


def _mirror_volume(name: str) -> Body:
    """Any revision may have to mirror its requests to a later one, and its template is frozen: so
    each mounts the ConfigMap, which need not exist.
    """
    return {
        "name": "mirror",
        "configMap": {"name": naming.mirror_config_map(name), "optional": True},
    }


def _probe(path: str, *, period: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _container_security() -> Body:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def controller_revision(resource: Resource, record: RevisionRecord) -> Body:
    """The object that freezes what a revision was made of."""
    name = naming.revision_child(resource.name, record.revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(
            resource, name, naming.revision_labels(resource.name, record.revision)
        ),
        "revision": record.number,
        "data": revisions.to_data(record),
    }


def deployment(resource: Resource, record: RevisionRecord) -> Body:
    """A revision's Deployment, from its record. It never rolls by itself: its template is frozen.

    The operator keeps the rollout's deadline itself; Kubernetes' own must only be larger than
    minReadySeconds.
    """
    name = naming.revision_child(resource.name, record.revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(
            resource, name, naming.revision_labels(resource.name, record.revision)
        ),
        "spec": {
            "revisionHistoryLimit": 0,
            # Only a repair of its template rolls it; then no ready pod may be missed.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": naming.pod_selector(resource.name, record.revision)},
            "template": dict(record.pod_template),
            **(_timing(resource.spec) if resource.spec else {}),
        },
    }


def disruption_budget(metadata: Body, selector: Mapping[str, str], version: str) -> Body:
    """Lets a drain of nodes take one of the selected pods at a time. `version` is one of group
    policy: an empty selector, which they read differently, is not made here.
    """
    return {
        "apiVersion": f"policy/{version}",
        "kind": BUDGET_KIND,
        "metadata": metadata,
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector)}},
    }


def _timing(spec: api.ModelDeploymentSpec) -> Body:
    deadline = spec.min_ready_seconds + spec.progress_deadline_seconds
    timing = {"progressDeadlineSeconds": deadline}
    # The API server leaves a zero out, so it is not asked for either.
    return timing | ({"minReadySeconds": spec.min_ready_seconds} if spec.min_ready_seconds else {})
