"""What the container that fetches a model is given, and no other: where the source is, and whose
credentials open it. Pure builders; `resources` uses them.

`env` overrides `envFrom` in Kubernetes: what stands here no Secret can replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import api, sources
from model_operator.allowed import same_server
from model_operator.observed import Defaults

Body = dict[str, Any]

CLAIMS = "/mnt/pvc"
"""Where claims are mounted, each in a folder of its name."""


def environment(source: api.ModelSource, defaults: Defaults) -> list[Body]:
    """Where the source is, as far as its URI does not say it."""
    variables: Mapping[str, str] = {}
    if sources.is_in_mlflow(source.uri):
        variables = _of_registry(source, defaults)
    elif sources.is_web(source.uri):
        variables = {"FETCH_ALLOWED_HOSTS": ",".join(defaults.allowed_hosts)}
    elif sources.claim_of(source.uri):
        variables = {"PVC_ROOT": CLAIMS}
    return [{"name": name, "value": value} for name, value in variables.items()]


def credentials(source: api.ModelSource) -> list[Body] | None:
    """The Secret whose keys become variables."""
    secret = source.credentials_secret_ref
    return [{"secretRef": {"name": secret.name}}] if secret else None


def volumes(source: api.ModelSource) -> list[Body]:
    """What the pod has for this container alone."""
    claim = sources.claim_of(source.uri)
    if claim is None:
        return []
    mounted = {"claimName": claim, "readOnly": True}
    return [{"name": api.CLAIM_VOLUME, "persistentVolumeClaim": mounted}]


def mounts(source: api.ModelSource) -> list[Body]:
    """Where the container finds it."""
    claim = sources.claim_of(source.uri)
    if claim is None:
        return []
    return [{"name": api.CLAIM_VOLUME, "mountPath": f"{CLAIMS}/{claim}", "readOnly": True}]


def _of_registry(source: api.ModelSource, defaults: Defaults) -> Mapping[str, str]:
    """Which MLflow server is asked; one that is not the operator's own may lead nowhere else."""
    uri = source.registry or defaults.tracking_uri
    if not uri:
        return {}
    if same_server(uri, defaults.tracking_uri):
        return {"MLFLOW_TRACKING_URI": uri}
    return {"MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_HTTP_REDIRECTS": "false"}
