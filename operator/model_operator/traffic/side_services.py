"""What stands beside the endpoint while a revision is introduced: the preview of strategy
BlueGreen, the shadow's Service, and the mirror's settings of strategy Shadow. Pure.

A shadow ends in this order: its settings are emptied, the pods that mirror are told, and only when
all of them have noticed are ConfigMap and Service deleted. Until then the Service keeps its
address: whoever was given that next would be sent clients' pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from model_operator import api, canonical, diagnosis, naming, resources
from model_operator.observed import Observed, Resource
from model_operator.plan import Touch
from model_operator.rollout.view import Step
from model_operator.timestamps import parse_time
from model_operator.traffic import service

Body = dict[str, Any]
Key = tuple[str, str]

MIRROR_ANNOTATION = f"{api.GROUP}/mirror"
"""Of a pod that mirrors: the hash of its settings. That a pod changes makes its kubelet refresh
the mounted ConfigMap at once; otherwise it takes up to a minute.
"""


NOTICED_AFTER = timedelta(seconds=100)
"""After so long every pod knows that its mirror's settings are empty, also one whose kubelet was
not hurried: that looks every 60 to 90 s, the server every second, and a copy may take 5 s.
"""


def wanted(observed: Observed, step: Step, serving: str | None, now: datetime) -> list[Body]:
    """What shall stand beside the endpoint now, apart from a Service that only waits to go."""
    resource, spec = observed.resource, observed.resource.spec
    if spec is None:
        return []
    if step.shadow and serving:
        settings = mirror(observed, serving)
        return [shadow(resource, step.shadow), *([settings] if settings else [])]
    introduced = step.shows or serving
    shows = spec.strategy.type == "BlueGreen" and introduced
    previews = [preview(resource, introduced)] if shows and introduced else []
    return [*previews, *([emptied(resource)] if notices_for(observed, now) else [])]


def unused(observed: Observed, step: Step, serving: str | None, now: datetime) -> list[Key]:
    """Kind and name of what stands beside the endpoint and may be deleted."""
    kept = {
        (body["kind"], body["metadata"]["name"]) for body in wanted(observed, step, serving, now)
    }
    if _mirror_key(observed) in kept:
        kept.add(("Service", naming.shadow_service(observed.resource.name)))
    return [key for key in present(observed) if key not in kept]


def notices_for(observed: Observed, now: datetime) -> timedelta | None:
    """How long, after the end of a shadow, pods may still send copies; None when none does."""
    live = observed.others.get(_mirror_key(observed))
    if live is None:
        return None
    if live.get("data"):
        return NOTICED_AFTER
    since = parse_time(canonical.applied_at(live, naming.MANAGER))
    left = since + NOTICED_AFTER - now if since else timedelta(0)
    return left if left > timedelta(0) else None


def touches(observed: Observed, step: Step, serving: str | None) -> Iterator[Touch]:
    """Pods that have not been told of the mirror's settings: of the revision that mirrors, and once
    those are empty all that were told of others.
    """
    found = mirror_hash(observed)
    if found is None:
        return
    if step.shadow:
        pods = list(observed.pods.get(serving or "", ()))
    elif observed.others[_mirror_key(observed)].get("data"):
        pods = []  # emptied first
    else:
        every = (pod for pods in observed.pods.values() for pod in pods)
        pods = [pod for pod in every if _told(pod) and not diagnosis.is_terminating(pod)]
    for pod in pods:
        if _told(pod) != found:
            metadata = pod["metadata"]
            yield Touch(metadata["name"], metadata["uid"], MIRROR_ANNOTATION, found)


def _told(pod: Mapping[str, Any]) -> str:
    """The hash of the mirror's settings that a pod was told of last; empty when of none."""
    return str((pod["metadata"].get("annotations") or {}).get(MIRROR_ANNOTATION, ""))


def present(observed: Observed) -> list[Key]:
    """Kind and name of what stands beside the endpoint."""
    every = [key for kind in _SIDES for key in names(observed.resource.name, kind)]
    return [key for key in every if key in observed.others]


def names(name: str, strategy: str) -> list[Key]:
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
    return {
        **emptied(resource),
        "data": {resources.MIRROR_FILE: json.dumps(document, sort_keys=True)},
    }


def emptied(resource: Resource) -> Body:
    """The same ConfigMap without settings: no file, so nothing is mirrored."""
    name = naming.mirror_config_map(resource.name)
    labels = naming.identity_labels(resource.name)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resources.metadata(resource, name, labels),
    }


def mirror_hash(observed: Observed) -> str | None:
    """The hash of the mirror's settings as they are in the cluster; None without any ConfigMap."""
    live: Mapping[str, Any] | None = observed.others.get(_mirror_key(observed))
    if live is None:
        return None
    text = str((live.get("data") or {}).get(resources.MIRROR_FILE, ""))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mirror_key(observed: Observed) -> Key:
    return "ConfigMap", naming.mirror_config_map(observed.resource.name)
