"""The objects of traffic provider Router: its pods, their budget and the ConfigMap they follow.

Pure builders; `router` says which of them are written when. The pods are frozen as a revision's
are: what they were made of is kept in the ConfigMap, so an upgrade of the operator rolls none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_operator import api, canonical, naming, resources
from model_operator.observed import Observed, Resource
from model_operator.route import Route
from model_operator.router_answer import AGENT_PORT
from model_operator.traffic import revision_services

Body = dict[str, Any]

REPLICAS = 2
DRAIN_SECONDS = 15
EXIT_SECONDS = 55
"""After the drain: what is in flight is finished (hard-stop-after of router/model_router)."""
ROUTE_KEY = "route.json"
RECORD_KEY = "router.json"
RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
_SERVICE_PORT = 80


def router_name(resource: Resource) -> str:
    """The name of the Deployment, the ConfigMap and the budget."""
    return f"{resource.name}-router"


def pod_selector(name: str) -> dict[str, str]:
    """The labels that select a resource's router pods, and none of its servers."""
    return {naming.OWNER_LABEL: name, "app.kubernetes.io/name": "model-router"}


def labels(name: str) -> dict[str, str]:
    """What all of these objects carry."""
    return {**naming.identity_labels(name), **pod_selector(name)}


@dataclass(frozen=True)
class RouterRecord:
    """What a router was made of."""

    asked: Mapping[str, Any]
    """What of `spec.traffic.router` the pods are made from, as it was then."""
    replicas: int
    template: Mapping[str, Any]

    def as_text(self) -> str:
        """As the ConfigMap holds it."""
        members = {"asked": self.asked, "replicas": self.replicas, "template": self.template}
        return json.dumps(members, sort_keys=True)


def record(observed: Observed) -> RouterRecord | None:
    """The router as it was made, else as its Deployment still is, else a new one; made anew only
    when the spec asks for other pods than before. None where no image is known.
    """
    frozen = _frozen(observed)
    if frozen is None:
        return _new_record(observed)
    settings = _settings(observed)
    if settings is None or _asked(settings) == frozen.asked:
        return frozen
    if _pods(_asked(settings)) == _pods(frozen.asked):
        return replace(frozen, asked=_asked(settings), replicas=settings.replicas or REPLICAS)
    return _new_record(observed, frozen) or frozen


def _settings(observed: Observed) -> api.RouterSettings | None:
    """The spec's; None where they may be lost with an invalid one."""
    spec = observed.resource.spec
    if spec is None or observed.resource.invalid:
        return None
    return spec.traffic.router or api.RouterSettings()


def _asked(settings: api.RouterSettings) -> Body:
    return settings.model_dump(by_alias=True, exclude_none=True, exclude={"sticky", "force_header"})


def _frozen(observed: Observed) -> RouterRecord | None:
    name = router_name(observed.resource)
    config_map, deployment = observed.child("ConfigMap", name), observed.child("Deployment", name)
    try:
        read = json.loads((config_map or {}).get("data", {}).get(RECORD_KEY, ""))
        return RouterRecord(read["asked"], int(read["replicas"]), read["template"])
    except (ValueError, KeyError, TypeError):
        pass
    if deployment is None:
        return None
    settings = _settings(observed) or api.RouterSettings()
    spec = deployment["spec"]
    return RouterRecord(_asked(settings), spec.get("replicas", REPLICAS), spec["template"])


def _pods(asked: Mapping[str, Any]) -> Body:
    """What of it a single pod is made from."""
    return {name: value for name, value in asked.items() if name != "replicas"}


def _new_record(observed: Observed, before: RouterRecord | None = None) -> RouterRecord | None:
    """Of the image that is named, else the one that was made `before`, else the operator's."""
    settings = _settings(observed) or api.RouterSettings()
    image = settings.image or _image_of(before) or observed.defaults.router_image
    if not image:
        return None
    template = _template(observed.resource.name, image, settings)
    return RouterRecord(_asked(settings), settings.replicas or REPLICAS, template)


def _image_of(record: RouterRecord | None) -> str | None:
    try:
        image: str = record.template["spec"]["containers"][0]["image"] if record else ""
    except (KeyError, IndexError, TypeError):
        return None
    return image or None


def _template(name: str, image: str, settings: api.RouterSettings) -> Body:
    spread = {"labelSelector": {"matchLabels": pod_selector(name)}}
    term = {"weight": 100, "podAffinityTerm": {**spread, "topologyKey": "kubernetes.io/hostname"}}
    secrets = [{"name": secret.name} for secret in settings.image_pull_secrets or ()]
    template = {
        "metadata": {"labels": labels(name)},
        "spec": {
            "containers": [_container(image, settings)],
            "volumes": [
                {
                    "name": "route",
                    "configMap": {
                        "name": f"{name}-router",
                        "items": [{"key": ROUTE_KEY, "path": ROUTE_KEY}],
                    },
                },
                {"name": "run", "emptyDir": {}},
            ],
            "terminationGracePeriodSeconds": DRAIN_SECONDS + EXIT_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": secrets or None,
            "affinity": {
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}
            },
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": resources.USER_ID,
                "runAsGroup": resources.USER_ID,
                "fsGroup": resources.USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }
    body: Body = canonical.without_nulls(template)
    return body


def _container(image: str, settings: api.RouterSettings) -> Body:
    return {
        "name": "router",
        "image": image,
        "env": [{"name": "ROUTER_DRAIN_SECONDS", "value": str(DRAIN_SECONDS)}],
        "ports": [
            {"name": "http", "containerPort": resources.SERVER_PORT, "protocol": "TCP"},
            {"name": "agent", "containerPort": AGENT_PORT, "protocol": "TCP"},
        ],
        "resources": settings.resources or RESOURCES,
        "volumeMounts": [
            {"name": "route", "mountPath": "/etc/model-router", "readOnly": True},
            {"name": "run", "mountPath": "/run/model-router"},
        ],
        "terminationMessagePolicy": resources.LAST_WORDS,
        "startupProbe": _probe("/ready", period=1, failures=60),
        "readinessProbe": _probe("/ready", period=2, failures=2),
        "livenessProbe": _probe("/health", period=10, failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _probe(path: str, *, period: int, failures: int) -> Body:
    return {
        "httpGet": {"path": path, "port": "agent"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def addresses(observed: Observed) -> dict[str, str]:
    """IP:PORT by revision, of the Services that have an address."""
    found = {}
    for revision, service in observed.revision_services.items():
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            host = f"[{address}]" if ":" in address else address
            found[revision] = f"{host}:{_SERVICE_PORT}"
    return found


def route_document(observed: Observed, route: Route) -> str | None:
    """The text that the agents follow; None while a revision has no address yet. A canary of weight
    0 is named as soon as it has one, so that a request can ask for it by `forceHeader`.
    """
    known = addresses(observed)
    route = revision_services.nameable(route, known)
    if not route.weights.keys() <= known.keys():
        return None
    settings = _settings(observed)
    if settings is None:
        written = read_document(observed)
        sticky, force_header = written.get("sticky"), written.get("forceHeader")
    else:
        sticky = settings.sticky and settings.sticky.model_dump(exclude_none=True)
        force_header = settings.force_header
    divided = route.canary is not None and route.canary != route.stable
    document = {
        "stable": route.stable,
        "canary": route.canary if divided else None,
        "weight": route.weight if divided else 0,
        "revisions": {revision: {"address": known[revision]} for revision in route.weights},
        "sticky": sticky,
        "forceHeader": force_header,
    }
    return json.dumps(document, sort_keys=True)


def written_text(observed: Observed) -> str | None:
    """The route document that the ConfigMap holds; None without one."""
    config_map = observed.child("ConfigMap", router_name(observed.resource)) or {}
    text: str | None = (config_map.get("data") or {}).get(ROUTE_KEY)
    return text


def read_document(observed: Observed) -> Mapping[str, Any]:
    """The same, read; empty where it is no document."""
    try:
        read = json.loads(written_text(observed) or "")
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def digest(text: str) -> str:
    """The hash that an agent answers for a document."""
    return hashlib.sha256(text.encode()).hexdigest()


def config_map(resource: Resource, document: str, made_of: RouterRecord) -> Body:
    """What the agents follow, and what the pods were made of."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": resources.metadata(resource, router_name(resource), labels(resource.name)),
        "data": {ROUTE_KEY: document, RECORD_KEY: made_of.as_text()},
    }


def deployment(resource: Resource, made_of: RouterRecord) -> Body:
    """The router's pods. Nobody else scales them, so the count is part of it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": resources.metadata(resource, router_name(resource), labels(resource.name)),
        "spec": {
            "replicas": made_of.replicas,
            "revisionHistoryLimit": 0,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": pod_selector(resource.name)},
            "template": dict(made_of.template),
        },
    }


def budget(resource: Resource, version: str) -> Body:
    """Lets a drain of nodes take one router pod at a time."""
    metadata = resources.metadata(resource, router_name(resource), labels(resource.name))
    return resources.disruption_budget(metadata, pod_selector(resource.name), version)
