"""Names and labels of everything that the operator creates: deterministic, pure.

Used by `resources` and `traffic` to build children and by `observe` and the informer to find
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import api

MANAGER = "cv-factory"
"""Field manager of every server-side apply."""

SCALE_MANAGER = "cv-factory-scale"
"""Field manager of replica counts, which no apply carries."""

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
OWNER_LABEL = f"{api.GROUP}/model-deployment"
REVISION_LABEL = f"{api.GROUP}/revision"

MANAGED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGER}"


def mirror_config_map(name: str) -> str:
    """The name of the ConfigMap by which a resource's servers mirror requests.

    >>> mirror_config_map("cats-dogs")
    'cats-dogs-mirror'
    """
    return f"{name}-mirror"


def preview_service(name: str) -> str:
    """The name of the Service of a revision that waits to be promoted (strategy BlueGreen).

    >>> preview_service("cats-dogs")
    'cats-dogs-preview'
    """
    return f"{name}-preview"


def shadow_service(name: str) -> str:
    """The name of the Service that gets copies of requests (strategy Shadow).

    >>> shadow_service("cats-dogs")
    'cats-dogs-shadow'
    """
    return f"{name}-shadow"


def resolver_job(name: str, key: str) -> str:
    """The name of a Job that computes a digest; `key` is a hash of what it was made from.

    >>> resolver_job("cats-dogs", "0a1b2c3d4e5f")
    'cats-dogs-r-0a1b2c3d'
    """
    return f"{name}-r-{key[:8]}"


def resolver_labels(name: str) -> dict[str, str]:
    """What such Jobs and their pods carry: nothing that a Service selects."""
    return {**identity_labels(name), "app.kubernetes.io/name": "model-resolver"}


def revision_child(name: str, revision: str) -> str:
    """The name of a revision's Deployment and ControllerRevision.

    >>> revision_child("cats-dogs", "9c1b04aa57")
    'cats-dogs-9c1b04aa57'
    """
    return f"{name}-{revision}"


def revision_of(name: str, child: Mapping[str, Any]) -> str:
    """The revision that a child is of, by its name: labels can be changed by anybody."""
    child_name: str = child["metadata"]["name"]
    return child_name.removeprefix(f"{name}-")


def controller_uid(child: Mapping[str, Any]) -> str | None:
    """The uid of what controls an object; None when nothing does."""
    references = child["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in references if owner.get("controller")), None)


def identity_labels(name: str) -> dict[str, str]:
    """What every child carries so that it is found again."""
    return {
        "app.kubernetes.io/name": "model-server",
        "app.kubernetes.io/instance": name,
        MANAGED_BY_LABEL: MANAGER,
        OWNER_LABEL: name,
    }


def revision_labels(name: str, revision: str) -> dict[str, str]:
    """What a revision's children and pods carry."""
    return {**identity_labels(name), REVISION_LABEL: revision}


def pod_selector(name: str, revision: str) -> dict[str, str]:
    """The labels that select the pods of one revision, and no others."""
    return {OWNER_LABEL: name, REVISION_LABEL: revision}


def server_selector(name: str) -> dict[str, str]:
    """The labels that select the model servers of all revisions, and nothing else."""
    return {OWNER_LABEL: name, "app.kubernetes.io/name": "model-server"}


def owned_by_selector(name: str) -> str:
    """The label selector of all children of one resource."""
    return f"{MANAGED_SELECTOR},{OWNER_LABEL}={name}"


def as_selector(labels: dict[str, str]) -> str:
    """Labels in the selector syntax of the API.

    >>> as_selector({"b": "2", "a": "1"})
    'a=1,b=2'
    """
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
