"""Traffic through a proxy of the resource's own, exact by turn. Provider Router.

Pure, as every provider. The route is one key of ConfigMap `NAME-router`; the agent in each router
pod applies it and answers with its hash. Service `NAME` selects the router pods, from the moment
at which all of them have taken a route over.

From Service to Router: the revisions' Services (their addresses are waited for), ConfigMap,
Deployment and budget; then `router_is_ready`; then the endpoint. Back: the endpoint first; once
it lists no router pod any more, `obsolete` names Deployment and budget, whose pods answer for
their drain; once those have ended, the ConfigMap and the Services that they sent requests to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from model_operator import api, diagnosis, reasons, resources
from model_operator.diagnosis import is_ready
from model_operator.observed import Observed
from model_operator.plan import Touch
from model_operator.route import Reading, Route
from model_operator.router_answer import RouterAnswer
from model_operator.timestamps import format_time, parse_time
from model_operator.traffic import revision_services, router_objects, service
from model_operator.traffic.router_objects import digest, pod_selector, written_text
from model_operator.verdict import Verdict

Body = dict[str, Any]

TOUCH_ANNOTATION = f"{api.GROUP}/route-hash"
"""Of a router pod: which document its kubelet was asked to look for, and when."""
TOUCH_AGAIN = timedelta(seconds=2)
"""A kubelet that was asked before it had heard of the new ConfigMap has mounted the old one."""
TOUCHES_SOON = 4
"""So often it is asked so soon; after that less and less, for its trouble is another."""
TOUCH_SELDOM = timedelta(seconds=30)
POLL = timedelta(seconds=0.5)
"""When to look again while an agent has not taken the route over: nothing tells of it."""
SLOW_POLL = timedelta(seconds=5)
"""The same once that takes long, or while it is pods that are waited for, which are watched."""
NO_IMAGE = (
    "no image for the router is known: set spec.traffic.router.image, or CV_FACTORY_ROUTER_IMAGE "
    "of the operator"
)


class RouterProvider:
    """Exact weights, confirmed by every router pod."""

    exact = True

    def objects(self, observed: Observed, route: Route) -> Sequence[Body]:
        """The revisions' Services, ConfigMap, Deployment, budget, and the endpoint last.

        While a revision has no address the route that is written stays. The endpoint divides
        requests by itself until the router is ready; a new resource gets it then.
        """
        resource = observed.resource
        written = written_route(observed)
        wanted = route.weights | (written.weights if written else {})
        revisions = wanted | dict.fromkeys(revision_services.running(observed), 0)
        bodies = [revision_services.revision_service(resource, r) for r in revisions]
        document = router_objects.route_document(observed, route) or written_text(observed)
        made_of = router_objects.record(observed)
        if document and made_of:
            bodies += [
                router_objects.config_map(resource, document, made_of),
                router_objects.deployment(resource, made_of),
            ]
            if observed.budget_api:
                bodies.append(router_objects.budget(resource, observed.budget_api))
        if endpoint_names_router(observed) or router_is_ready(observed, route):
            bodies.append(service.endpoint(observed, pod_selector(resource.name)))
        elif observed.service is not None:
            bodies += service.SERVICE.objects(observed, route)
        return bodies

    def read(self, observed: Observed) -> Reading:
        """The route in the ConfigMap, confirmed once every pod that may get a request has it.
        Before the endpoint names the router, what the endpoint gives; without a ConfigMap, what
        all agents agree on.
        """
        if not endpoint_names_router(observed):
            reading = service.SERVICE.read(observed)
            why = _why_not(observed) or "clients are not sent to the router yet"
            return replace(reading, confirmed=False, actual={}, approximate=False, why=why)
        route = written_route(observed) or _answered_route(observed)
        reached = route.weights if route and _listed(observed) else {}
        ready = {r: sum(map(is_ready, observed.pods.get(r, ()))) for r in reached}
        why = _why_not(observed) or _why_not_listed(observed)
        confirmed = route is not None and not why
        return Reading(
            route=route,
            confirmed=confirmed,
            actual=route.weights if route and confirmed else {},
            reachable=ready,
            why=why,
        )

    def cannot_divide(self, observed: Observed, route: Route) -> str:  # noqa: ARG002
        """Nothing stands in the way: a route names its two revisions."""
        return ""

    def obsolete(self, observed: Observed) -> Sequence[tuple[str, str]]:
        """While the router is used, Services that no route needs. After it: its pods once the
        endpoint lists none of them, and the rest once they have ended.
        """
        resource = observed.resource
        spec, name = resource.spec, router_objects.router_name(resource)
        if spec is None or spec.traffic.provider == "Router":
            reading = self.read(observed)
            if not reading.confirmed or reading.route is None:
                return ()
            used = {*reading.route.weights, *revision_services.running(observed)}
            return revision_services.unused(observed, used)
        if endpoint_names_router(observed) or _listed(observed):
            return ()
        workload = [("Deployment", name), (resources.BUDGET_KIND, name)]
        if observed.router_pods or observed.child("Deployment", name):
            return [key for key in workload if observed.child(*key)]
        # Provider GatewayAPI gives requests to the same Services.
        services = revision_services.unused(observed, ()) if written_text(observed) else []
        left = services if spec.traffic.provider == "Service" else []
        return [key for key in (*workload, *left, ("ConfigMap", name)) if observed.child(*key)]


ROUTER = RouterProvider()


def endpoint_names_router(observed: Observed) -> bool:
    """Whether clients are sent to the router pods."""
    wanted = pod_selector(observed.resource.name)
    return observed.service is not None and observed.service["spec"].get("selector") == wanted


def router_is_ready(observed: Observed, route: Route) -> bool:
    """Whether the router can be given the clients: all its pods are ready and hold this route."""
    made_of = router_objects.record(observed)
    ready = sum(map(is_ready, observed.router_pods))
    return (
        made_of is not None
        and ready >= max(1, made_of.replicas)
        and (written := written_route(observed)) is not None
        and written.gives_as(route)
        and not _why_not(observed)
    )


def written_route(observed: Observed) -> Route | None:
    """The route in the ConfigMap; None without one, or where somebody has made it nonsense."""
    document = router_objects.read_document(observed)
    stable, canary, weight = (document.get(key) for key in ("stable", "canary", "weight"))
    if not isinstance(stable, str) or not isinstance(canary, str | None):
        return None
    if type(weight) is not int or not 0 <= weight <= 100:
        return None
    return Route(stable, canary, weight)


def touches(observed: Observed, now: datetime) -> Iterator[Touch]:
    """Router pods whose kubelets are to look at the ConfigMap now instead of within a minute: once
    for each document, and again while the agent does not answer its hash.
    """
    text = written_text(observed)
    if text is None:
        return
    wanted = digest(text)
    for pod in observed.router_pods:
        metadata = pod["metadata"]
        answer = observed.router_answers.get(metadata["name"])
        if answer is None or answer.hash == wanted or "deletionTimestamp" in metadata:
            continue
        times, asked_at = _touched(pod, wanted)
        pause = min(TOUCH_SELDOM, TOUCH_AGAIN * 2 ** max(0, times - TOUCHES_SOON))
        if asked_at and now - asked_at < pause:
            continue
        value = f"{wanted[:16]} {format_time(now)} {min(times, 2 * TOUCHES_SOON) + 1}"
        yield Touch(metadata["name"], metadata["uid"], TOUCH_ANNOTATION, value)


def look_again(observed: Observed) -> timedelta:
    """When to look at a router again that is not confirmed."""
    wanted = digest(written_text(observed) or "")
    behind = [pod for pod in _reached(observed) if _answer(observed, pod).hash != wanted]
    soon = any(_touched(pod, wanted)[0] < 2 * TOUCHES_SOON for pod in behind)
    return POLL if soon else SLOW_POLL


def obstacle(observed: Observed) -> Verdict | None:
    """What somebody has to mend before this provider can work; None where nothing is known."""
    spec = observed.resource.spec
    if spec is None or spec.traffic.provider != "Router":
        return None
    if router_objects.record(observed) is None:
        return Verdict(True, reasons.ROUTER_IMAGE_MISSING, NO_IMAGE)
    if any(map(is_ready, observed.router_pods)):
        return None
    if diagnosis.crash_loop(observed.router_pods, None) or _is_overdue(observed):
        return Verdict(True, reasons.ROUTER_NOT_READY, _no_pod_is_ready(observed))
    return None


def _is_overdue(observed: Observed) -> bool:
    """Whether the Deployment has given up waiting for its pods."""
    conditions = (_workload(observed) or {}).get("status", {}).get("conditions", ())
    return any(told.get("reason") == "ProgressDeadlineExceeded" for told in conditions)


def _workload(observed: Observed) -> Mapping[str, Any] | None:
    return observed.child("Deployment", router_objects.router_name(observed.resource))


def _no_pod_is_ready(observed: Observed) -> str:
    trouble = diagnosis.diagnose(observed.router_pods, _workload(observed), observed.probe_answers)
    return f"no router pod is ready{f': {trouble.message}' if trouble else ''}"


def _touched(pod: Mapping[str, Any], wanted: str) -> tuple[int, datetime | None]:
    """How often a pod's kubelet was told of a document, and when last."""
    told = (pod["metadata"].get("annotations") or {}).get(TOUCH_ANNOTATION, "").split(" ")
    if len(told) != 3 or told[0] != wanted[:16] or not told[2].isdecimal():
        return 0, None
    return int(told[2]), parse_time(told[1])


def _answer(observed: Observed, pod: Mapping[str, Any]) -> RouterAnswer:
    return observed.router_answers.get(pod["metadata"]["name"], RouterAnswer())


def _reached(observed: Observed) -> list[Mapping[str, Any]]:
    """The router pods that may get requests: the ready ones, and those that are still listed."""
    listed = observed.endpoint_pods or frozenset()
    used = listed if endpoint_names_router(observed) else frozenset()
    return [p for p in observed.router_pods if is_ready(p) or p["metadata"]["name"] in used]


def _why_not(observed: Observed) -> str:
    """Why not every router pod has what is written; empty when all have."""
    if router_objects.record(observed) is None:
        return NO_IMAGE
    text, reached = written_text(observed), _reached(observed)
    if text is None:
        return "the router's ConfigMap is not written yet"
    if not reached:
        return _no_pod_is_ready(observed)
    behind = [pod for pod in reached if _answer(observed, pod).hash != digest(text)]
    if not behind:
        return ""
    names = {pod["metadata"]["name"]: _answer(observed, pod).error for pod in behind}
    told = next((f": {name}: {error}" for name, error in sorted(names.items()) if error), "")
    return f"{len(behind)} of {len(reached)} router pods have not taken the route over{told}"


def _listed(observed: Observed) -> frozenset[str]:
    """The router pods that the endpoint gives requests to."""
    names = frozenset(pod["metadata"]["name"] for pod in observed.router_pods)
    return names & (observed.endpoint_pods or frozenset())


def _why_not_listed(observed: Observed) -> str:
    """Why clients may be somewhere else than the endpoint's selector says; empty when not."""
    if not observed.endpoint_pods or observed.endpoint_pods != _listed(observed):
        return "the endpoint does not list the router pods yet"
    return ""


def _answered_route(observed: Observed) -> Route | None:
    """What all reached agents hold, where the ConfigMap is lost."""
    held = {
        Route(answer.stable, answer.canary, answer.weights.get(answer.canary or "", 0))
        for answer in (_answer(observed, pod) for pod in _reached(observed))
        if answer.stable
    }
    return held.pop() if len(held) == 1 else None
