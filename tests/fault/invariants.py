"""What must hold at every single write of the operator, checked just before the write is sent.

Each rule reads the world from the API server at that moment. Where a rule speaks of what the
spec asks, the spec is the one that the operator was given last: it cannot know a later one.
The proxy calls this; a test fails when `violations` is not empty.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_operator import api, naming
from tests.fault.admin import Admin
from tests.fault.paths import Request
from tests.fault.record import is_status

Body = Mapping[str, Any]
Key = tuple[str, str]
RESOURCES = f"/apis/{api.API_VERSION}"
CHILDREN = frozenset({"deployments", "services", "controllerrevisions"})
FRESH_SECONDS = 2.0
"""A pod may have died since the operator saw it, but it must have looked this recently."""
ROUNDING_SECONDS = 1.5
"""Status keeps times in whole seconds."""


@dataclass
class Invariants:
    """One for each operator; remembers what the operator was told, and when the endpoint moved."""

    admin: Admin
    violations: list[str] = field(default_factory=list)
    _resources: dict[Key, Body] = field(default_factory=dict)
    _pods: dict[str, tuple[float, list[Body]]] = field(default_factory=dict)
    """The pods that a namespace's list last showed."""
    _left: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """When the endpoint left a revision."""
    _moving: tuple[str, str, str] | None = None

    async def before(self, request: Request, body: Body | None) -> None:
        """Checks one write."""
        self._moving = None
        if request.plural == api.PLURAL:
            await self._resource(request, body or {})
        elif request.plural in CHILDREN:
            # A JSON patch is a list, and says nothing of sizes or selectors.
            await self._child(request, body if isinstance(body, dict) else {})

    def answered(self, request: Request, content: bytes) -> None:
        """Remembers what the operator was given."""
        if request.verb == "get" and request.plural == api.PLURAL:
            self._resources[request.namespace, request.name] = json.loads(content)
        elif request.verb == "list" and request.plural == "pods" and not request.everywhere:
            items = json.loads(content).get("items") or []
            self._pods[request.namespace] = (time.monotonic(), items)
        elif request.plural == "services" and request.writes and self._moving:
            self._left[self._moving] = time.monotonic()

    def _violated(self, request: Request, words: str) -> None:
        self.violations.append(f"{request.label}: {words}")

    # --- the resource itself -----------------------------------------------------------------

    async def _resource(self, request: Request, body: Body) -> None:
        if not is_status(request):
            self._violated(request, "the operator writes a ModelDeployment beside its status")
            return
        live = await self.admin.get(_path_of_resource(request.namespace, request.name))
        if live is None or live["metadata"]["resourceVersion"] != _version(body):
            return  # the API server will refuse it
        if body.get("spec", live["spec"]) != live["spec"]:
            self._violated(request, "the write carries another spec than the resource has")
        for part in ("labels", "annotations", "finalizers", "ownerReferences"):
            if body["metadata"].get(part) != live["metadata"].get(part):
                self._violated(request, f"the write changes metadata.{part}")
        status = body.get("status") or {}
        if status == live.get("status"):
            self._violated(request, "the status is the one that is there")
        weights = [part["weight"] for part in status.get("traffic") or ()]
        if weights and sum(weights) != 100:
            self._violated(request, f"the weights {weights} do not sum to 100")

    # --- children ----------------------------------------------------------------------------

    async def _child(self, request: Request, body: Body) -> None:
        path = request.path.removesuffix("/scale")
        live = await self.admin.get(path)
        owner = self._owner(live or body)
        if owner is None:
            self._violated(request, "the object belongs to somebody else")
            return
        name = owner["metadata"]["name"]
        if request.verb == "delete":
            await self._deletion(request, name)
        elif request.plural == "services" and request.name == name:
            await self._selector(request, owner, live, body)
        elif request.plural == "deployments":
            await self._size(request, owner, live, body)

    def _owner(self, body: Body) -> Body | None:
        """The ModelDeployment that controls the object, as the operator was given it."""
        references = (body.get("metadata") or {}).get("ownerReferences") or ()
        controllers = {reference["uid"] for reference in references if reference.get("controller")}
        known = self._resources.values()
        return next((md for md in known if md["metadata"]["uid"] in controllers), None)

    async def _deletion(self, request: Request, owner: str) -> None:
        if request.plural == "services":
            # Services beside the endpoint are the traffic providers' to take away.
            if request.name == owner:
                self._violated(request, "the endpoint is deleted")
            return
        revision = request.name.removeprefix(f"{owner}-")
        if pods := await self._pods_of(request.namespace, owner, revision):
            self._violated(request, f"deleted with {len(pods)} pods")

    async def _selector(self, request: Request, owner: Body, live: Body | None, body: Body) -> None:
        """The endpoint moves only to a revision that can take all requests over."""
        name, spec = owner["metadata"]["name"], owner["spec"]
        before, after = _selected(live), _selected(body)
        if after is None or after == before:
            return
        if before is not None:
            self._moving = (request.namespace, name, before)
        ready = await self._ready(request.namespace, name, after)
        needed = max(1, spec.get("replicas", 1))
        if before is not None:
            serving = await self._pods_of(request.namespace, name, before)
            needed = max(needed, sum(map(_is_ready, serving)))
        if spec.get("replicas") == 0:
            needed = 0
        if ready < needed:
            words = f"the endpoint moves to {after} with {ready} ready pods of {needed}"
            self._violated(request, words)

    async def _size(self, request: Request, owner: Body, live: Body | None, body: Body) -> None:
        """Whatever carries a replica count."""
        present = live["spec"].get("replicas", 1) if live else 0
        wanted = (body.get("spec") or {}).get("replicas", present if live else 1)
        if wanted < present:
            await self._scale_down(request, owner, wanted)
        elif wanted > present and _recreates(owner["spec"]):
            await self._alone(request, owner["metadata"]["name"])

    async def _alone(self, request: Request, owner: str) -> None:
        """With strategy Recreate, nothing starts beside the pods of another revision."""
        revision = request.name.removeprefix(f"{owner}-")
        pods = await self._pods_of(request.namespace, owner)
        others = [p for p in pods if p["metadata"]["labels"].get(naming.REVISION_LABEL) != revision]
        if others:
            self._violated(request, f"started beside {len(others)} pods of another revision")

    async def _scale_down(self, request: Request, owner: Body, wanted: int) -> None:
        """What serves keeps its size; what served keeps it until its requests have drained."""
        name, spec = owner["metadata"]["name"], owner["spec"]
        if _recreates(spec):
            return
        namespace = request.namespace
        revision = request.name.removeprefix(f"{name}-")
        endpoint = await self.admin.get(f"/api/v1/namespaces/{namespace}/services/{name}")
        if _selected(endpoint) == revision:
            if wanted < spec.get("replicas", 1):
                self._violated(request, f"what serves is scaled to {wanted} pods")
            return
        delay = spec.get("strategy", {}).get("scaleDownDelaySeconds", 30) - ROUNDING_SECONDS
        since = time.monotonic() - self._left.get((namespace, name, revision), -1e9)
        if since < delay:
            self._violated(request, f"stopped {since:.1f} s after the endpoint left it")
        if listed := await self._listed(namespace, name, revision):
            self._violated(request, f"stopped while the endpoint lists {listed} of its pods")

    # --- the world ---------------------------------------------------------------------------

    async def _pods_of(self, namespace: str, owner: str, revision: str | None = None) -> list[Body]:
        labels = naming.pod_selector(owner, revision) if revision else {naming.OWNER_LABEL: owner}
        selector = naming.as_selector(labels)
        return list(await self.admin.items(f"/api/v1/namespaces/{namespace}/pods", selector))

    async def _ready(self, namespace: str, owner: str, revision: str) -> int:
        """Ready pods now, or, if that is more, when the operator looked a moment ago."""
        now = sum(map(_is_ready, await self._pods_of(namespace, owner, revision)))
        at, shown = self._pods.get(namespace, (0.0, []))
        if time.monotonic() - at > FRESH_SECONDS:
            return now
        wanted = naming.pod_selector(owner, revision).items()
        mine = [pod for pod in shown if wanted <= pod["metadata"]["labels"].items()]
        return max(now, sum(map(_is_ready, mine)))

    async def _listed(self, namespace: str, owner: str, revision: str) -> int:
        """How many pods of a revision get requests of the endpoint."""
        found = await self.admin.get(f"/api/v1/namespaces/{namespace}/endpoints/{owner}") or {}
        listed = {
            address["targetRef"]["name"]
            for subset in found.get("subsets") or ()
            for address in subset.get("addresses") or ()
        }
        pods = await self._pods_of(namespace, owner, revision)
        return len(listed & {pod["metadata"]["name"] for pod in pods})


def _path_of_resource(namespace: str, name: str) -> str:
    return f"{RESOURCES}/namespaces/{namespace}/{api.PLURAL}/{name}"


def _version(body: Body) -> str | None:
    version: str | None = body["metadata"].get("resourceVersion")
    return version


def _selected(service: Body | None) -> str | None:
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    revision: str | None = selector.get(naming.REVISION_LABEL)
    return revision


def _recreates(spec: Body) -> bool:
    return bool(spec.get("strategy", {}).get("type") == "Recreate")


def _is_ready(pod: Body) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
