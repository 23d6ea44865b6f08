"""A small model of a cluster for the tests of `decide`: plans go in, observations come out.

It plays the parts of the API server (defaults, uids), the controllers and the kubelet, one at a
time and by hand, and checks the invariants of every rollout at each write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from model_operator import actions, autoscaling, naming, observe
from model_operator.api import ModelSource
from model_operator.decide import decide
from model_operator.diagnosis import is_ready
from model_operator.errors import ResolutionError
from model_operator.measurement import Measurement
from model_operator.observed import Defaults, Observed, Refusal, Resolution, Resource
from model_operator.plan import Delete, Plan, Scale, Touch
from model_operator.revisions import ResolvedModel
from model_operator.rollout import comparison
from model_operator.route import Route
from model_operator.traffic.service import ROUTE_ANNOTATION, SERVICE
from tests.operator.builders import ModelDeploymentBuilder, digest_of, make_pod, waiting
from tests.operator.world_router import WorldRouter, document, route_of

DEFAULTS = Defaults(
    server_image="example/server:1",
    tracking_uri="http://mlflow:5000",
    router_image="example/router:1",
)
BESIDE = ("Service", "ConfigMap", "PodDisruptionBudget", autoscaling.KIND)
"""Kinds of which there may be more than the operator's revisions have."""


def copied(body: Any) -> Any:
    """A copy of something that is JSON; several times faster than a deep copy of anything."""
    return json.loads(json.dumps(body))


def applied_fields(body: dict[str, Any]) -> dict[str, Any]:
    """What the operator owns of a Service that it has applied, as the API server keeps it."""

    def fields_of(value: Any) -> dict[str, Any]:
        members = value.items() if isinstance(value, dict) else ()
        return {f"f:{name}": fields_of(member) for name, member in members}

    told = {name: body["metadata"].get(name) for name in ("labels", "annotations")}
    metadata = {name: value for name, value in told.items() if value}
    owned = fields_of({"metadata": metadata, "spec": body["spec"]})
    return {"manager": naming.MANAGER, "operation": "Apply", "fieldsV1": owned}


class InvariantBroken(AssertionError):
    """A write that may never happen."""


class World:
    def __init__(self, resource: ModelDeploymentBuilder) -> None:
        self.resource = resource.build()
        self.defaults = DEFAULTS
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.deployments: dict[str, dict[str, Any]] = {}
        self.histories: dict[str, dict[str, Any]] = {}
        self.service: dict[str, Any] | None = None
        self.others: dict[tuple[str, str], dict[str, Any]] = {}
        """By kind and name: what else the operator has written."""
        self.router = WorldRouter(self.resource["metadata"]["name"])
        self.pods: dict[str, dict[str, Any]] = {}
        self.foreign: list[dict[str, Any]] = []
        self.resolution_error: ResolutionError | None = None
        self.registered_digest: str | None = None
        """What the registry says now, whatever the version; None: a digest for each version."""
        self.container: Callable[[str], dict[str, Any] | None] = lambda revision: None
        self.refuse: Callable[[dict[str, Any]], bool] = lambda body: False
        """Children that the API server does not accept."""
        self.endpoint_lags = False
        """The endpoint does not list its pods yet."""
        self.measurement: Measurement | None = None
        """What is found at every look; None: there is nothing new."""
        self.events: list[str] = []
        self.writes: list[str] = []
        self._serial = 0

    # --- what people do ------------------------------------------------------------------

    def edit(self, resource: ModelDeploymentBuilder) -> None:
        self.resource["spec"] = resource.build()["spec"]
        self.resource["metadata"]["generation"] += 1

    def ask(self, verb: str, **members: Any) -> str:
        """Asks for an action; returns its id."""
        self._serial += 1
        action = {"id": f"a{self._serial}", "verb": verb, **members}
        annotations = self.resource["metadata"].setdefault("annotations", {})
        annotations[actions.ANNOTATION] = json.dumps(action)
        return action["id"]

    def act(self, verb: str, **members: Any) -> dict[str, Any]:
        """Asks for an action, makes a pass, and returns what became of it."""
        identity = self.ask(verb, **members)
        self.one_pass()
        answer: dict[str, Any] = self.status["lastAction"]
        assert self.status["lastActionId"] == identity
        return answer

    def load(self, pods: int) -> None:
        """The autoscaler finds that so many pods are needed. It lets a Deployment of 0 alone."""
        scaled, autoscaler = self._autoscaled(), self._autoscaler()
        if autoscaler and scaled and scaled["spec"]["replicas"]:
            limits = autoscaler["spec"]
            self._serial += 1
            size = min(max(pods, limits["minReplicas"]), limits["maxReplicas"])
            scaled["spec"]["replicas"] = size
            scaled["metadata"]["resourceVersion"] = str(self._serial)

    def lose_status(self) -> None:
        self.resource.pop("status", None)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what the operator does ----------------------------------------------------------

    def observed(self) -> Observed:
        resource = observe.read_resource(copied(self.resource))
        resolution: Resolution | ResolutionError | None = None
        if resource.spec is not None and not resource.invalid:
            resolution = self._resolution(resource)
        ready = [pod["metadata"] for pod in self.serving_pods() if is_ready(pod)]
        listed = [] if self.endpoint_lags else ready
        addresses = [{"targetRef": {"name": metadata["name"]}} for metadata in listed]
        observed = observe.assemble(
            resource=resource,
            defaults=self.defaults,
            resolution=resolution,
            children=copied(
                [
                    *self.deployments.values(),
                    *self.histories.values(),
                    *([self.service] if self.service else []),
                    *self.others.values(),
                    *self.foreign,
                ]
            ),
            pods=copied([*self.pods.values(), *self.router.pods.values()]),
            router_answers=self.router.answers(),
            served={"PodDisruptionBudget": "v1", autoscaling.KIND: "v2"},
            endpoints={"subsets": [{"addresses": addresses}]} if self.service else None,
        )
        return replace(observed, measurement=self._measured(resource))

    def _measured(self, resource: Resource) -> Measurement | None:
        """As `Measurer` gives it: only while two revisions are compared."""
        if resource.spec is None or self.measurement is None:
            return None
        compared = comparison.compared(resource.spec, resource.status)
        return replace(self.measurement, until=self.now) if compared else None

    def one_pass(self, *, dies_after: int | None = None) -> Plan:
        """One pass; with `dies_after` the operator is killed after so many of its writes."""
        plan = self._plan(self.observed())
        for write in list(self._writes_of(plan))[:dies_after]:
            write()
        return plan

    def _plan(self, observed: Observed) -> Plan:
        """As `reconcile` does it: what is refused is known in the next plan of the same pass."""
        plan = decide(observed, self.now)
        for body in plan.applies:
            if self.refuse(body):
                name = body["metadata"]["name"]
                return self._plan(observed.refused(Refusal(body["kind"], name, 422, "no")))
        return plan

    def _writes_of(self, plan: Plan) -> Iterator[Callable[[], None]]:
        for body in plan.applies:
            yield partial(self._apply, copied(dict(body)))
        for scale in plan.scales:
            yield partial(self._scale, scale)
        for touch in plan.touches:
            yield partial(self._touch, touch)
        for delete in plan.deletes:
            yield partial(self._delete, delete)
        if plan.status is not None:
            yield partial(self._put_status, copied(dict(plan.status)))
        for event in plan.events:
            yield partial(self.events.append, f"{event.type} {event.reason}")

    def settle(self, *, seconds: float = 3600, tick: float = 1) -> Plan:
        """Passes, pods and time in turns until nothing more happens."""
        for _ in range(int(seconds / tick)):
            plan = self.one_pass()
            changed = self.play_pods()
            if not plan.writes and not changed and plan.requeue_after is None:
                return plan
            self.wait(tick)
        raise AssertionError(f"not settled: {self.resource.get('status', {}).get('message')}")

    def settle_quickly(self) -> None:
        """As `settle`, with the clock moved straight to what is waited for."""
        for _ in range(60):
            plan = self.one_pass()
            changed = self.play_pods()
            if plan.writes or changed:
                continue
            if plan.requeue_after is None:
                return
            self.now += plan.requeue_after
        raise AssertionError(f"not settled: {self.resource.get('status', {}).get('message')}")

    # --- what the controllers and the kubelet do -----------------------------------------

    def version_revision(self, version: str) -> str:
        """The revision of a version that has a record."""
        return next(
            history["metadata"]["labels"][naming.REVISION_LABEL]
            for history in self.histories.values()
            if history["data"]["version"] == version
        )

    def play_pods(self, at_most: int | None = None) -> bool:
        """Makes the pods of every Deployment what its replicas say; True if any changed. Of each
        revision only `at_most` are ready, where that is given.
        """
        before = copied(self.pods)
        routed = self.router.play(self._of_router("Deployment"), self._of_router("ConfigMap"))
        for name, deployment in self.deployments.items():
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            revision = labels[naming.REVISION_LABEL]
            for index in range(max(deployment["spec"]["replicas"], len(self.pods))):
                pod_name = f"{name}-{index}"
                if index >= deployment["spec"]["replicas"]:
                    self.pods.pop(pod_name, None)
                    continue
                trouble = self.container(revision)
                if trouble is None and at_most is not None and index >= at_most:
                    trouble = waiting("ContainerCreating")
                played = make_pod(
                    pod_name,
                    ready=trouble is None,
                    containers=[trouble] if trouble else [],
                    labels=labels,
                )
                known = self.pods.get(pod_name, played)["metadata"].get("annotations", {})
                played["metadata"] |= {"uid": f"uid-{pod_name}", "annotations": dict(known)}
                self.pods[pod_name] = played
            ready = sum(is_ready(pod) for pod in self.pods_of(revision))
            deployment["status"] = {"availableReplicas": ready} if ready else {}
        return routed or before != self.pods

    # --- questions -----------------------------------------------------------------------

    @property
    def status(self) -> dict[str, Any]:
        return self.resource["status"]

    def condition(self, kind: str) -> tuple[str, str]:
        (found,) = (c for c in self.status["conditions"] if c["type"] == kind)
        return found["status"], found["reason"]

    def serving(self) -> str | None:
        """The stable revision, by the endpoint."""
        route = self.route()
        return route.stable if route else None

    def route(self) -> Route | None:
        """By what is written, or where that is lost by what is held; None where clients are sent
        nowhere.
        """
        if self.routed():
            held = self.router.held()
            lost = held[0] if held else None
            return route_of(document(self._of_router("ConfigMap"))) or lost
        return SERVICE.read(self.observed()).route if self.service else None

    def routed(self) -> bool:
        """Whether clients are sent to the router."""
        return bool(self.service and self.service["spec"]["selector"] == self.router.selector)

    def _of_router(self, kind: str) -> dict[str, Any] | None:
        return self.others.get((kind, self.router.name))

    def weights_by_version(self) -> dict[str | None, int]:
        route = self.route()
        weights = route.weights if route else {}
        return {self.version_of(revision): weight for revision, weight in weights.items()}

    def serving_version(self) -> str | None:
        return self.version_of(self.serving())

    def version_of(self, revision: str | None) -> str | None:
        return next(
            (
                history["data"]["version"]
                for history in self.histories.values()
                if history["metadata"]["labels"][naming.REVISION_LABEL] == revision
            ),
            None,
        )

    def replicas_by_version(self) -> dict[str | None, int]:
        return {
            self.version_of(deployment["metadata"]["labels"][naming.REVISION_LABEL]): deployment[
                "spec"
            ]["replicas"]
            for deployment in self.deployments.values()
        }

    def pods_of(self, revision: str) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.pods.values()
            if pod["metadata"]["labels"][naming.REVISION_LABEL] == revision
        ]

    def serving_pods(self) -> list[dict[str, Any]]:
        """The pods that the endpoint selects."""
        selector = self.service["spec"]["selector"] if self.service else {"no": "endpoint"}
        return [
            pod
            for pod in [*self.pods.values(), *self.router.pods.values()]
            if selector.items() <= pod["metadata"]["labels"].items()
        ]

    def _autoscaler(self) -> dict[str, Any] | None:
        return self.others.get((autoscaling.KIND, self.resource["metadata"]["name"]))

    def _autoscaled(self) -> dict[str, Any] | None:
        """The Deployment that the autoscaler sizes."""
        autoscaler = self._autoscaler()
        name = autoscaler["spec"]["scaleTargetRef"]["name"] if autoscaler else ""
        return self.deployments.get(name)

    def _asked_for(self) -> Any:
        """How many pods what serves must have."""
        autoscaled = self.resource.get("status", {}).get("autoscaled")
        serving = self.deployments.get(f"{self.resource['metadata']['name']}-{self.serving()}")
        replicas = self.resource["spec"].get("replicas", 1)
        if autoscaled and serving and self._autoscaler():
            return serving["spec"]["replicas"]
        if autoscaled and serving and autoscaled["requested"] == replicas:
            return autoscaled.get("held", replicas)
        if limits := self.resource["spec"].get("autoscaling"):
            return min(max(replicas, limits.get("minReplicas", 1)), limits["maxReplicas"])
        return replicas

    # --- the API server ------------------------------------------------------------------

    def _resolution(self, resource: Resource) -> Resolution | ResolutionError:
        """As `observe.resolve` does it, with a registry that knows every version."""
        assert resource.spec is not None
        requested = resource.spec.model
        known = observe.known_model(resource, requested, self.histories.values())
        if known and not actions.wants_resolving(resource.body, resource.status):
            return known
        if self.resolution_error:
            return replace(known, refused=self.resolution_error) if known else self.resolution_error
        return self._resolved(requested)

    def _resolved(self, source: ModelSource) -> Resolution:
        aliased = source.uri.replace("@champion", "/1")
        version = aliased.rsplit("/", 1)[1]
        digest = source.sha256 or self.registered_digest or digest_of(version)
        return Resolution(source, ResolvedModel(aliased, version, digest))

    def _apply(self, body: dict[str, Any]) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        self.writes.append(f"apply {kind}")
        self._serial += 1
        before = self._live(kind, name)
        if before and kind != "ControllerRevision":
            self._check_seen(before, body["metadata"])
        uid = before["metadata"]["uid"] if before else f"{kind}-{self._serial}"
        body["metadata"] |= {"uid": uid, "resourceVersion": str(self._serial)}
        if kind == "Service":
            body["metadata"]["managedFields"] = [applied_fields(body)]
        if kind == "Service" and name == self.resource["metadata"]["name"]:
            self._check_switch(body)
            self.service = body
        elif kind in BESIDE or name == self.router.name:
            if kind == "Service":
                body["spec"]["clusterIP"] = (
                    (before or {})
                    .get("spec", {})
                    .get("clusterIP", f"10.96.{self._serial // 250}.{self._serial % 250 + 1}")
                )
            if kind == "ConfigMap" and name == self.router.name and self.routed():
                self._check_route(route_of(document(body)))
            self.others[kind, name] = body
        elif kind == "ControllerRevision":
            self.histories[name] = body
        else:
            live = self.deployments.get(name, {"spec": {"replicas": 1}})
            body["spec"]["replicas"] = live["spec"].get("replicas", 1)
            body["status"] = live.get("status", {})
            self.deployments[name] = body

    @staticmethod
    def _check_seen(live: dict[str, Any], seen: dict[str, Any]) -> None:
        for key in ("uid", "resourceVersion"):
            if seen.get(key) != live["metadata"][key]:
                raise InvariantBroken(f"written without having been seen: {seen}")

    def _live(self, kind: str, name: str) -> dict[str, Any] | None:
        if kind == "Service" and name == self.resource["metadata"]["name"]:
            return self.service
        if kind in BESIDE or name == self.router.name:
            return self.others.get((kind, name))
        return (self.deployments if kind == "Deployment" else self.histories).get(name)

    def _delete(self, delete: Delete) -> None:
        if (delete.kind, delete.name) in self.others:
            self._check_unused(delete)
            assert self.others.pop((delete.kind, delete.name))["metadata"]["uid"] == delete.uid
            self.writes.append(f"delete {delete.kind}")
            return
        objects = self.deployments if delete.kind == "Deployment" else self.histories
        assert objects[delete.name]["metadata"]["uid"] == delete.uid
        revision = objects[delete.name]["metadata"]["labels"][naming.REVISION_LABEL]
        if self.pods_of(revision):
            raise InvariantBroken(f"{delete.name} has pods and is deleted")
        del objects[delete.name]
        self.writes.append(f"delete {delete.kind}")

    def _touch(self, touch: Touch) -> None:
        self.writes.append("touch")
        if touch.pod in self.router.pods:
            self.router.touch(touch, self._of_router("ConfigMap"))
            return
        annotations = self.pods[touch.pod]["metadata"].setdefault("annotations", {})
        annotations[touch.annotation] = touch.value

    def _put_status(self, status: dict[str, Any]) -> None:
        if sum(weight["weight"] for weight in status.get("traffic", [])) not in (0, 100):
            raise InvariantBroken(f"weights do not sum to 100: {status['traffic']}")
        self.resource["status"] = status
        self.writes.append("status")

    def _check_switch(self, body: dict[str, Any]) -> None:
        if body["spec"]["selector"] == self.router.selector:
            self._check_to_the_router()
            return
        revision = body["spec"]["selector"].get(naming.REVISION_LABEL)
        if revision is None:
            told = json.loads(body["metadata"]["annotations"][ROUTE_ANNOTATION])
            self._check_division(Route(told["stable"], told["canary"], told["weight"]))
            self._check_third_revision(told["stable"], told["canary"])
            return
        self._check_route(Route(revision))

    def _check_to_the_router(self) -> None:
        """Clients are sent to it only when all its pods are ready and divide as they should."""
        deployment = self._of_router("Deployment")
        wanted = deployment["spec"]["replicas"] if deployment else 1
        if self.routed():
            return
        if self.router.ready() < wanted:
            raise InvariantBroken(f"the router gets requests: {self.router.ready()} of {wanted}")
        route = route_of(document(self._of_router("ConfigMap")))
        if behind := [held for held in self.router.held() if held != route]:
            raise InvariantBroken(f"router pods that get requests hold {behind}, not {route}")
        self._check_route(route)

    def _check_unused(self, delete: Delete) -> None:
        """What requests are sent by or to stays."""
        if delete.name == self.router.name and self.routed():
            raise InvariantBroken(f"{delete.kind} of the router goes, and clients are sent to it")
        revision = delete.name.removeprefix(self.router.name.removesuffix("router"))
        if delete.kind == "Service" and self.routed() and self._is_sent_requests(revision):
            raise InvariantBroken(f"the Service of {revision} goes, and a router sends to it")

    def _is_sent_requests(self, revision: str) -> bool:
        """Whether a router pod that clients reach still sends requests to a revision."""
        return any(route.weight_of(revision) for route in self.router.held())

    def _check_route(self, route: Route | None) -> None:
        """The endpoint's selector, or what the router follows: who gets the requests."""
        if route is None:
            raise InvariantBroken("requests are sent nowhere")
        if route.weight:
            self._check_division(route)
            return
        revision = route.stable
        stable = self.resource.get("status", {}).get("stable", {}).get("revision")
        if revision == (self.serving() or stable):
            return
        wanted = self._asked_for()
        ready = sum(is_ready(pod) for pod in self.pods_of(revision))
        serving = sum(is_ready(pod) for pod in self.pods_of(self.serving() or ""))
        asked = max(
            (
                d["spec"]["replicas"]
                for d in self.deployments.values()
                if d["metadata"]["labels"][naming.REVISION_LABEL] == revision
            ),
            default=0,
        )
        if asked < wanted:
            raise InvariantBroken(f"traffic to {revision}, which asks for {asked} of {wanted} pods")
        if ready < max(wanted, serving):
            raise InvariantBroken(
                f"traffic to {ready} ready pods, {wanted} wanted, {serving} serve"
            )

    def _check_division(self, asked: Route) -> None:
        """A weight is written only beside ready pods, and never raised before it is confirmed."""
        before = self.route()
        if before == asked:
            return
        if before and before.stable != asked.stable:
            raise InvariantBroken(f"stable changes in a division: {before} {asked}")
        if before and asked.weight <= before.weight_of(asked.canary):
            return
        for revision in (asked.stable, asked.canary or ""):
            if not any(is_ready(pod) for pod in self.pods_of(revision)):
                raise InvariantBroken(f"requests for {revision}, no pod is ready: {asked}")
        behind = [held for held in self.router.held() if held != before]
        if self.routed() and behind:
            raise InvariantBroken(f"raised to {asked} before {before} was confirmed: {behind}")

    def _check_third_revision(self, *divide: str) -> None:
        others = [
            pod
            for pod in self.pods.values()
            if pod["metadata"]["labels"][naming.REVISION_LABEL] not in divide
        ]
        if others:
            raise InvariantBroken(f"a division reaches {len(others)} pods of other revisions")

    def _check_alone(self, revision: str, replicas: int) -> None:
        others = [pod for pod in self.pods.values() if pod not in self.pods_of(revision)]
        if replicas and others and not self.pods_of(revision):
            raise InvariantBroken(f"{revision} starts beside {len(others)} pods of others")

    def _scale(self, scale: Scale) -> None:
        self.writes.append("scale")
        name, replicas = scale.deployment, scale.replicas
        deployment = self.deployments[name]
        if scale.uid:
            seen = {"uid": scale.uid, "resourceVersion": scale.resource_version}
            self._check_seen(deployment, {**deployment["metadata"], **_given(seen)})
        revision = deployment["metadata"]["labels"][naming.REVISION_LABEL]
        recreates = self.resource["spec"].get("strategy", {}).get("type") == "Recreate"
        wanted = self._asked_for()
        if deployment is self._autoscaled() and deployment["spec"]["replicas"] and not recreates:
            raise InvariantBroken(f"{name} is the autoscaler's and is scaled to {replicas}")
        if recreates:
            self._check_alone(revision, replicas)
        elif revision == self.serving() and isinstance(wanted, int) and 0 <= replicas < wanted:
            raise InvariantBroken(f"{name} serves and is scaled to {replicas}")
        route = self.route()
        if route and route.weight_of(revision) and not replicas and wanted and not recreates:
            raise InvariantBroken(f"{name} has {route.weight_of(revision)}% and is stopped")
        stops = not replicas and wanted and not recreates and self.routed()
        answers = any(is_ready(pod) for pod in self.pods_of(revision))
        if stops and answers and self._is_sent_requests(revision):
            raise InvariantBroken(f"{name} is stopped, and a router sends requests to it")
        deployment["spec"]["replicas"] = replicas


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}
