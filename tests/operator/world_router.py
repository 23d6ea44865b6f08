"""The router of `World`: its pods, and the agent and kubelet of each, by hand."""

from __future__ import annotations

import json
from typing import Any

from model_operator.diagnosis import is_ready
from model_operator.plan import Touch
from model_operator.route import Route
from model_operator.router_answer import RouterAnswer
from model_operator.traffic.router import TOUCH_ANNOTATION
from model_operator.traffic.router_objects import ROUTE_KEY, digest, pod_selector
from tests.operator.builders import make_pod

Body = dict[str, Any]


class WorldRouter:
    """A pod mounts the route at its start, and again when it is touched and `lags` does not say
    that its kubelet takes its time.
    """

    def __init__(self, name: str) -> None:
        self.name = f"{name}-router"
        self.selector = pod_selector(name)
        self.pods: dict[str, Body] = {}
        self.mounted: dict[str, str] = {}
        """By pod: the route document that its agent follows."""
        self.lags = False
        self.at_most: int | None = None
        """So many of its pods are ready; None: all of them."""

    def play(self, deployment: Body | None, config_map: Body | None) -> bool:
        """Makes the pods what the Deployment says; True if any changed."""
        before = json.dumps([self.pods, self.mounted], sort_keys=True)
        wanted = deployment["spec"]["replicas"] if deployment else 0
        for name in [f"{self.name}-{index}" for index in range(max(wanted, len(self.pods)))]:
            if int(name.rsplit("-", 1)[1]) >= wanted:
                self._end(name)
            else:
                self._run(name, document(config_map))
        return json.dumps([self.pods, self.mounted], sort_keys=True) != before

    def die(self) -> None:
        """All pods are gone; their Deployment makes others."""
        for name in list(self.pods):
            self._end(name)

    def touch(self, touch: Touch, config_map: Body | None) -> None:
        """The operator tells a kubelet to look again."""
        annotations = self.pods[touch.pod]["metadata"]["annotations"]
        annotations[touch.annotation] = touch.value
        text = document(config_map)
        if touch.annotation == TOUCH_ANNOTATION and text and not self.lags:
            self.mounted[touch.pod] = text

    def answers(self) -> dict[str, RouterAnswer]:
        """What each agent says."""
        return {name: self._answer(name) for name in self.pods}

    def held(self) -> list[Route]:
        """By what requests are divided in the pods that get any."""
        texts = [self.mounted.get(n) for n, pod in self.pods.items() if is_ready(pod)]
        return [read for text in texts if (read := route_of(text))]

    def ready(self) -> int:
        return sum(map(is_ready, self.pods.values()))

    def _run(self, name: str, text: str | None) -> None:
        limit = self.at_most if self.at_most is not None else len(self.pods) + 1
        if name not in self.pods and text is not None:
            self.mounted[name] = text
        known = self.pods.get(name, {"metadata": {}})["metadata"].get("annotations", {})
        # Without a document the agent is not ready, nor the pod.
        ready = int(name.rsplit("-", 1)[1]) < limit and name in self.mounted
        pod = make_pod(name, ready=ready, labels=dict(self.selector))
        pod["metadata"] |= {"uid": f"uid-{name}", "annotations": dict(known)}
        self.pods[name] = pod

    def _end(self, name: str) -> None:
        self.pods.pop(name, None)
        self.mounted.pop(name, None)

    def _answer(self, name: str) -> RouterAnswer:
        text = self.mounted.get(name)
        route = route_of(text)
        if text is None or route is None:
            return RouterAnswer(error="no route yet")
        return RouterAnswer(
            hash=digest(text), weights=route.weights, stable=route.stable, canary=route.canary
        )


def document(config_map: Body | None) -> str | None:
    """The route in the ConfigMap."""
    text: str | None = ((config_map or {}).get("data") or {}).get(ROUTE_KEY)
    return text


def route_of(text: str | None) -> Route | None:
    """A route document, read."""
    if not text:
        return None
    told = json.loads(text)
    return Route(told["stable"], told["canary"], told["weight"])
