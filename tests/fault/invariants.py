"""What must hold at every single write of the operator, checked just before the write is sent.

Each rule reads the world from the API server at that moment. Where a rule speaks of what the
spec asks, the spec is the one that the operator was given last: it cannot know a later one.
The proxy calls this; a test fails when `violations` is not empty.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_operator import api, naming
from tests.fault import requests_go
from tests.fault.admin import Admin
from tests.fault.paths import Request
from tests.fault.pod_answers import PodAnswers
from tests.fault.record import is_status
from tests.fault.requests_go import ROUTER_LABEL, Requests, Way

Body = Mapping[str, Any]
Key = tuple[str, str]
RESOURCES = f"/apis/{api.API_VERSION}"
BUDGETS = "poddisruptionbudgets"
CHILDREN = frozenset(
    {
        *("deployments", "services", "controllerrevisions", "configmaps"),
        *(BUDGETS, "horizontalpodautoscalers", "jobs"),
    }
)
HURRYING = frozenset({f"{api.GROUP}/route-hash", f"{api.GROUP}/mirror"})
"""Annotations of pods by which kubelets are told to look again."""
FRESH_SECONDS = 2.0
"""A pod may have died since the operator saw it, but it must have looked this recently."""
ROUNDING_SECONDS = 1.5
"""Status keeps times in whole seconds."""


@dataclass
class Invariants:
    """One for each operator; remembers what the operator was told, and when the endpoint moved."""

    admin: Admin
    agents: PodAnswers | None = None
    """Knows what router pods hold; None where there are none."""
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
        elif request.plural == "pods":
            self._hurry(request, body or {})
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
        elif request.plural in ("services", "configmaps") and request.writes and self._moving:
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
        told = [part.get("actualWeight") for part in status.get("traffic") or ()]
        actual = [weight for weight in told if weight is not None]
        if actual and sum(actual) != 100:
            self._violated(request, f"the actual weights {actual} do not sum to 100")

    def _hurry(self, request: Request, body: Body) -> None:
        """Pods are told to look again, and nothing else is done to them."""
        metadata = body.get("metadata") or {}
        others = {*body, *metadata} - {"metadata", "annotations", "uid", "apiVersion", "kind"}
        if request.verb != "patch" or others or not set(metadata["annotations"]) <= HURRYING:
            self._violated(request, f"a pod is changed: {json.dumps(body)}")

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
        elif request.name == {"services": name, "configmaps": f"{name}-router"}.get(request.plural):
            await self._division(request, owner, body)
        elif request.plural == BUDGETS:
            self._budget(request, name, body)
        elif request.plural == "deployments" and request.name != f"{name}-router":
            await self._size(request, owner, live, body)

    def _owner(self, body: Body) -> Body | None:
        """The ModelDeployment that controls the object, as the operator was given it."""
        references = (body.get("metadata") or {}).get("ownerReferences") or ()
        controllers = {reference["uid"] for reference in references if reference.get("controller")}
        known = self._resources.values()
        return next((md for md in known if md["metadata"]["uid"] in controllers), None)

    async def _deletion(self, request: Request, owner: str) -> None:
        """Nothing goes that a request is sent by or to."""
        namespace, revision = request.namespace, request.name.removeprefix(f"{owner}-")
        if (request.plural, request.name) == ("services", owner):
            self._violated(request, "the endpoint is deleted")
        elif revision == "router":
            await self._deletion_of_router(request, owner)
        elif request.plural == BUDGETS:
            await self._loss_of_budget(request, owner)
        elif request.plural == "services":
            if await self._routed_to(namespace, owner, revision):
                self._violated(request, "deleted while a router sends requests to it")
        elif pods := await self._pods_of(namespace, owner, revision):
            self._violated(request, f"deleted with {len(pods)} pods")

    async def _deletion_of_router(self, request: Request, owner: str) -> None:
        namespace = request.namespace
        routers = await self._routers(namespace, owner)
        requests = await self._requests(namespace, owner)
        if requests and requests.way is Way.ROUTER:
            self._violated(request, "deleted while the endpoint names the router")
        elif listed := await self._listed(namespace, owner, routers):
            self._violated(request, f"deleted while the endpoint lists {listed} router pods")
        elif request.plural == "configmaps" and routers:
            self._violated(request, f"deleted while there are {len(routers)} router pods")

    async def _loss_of_budget(self, request: Request, owner: str) -> None:
        """What gets requests on more than one pod keeps its budget."""
        path = f"/apis/apps/v1/namespaces/{request.namespace}/deployments/{request.name}"
        deployment = await self.admin.get(path)
        requests = await self._requests(request.namespace, owner)
        weight = requests.weight_of(request.name.removeprefix(f"{owner}-")) if requests else 0
        if weight and deployment and deployment["spec"].get("replicas", 1) > 1:
            self._violated(request, f"deleted while its pods have {weight}% of the requests")

    def _budget(self, request: Request, owner: str, body: Body) -> None:
        """A budget is over one revision's pods, or the router's: no two are over one pod."""
        revision = request.name.removeprefix(f"{owner}-")
        selector = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels")
        routers = {naming.OWNER_LABEL: owner, **dict([ROUTER_LABEL])}
        if selector != (routers if revision == "router" else naming.pod_selector(owner, revision)):
            self._violated(request, f"a budget over {selector}")

    async def _division(self, request: Request, owner: Body, body: Body) -> None:
        """The endpoint, or what the router follows: who gets requests, and how many."""
        name = owner["metadata"]["name"]
        before = await self._requests(request.namespace, name)
        after = await self._requests(request.namespace, name, **{request.plural: body})
        if after is None or after == before:
            return
        if after.way is Way.ROUTER and (before is None or before.way is not Way.ROUTER):
            await self._to_the_router(request, name)
        if before is None or before.stable != after.stable:
            await self._commit(request, owner, before, after)
        else:
            await self._weight(request, name, before, after)
        if after.way is Way.RATIO:
            await self._third_revision(request, name, after)

    async def _to_the_router(self, request: Request, name: str) -> None:
        """Clients are sent to the router only when all its pods are ready."""
        path = f"/apis/apps/v1/namespaces/{request.namespace}/deployments/{name}-router"
        router = await self.admin.get(path)
        wanted = router["spec"]["replicas"] if router else 1
        routers = await self._routers(request.namespace, name)
        ready = sum(map(_is_ready, routers))
        if ready < wanted:
            words = f"the endpoint moves to the router with {ready} ready pods of {wanted}"
            self._violated(request, words)

    async def _commit(
        self, request: Request, owner: Body, before: Requests | None, after: Requests
    ) -> None:
        """The endpoint moves only to a revision that can take all requests over."""
        namespace, name, spec = request.namespace, owner["metadata"]["name"], owner["spec"]
        _, ready = await self._ready(namespace, name, after.stable)
        needed = max(1, spec.get("replicas", 1))
        if before is not None:
            self._moving = (namespace, name, before.stable)
            serving = await self._pods_of(namespace, name, before.stable)
            needed = max(needed, sum(map(_is_ready, serving)))
        if spec.get("replicas") == 0:
            needed = 0
        if ready < needed:
            words = f"the endpoint moves to {after.stable} with {ready} ready pods of {needed}"
            self._violated(request, words)
        if after.weight and before is not None:
            self._violated(request, f"another stable revision, and divided: {after}")

    async def _weight(self, request: Request, name: str, before: Requests, after: Requests) -> None:
        """A weight is raised beside ready pods of both, and never lowered to give the requests to
        nobody.
        """
        for revision in filter(None, (before.canary, after.canary)):
            rise = after.weight_of(revision) - before.weight_of(revision)
            certain, possible = await self._ready(request.namespace, name, revision)
            _, stable = await self._ready(request.namespace, name, after.stable)
            if rise > 0 and not (possible and stable):
                words = f"raised beside {stable} and {possible} ready pods: {after}"
                self._violated(request, words)
            if rise < 0 and certain and not stable:
                self._violated(request, f"taken from {certain} ready pods, given to none: {after}")

    async def _third_revision(self, request: Request, name: str, after: Requests) -> None:
        """A selector of all model servers reaches those of every revision."""
        pods = await self._pods_of(request.namespace, name)
        others = [
            pod
            for pod in pods
            if pod["metadata"]["labels"].get(naming.REVISION_LABEL, after.stable)
            not in (after.stable, after.canary)
            and "deletionTimestamp" not in pod["metadata"]
        ]
        if others:
            words = f"divided by pods beside {len(others)} of another revision: {after}"
            self._violated(request, words)

    async def _size(self, request: Request, owner: Body, live: Body | None, body: Body) -> None:
        """Whatever carries a replica count."""
        present = live["spec"].get("replicas", 1) if live else 0
        wanted = (body.get("spec") or {}).get("replicas", present if live else 1)
        if wanted < present:
            await self._scale_down(request, owner, wanted)
        elif wanted > present and _recreates(owner["spec"]):
            await self._alone(request, owner["metadata"]["name"])
        elif wanted > present:
            await self._reached_at_once(request, owner["metadata"]["name"])

    async def _reached_at_once(self, request: Request, name: str) -> None:
        """No third revision starts under a selector that would reach it."""
        requests = await self._requests(request.namespace, name)
        revision = request.name.removeprefix(f"{name}-")
        if requests is None or requests.way is not Way.RATIO:
            return
        if revision not in (requests.stable, requests.canary):
            self._violated(request, f"started while requests are divided by pods: {requests}")

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
        requests = await self._requests(namespace, name)
        weight = requests.weight_of(revision) if requests else 0
        if requests and requests.stable == revision:
            if wanted < spec.get("replicas", 1):
                self._violated(request, f"what serves is scaled to {wanted} pods")
            return
        if weight:
            if not wanted:
                self._violated(request, f"stopped with {weight}% of the requests")
            return
        delay = spec.get("strategy", {}).get("scaleDownDelaySeconds", 30) - ROUNDING_SECONDS
        since = time.monotonic() - self._left.get((namespace, name, revision), -1e9)
        if since < delay:
            self._violated(request, f"stopped {since:.1f} s after the endpoint left it")
        pods = await self._pods_of(namespace, name, revision)
        if listed := await self._listed(namespace, name, pods):
            self._violated(request, f"stopped while the endpoint lists {listed} of its pods")
        if any(map(_is_ready, pods)) and await self._routed_to(namespace, name, revision):
            self._violated(request, "stopped while a router sends requests to it")

    # --- the world ---------------------------------------------------------------------------

    async def _pods_of(self, namespace: str, owner: str, revision: str | None = None) -> list[Body]:
        labels = naming.pod_selector(owner, revision) if revision else {naming.OWNER_LABEL: owner}
        selector = naming.as_selector(labels)
        return list(await self.admin.items(f"/api/v1/namespaces/{namespace}/pods", selector))

    async def _routers(self, namespace: str, owner: str) -> list[Body]:
        selector = naming.as_selector({naming.OWNER_LABEL: owner, **dict([ROUTER_LABEL])})
        return list(await self.admin.items(f"/api/v1/namespaces/{namespace}/pods", selector))

    async def _requests(
        self,
        namespace: str,
        name: str,
        *,
        services: Body | None = None,
        configmaps: Body | None = None,
    ) -> Requests | None:
        """Where requests go; with a body that is about to be written, where they will."""
        core = f"/api/v1/namespaces/{namespace}"
        service = services or await self.admin.get(f"{core}/services/{name}")
        followed = configmaps or await self.admin.get(f"{core}/configmaps/{name}-router")
        return requests_go.read(service, followed)

    async def _routed_to(self, namespace: str, owner: str, revision: str) -> bool:
        """Whether a router pod that clients reach sends requests to a revision."""
        routers = await self._routers(namespace, owner)
        if self.agents is None or not await self._listed(namespace, owner, routers):
            return False
        held = [await self.agents.held(dict(pod)) for pod in routers if _is_ready(pod)]
        followed = [requests_go.of_document(Way.ROUTER, text) for text in held]
        return any(requests and requests.weight_of(revision) for requests in followed)

    async def _ready(self, namespace: str, owner: str, revision: str) -> tuple[int, int]:
        """The least and the most ready pods that the operator may have seen: those that are so
        now, and those that were when it looked a moment ago.
        """
        now = sum(map(_is_ready, await self._pods_of(namespace, owner, revision)))
        at, shown = self._pods.get(namespace, (0.0, []))
        if time.monotonic() - at > FRESH_SECONDS:
            return now, now
        wanted = naming.pod_selector(owner, revision).items()
        mine = [pod for pod in shown if wanted <= pod["metadata"]["labels"].items()]
        seen = sum(map(_is_ready, mine))
        return min(now, seen), max(now, seen)

    async def _listed(self, namespace: str, owner: str, pods: Iterable[Body]) -> int:
        """How many of the pods get requests of the endpoint."""
        found = await self.admin.get(f"/api/v1/namespaces/{namespace}/endpoints/{owner}") or {}
        listed = {
            address["targetRef"]["name"]
            for subset in found.get("subsets") or ()
            for address in subset.get("addresses") or ()
        }
        return len(listed & {pod["metadata"]["name"] for pod in pods})


def _path_of_resource(namespace: str, name: str) -> str:
    return f"{RESOURCES}/namespaces/{namespace}/{api.PLURAL}/{name}"


def _version(body: Body) -> str | None:
    version: str | None = body["metadata"].get("resourceVersion")
    return version


def _recreates(spec: Body) -> bool:
    return bool(spec.get("strategy", {}).get("type") == "Recreate")


def _is_ready(pod: Body) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
