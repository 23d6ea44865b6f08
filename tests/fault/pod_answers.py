"""What the pods of the pod player say over HTTP: model servers their metrics, routers their route.

The proxy asks, where the operator reads a pod through the API server. It cannot be by the pods'
addresses: the API server lists no address of the loopback in an endpoint, and no other address
leads to this process. Everything is as the real parts have it: counters that only grow, and an
agent that follows what its kubelet has mounted, which looks again when the pod changes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_operator import naming
from model_operator.router_answer import AGENT_PATH, AGENT_PORT
from model_operator.traffic.router import TOUCH_ANNOTATION
from model_operator.traffic.router_objects import ROUTE_KEY, pod_selector
from tests.fault.admin import Admin

Body = dict[str, Any]
METRICS = (8000, "/metrics")
AGENT = (AGENT_PORT, AGENT_PATH)
MOUNT_SECONDS = 0.2
"""From a change of the pod to the time at which its mounted ConfigMap is the new one."""
REQUESTS = 100
"""So many a pod has answered between two readings: what is measured is the same in every run."""
COMPARED = 400
"""Predictions that a shadow's pod has compared in all."""


@dataclass
class Says:
    """What the model servers of a namespace count; may be changed at any time."""

    bad: Callable[[Body], bool] = lambda pod: False
    """Pods that answer half of the requests with an error, and predict something else in half."""


@dataclass
class Mounted:
    """What one router pod's file says."""

    text: str | None
    touched: str | None
    """The annotation by which its kubelet was last told to look."""
    due: float | None = None


@dataclass
class PodAnswers:
    """Of all namespaces; `find` gives a running pod by namespace and name."""

    admin: Admin
    find: Callable[[str, str], Body | None]
    clock: Callable[[], float] = time.monotonic
    _says: dict[str, Says] = field(default_factory=dict)
    _reads: dict[str, int] = field(default_factory=dict)
    _mounted: dict[str, Mounted] = field(default_factory=dict)

    def say(self, namespace: str, says: Says) -> None:
        """What is counted in a namespace from now on."""
        self._says[namespace] = says

    async def answer(self, namespace: str, name: str, port: int, path: str) -> tuple[int, str]:
        """Status and body; 503 for a pod that is not there, as the API server says it."""
        pod = self.find(namespace, name)
        if pod is None or "podIP" not in (pod.get("status") or {}):
            return 503, f"no such pod: {name}"
        if _is_router(pod) and (port, path) == AGENT:
            return 200, json.dumps(await self._route(pod))
        if not _is_router(pod) and (port, path) == METRICS:
            return 200, self._metrics(pod)
        return 503, f"nothing listens on port {port} of {name}"

    async def held(self, pod: Body) -> str | None:
        """The route document that a router pod follows; None without one."""
        return (await self._look(pod)).text

    # --- model servers -----------------------------------------------------------------------

    def _metrics(self, pod: Body) -> str:
        uid = pod["metadata"]["uid"]
        self._reads[uid] = self._reads.get(uid, 0) + 1
        requests = self._reads[uid] * REQUESTS
        bad = self._says.get(pod["metadata"]["namespace"], Says()).bad(pod)
        errors, differed = (requests // 2, COMPARED // 2) if bad else (0, 0)
        good = requests - errors
        predict = 'method="POST",path="/predict"'
        bucket = 'http_request_duration_seconds_bucket{path="/predict"'
        return "\n".join(
            [
                f'http_requests_total{{{predict},status="200"}} {good}',
                f'http_requests_total{{{predict},status="500"}} {errors}',
                *(f'{bucket},le="{edge}"}} {requests}' for edge in ("0.1", "1.0", "+Inf")),
                'predictions_overdue{seconds="1"} 0',
                f'prediction_class_total{{class="cat"}} {good // 2}',
                f'prediction_class_total{{class="dog"}} {good - good // 2}',
                f'shadow_predictions_total{{class="cat",agreement="agree"}} {COMPARED - differed}',
                f'shadow_predictions_total{{class="cat",agreement="differ"}} {differed}',
                "process_start_time_seconds 1.0",
                "",
            ]
        )

    # --- routers -----------------------------------------------------------------------------

    async def _route(self, pod: Body) -> Body:
        mounted = await self._look(pod)
        if mounted.text is None:
            return {"hash": None, "error": "no route yet"}
        document = json.loads(mounted.text)
        stable, canary, weight = (document[key] for key in ("stable", "canary", "weight"))
        return {
            "hash": hashlib.sha256(mounted.text.encode()).hexdigest(),
            "stable": stable,
            "canary": canary,
            "weights": {stable: 100 - weight, **({canary: weight} if canary else {})},
            "addresses": {r: told["address"] for r, told in document["revisions"].items()},
            "draining": False,
            "error": None,
        }

    async def _look(self, pod: Body) -> Mounted:
        """The pod's file, after what its kubelet has heard of until now."""
        uid, touched = pod["metadata"]["uid"], _touched(pod)
        mounted = self._mounted.get(uid)
        if mounted is None:
            mounted = self._mounted[uid] = Mounted(await self._config_map(pod), touched)
        if touched != mounted.touched:
            mounted.touched, mounted.due = touched, self.clock() + MOUNT_SECONDS
        if mounted.due is not None and self.clock() >= mounted.due:
            mounted.text, mounted.due = await self._config_map(pod), None
        return mounted

    async def _config_map(self, pod: Body) -> str | None:
        metadata = pod["metadata"]
        name = f"{metadata['labels'][naming.OWNER_LABEL]}-router"
        path = f"/api/v1/namespaces/{metadata['namespace']}/configmaps/{name}"
        found = await self.admin.get(path) or {}
        text: str | None = (found.get("data") or {}).get(ROUTE_KEY)
        return text


def _is_router(pod: Body) -> bool:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return pod_selector(labels.get(naming.OWNER_LABEL, "")).items() <= labels.items()


def _touched(pod: Body) -> str | None:
    annotations: Mapping[str, str] = pod["metadata"].get("annotations") or {}
    return annotations.get(TOUCH_ANNOTATION)
