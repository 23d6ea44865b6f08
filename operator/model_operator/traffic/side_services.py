"""What stands beside the endpoint while a revision is introduced: the preview of strategy
BlueGreen, the shadow's Service, and the mirror's settings of strategy Shadow. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from model_operator import api, naming, resources
from model_operator.observed import Observed, Resource
from model_operator.rollout.view import Step
from model_operator.traffic import service

Body = dict[str, Any]

MIRROR_ANNOTATION = f"{api.GROUP}/mirror"
"""Of a pod that mirrors: the hash of its settings. That a pod changes makes its kubelet refresh
the mounted ConfigMap at once; otherwise it takes up to a minute.
"""


def wanted(observed: Observed, step: Step, serving: str | None) -> list[Body]:
    """What shall stand beside the endpoint now."""
    resource, spec = observed.resource, observed.resource.spec
    if spec is None:
        return []
    introduced = step.shows or serving
    if spec.strategy.type == "BlueGreen" and introduced:
        return [preview(resource, introduced)]
    if step.shadow and serving:
        settings = mirror(observed, serving)
        return [shadow(resource, step.shadow), *([settings] if settings else [])]
    return []


def present(observed: Observed) -> list[tuple[str, str]]:
    """Kind and name of what stands beside the endpoint."""
    every = [key for kind in _SIDES for key in names(observed.resource.name, kind)]
    return [key for key in every if key in observed.others]


def names(name: str, strategy: str) -> list[tuple[str, str]]:
    """Kind and name of all that a strategy may have beside the endpoint."""
    return [(kind, named(name)) for kind, named in _SIDES.get(strategy, ())]


_SIDES: Mapping[str, tuple[tuple[str, Callable[[str], str]], ...]] = {
    "BlueGreen": (("Service", naming.preview_service),),
    "Shadow": (("ConfigMap", naming.mirror_config_map), ("Service", naming.shadow_service)),
}


def preview(resource: Resource, revision: str) -> Body:
    """Service NAME-preview: where a revision can be tried before it serves."""
    labels = naming.identity_labels(resource.name)
    return service.of_one_revision(
        resource, naming.preview_service(resource.name), labels, revision
    )


def shadow(resource: Resource, revision: str) -> Body:
    """Service NAME-shadow: where copies of requests go."""
    labels = naming.identity_labels(resource.name)
    return service.of_one_revision(resource, naming.shadow_service(resource.name), labels, revision)


def mirror(observed: Observed, source: str) -> Body | None:
    """ConfigMap NAME-mirror, by which the pods of `source` send copies; None until the shadow's
    Service has an address.
    """
    resource = observed.resource
    live = observed.others.get(("Service", naming.shadow_service(resource.name)))
    address = live["spec"].get("clusterIP") if live else None
    if not address or resource.spec is None:
        return None
    settings = resource.spec.strategy.shadow or api.Shadow()
    host = f"[{address}]" if ":" in address else address
    document = {
        "target": f"http://{host}:80",
        "percent": settings.percent,
        "sourceRevision": source,
    }
    labels = naming.identity_labels(resource.name)
    name = naming.mirror_config_map(resource.name)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resources.metadata(resource, name, labels),
        "data": {resources.MIRROR_FILE: json.dumps(document, sort_keys=True)},
    }


def mirror_hash(observed: Observed) -> str | None:
    """The hash of the mirror's settings as they are in the cluster; None without any."""
    name = naming.mirror_config_map(observed.resource.name)
    live: Mapping[str, Any] | None = observed.others.get(("ConfigMap", name))
    if live is None:
        return None
    text = str((live.get("data") or {}).get(resources.MIRROR_FILE, ""))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
