"""The API server of the small world. It checks the invariants of every rollout at each write."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from model_operator import autoscaling, naming
from model_operator.diagnosis import is_ready
from model_operator.plan import Delete, Scale, Touch
from model_operator.route import Route
from model_operator.timestamps import format_time
from model_operator.traffic.service import ROUTE_ANNOTATION
from tests.operator.world_router import document, route_of
from tests.operator.world_state import WorldState

BESIDE = ("Service", "ConfigMap", "PodDisruptionBudget", autoscaling.KIND, "Job")
"""Kinds of which there may be more than the operator's revisions have."""


def applied_fields(body: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the operator owns of an object that it has applied, as the API server keeps it."""

    def fields_of(value: Any) -> dict[str, Any]:
        members = value.items() if isinstance(value, dict) else ()
        return {f"f:{name}": fields_of(member) for name, member in members}

    told = {name: body["metadata"].get(name) for name in ("labels", "annotations")}
    metadata = {name: value for name, value in told.items() if value}
    content = {name: body[name] for name in ("spec", "data") if name in body}
    owned = fields_of({"metadata": metadata, **content})
    applied = {"manager": naming.MANAGER, "operation": "Apply", "time": format_time(now)}
    return {**applied, "fieldsV1": owned}


class InvariantBroken(AssertionError):
    """A write that may never happen."""


class WorldServer(WorldState):
    """Takes the operator's writes."""

    def _apply(self, body: dict[str, Any]) -> None:
        kind, name = body["kind"], body["metadata"]["name"]
        self.writes.append(f"apply {kind}")
        self._serial += 1
        before = self._live(kind, name)
        if before and kind != "ControllerRevision":
            self._check_seen(before, body["metadata"])
        uid = before["metadata"]["uid"] if before else f"{kind}-{self._serial}"
        body["metadata"] |= {"uid": uid, "resourceVersion": str(self._serial)}
        if kind in ("Service", "ConfigMap"):
            body["metadata"]["managedFields"] = [applied_fields(body, self.now)]
        if kind == "Service" and name == self.resource["metadata"]["name"]:
            self._check_switch(body)
            self.service = body
            self._check_budgets()
        elif kind in BESIDE or name == self.router.name:
            self._apply_beside(body, before)
        elif kind == "ControllerRevision":
            self.histories[name] = body
        else:
            live = self.deployments.get(name, {"spec": {"replicas": 1}})
            body["spec"]["replicas"] = live["spec"].get("replicas", 1)
            body["status"] = live.get("status", {})
            self.deployments[name] = body

    def _apply_beside(self, body: dict[str, Any], before: dict[str, Any] | None) -> None:
        """What is of no revision, or of a provider."""
        kind, name = body["kind"], body["metadata"]["name"]
        if kind == "Service":
            usual = f"10.96.{self._serial // 250}.{self._serial % 250 + 1}"
            body["spec"]["clusterIP"] = (before or {}).get("spec", {}).get("clusterIP", usual)
        if kind == "ConfigMap" and name == self.router.name and self.routed():
            self._check_route(route_of(document(body)))
        if kind == "Job" and before:
            raise InvariantBroken(f"Job {name} is changed: its pods are what it was made with")
        self.others[kind, name] = body
        if kind == "PodDisruptionBudget":
            self._check_no_overlap()
        elif (kind, name) == ("ConfigMap", self.router.name):
            self._check_budgets()

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

    # --- invariants ------------------------------------------------------------------------------

    @staticmethod
    def _check_seen(live: dict[str, Any], seen: dict[str, Any]) -> None:
        for key in ("uid", "resourceVersion"):
            if seen.get(key) != live["metadata"][key]:
                raise InvariantBroken(f"written without having been seen: {seen}")

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

    def _check_budgets(self) -> None:
        """Every revision that gets requests on two pods or more has a budget."""
        budgets = self.budgets()
        route = self.route()
        for revision, weight in route.weights.items() if route else ():
            name = f"{self.resource['metadata']['name']}-{revision}"
            asked = self.deployments.get(name, {"spec": {}})["spec"].get("replicas", 0)
            if weight and asked > 1 and name not in budgets:
                raise InvariantBroken(f"{revision} gets {weight}% on {asked} pods without a budget")

    def _check_no_overlap(self) -> None:
        """No pod is under two budgets: the eviction API would refuse to evict it."""
        for pod in [*self.pods.values(), *self.router.pods.values()]:
            labels = pod["metadata"]["labels"].items()
            over = [name for name, selector in self.budgets().items() if selector.items() <= labels]
            if len(over) > 1:
                raise InvariantBroken(f"a pod is under the budgets {over}")

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


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}
