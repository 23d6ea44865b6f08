"""A small model of a cluster for the tests of `decide`: plans go in, observations come out.

It plays the parts of people, the API server (`world_server`), the controllers and the kubelet, one
at a time and by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

from model_operator import actions, naming
from model_operator.decide import decide
from model_operator.diagnosis import is_ready
from model_operator.observed import Observed, Refusal
from model_operator.plan import Plan
from tests.operator.builders import ModelDeploymentBuilder, make_pod, waiting
from tests.operator.world_server import InvariantBroken, WorldServer
from tests.operator.world_state import DEFAULTS, copied

__all__ = ["DEFAULTS", "InvariantBroken", "World"]


class World(WorldServer):
    """Everything in its hands."""

    # --- what people do --------------------------------------------------------------------------

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

    def evict(self, version: str) -> None:
        """A node takes a pod of the version down; what is left of it stays."""
        name, pod = next(
            (name, pod)
            for name, pod in self.pods.items()
            if self.version_of(pod["metadata"]["labels"][naming.REVISION_LABEL]) == version
        )
        del self.pods[name]
        self.ended.append({**pod, "status": {"phase": "Failed", "reason": "Evicted"}})

    def lose_status(self) -> None:
        self.resource.pop("status", None)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what the operator does ------------------------------------------------------------------

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

    # --- what the controllers and the kubelet do -------------------------------------------------

    def play_pods(self, at_most: int | None = None) -> bool:
        """Makes the pods of every Deployment what its replicas say; True if any changed. Of each
        revision only `at_most` are ready, where that is given.
        """
        before = copied(self.pods)
        resolved = self.resolver.play(self.others, self.now)
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
        return routed or resolved or before != self.pods
