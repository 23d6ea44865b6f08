"""How many pods serve when a HorizontalPodAutoscaler decides it. Pure; asked by `decide`.

There is one autoscaler, on the stable revision; the operator never writes the size of what it
scales, and sizes everything else by it. While a rollout is under way it may not go below the size
that stable has: a canary takes requests away, and what is taken back must find its pods. Nor may
it for a while afterwards: what it reads of the load is older than the end of the rollout.

Switching it off changes no size either: the pods that there are stay until `spec.replicas` is
changed. Status remembers that there was an autoscaler, so that is so whoever dies in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from model_operator import api, naming, reasons, resources
from model_operator.observed import Observed, Resource
from model_operator.rollout import steady
from model_operator.rollout.view import Size, Step
from model_operator.timestamps import format_time, parse_time
from model_operator.verdict import Verdict

Body = Mapping[str, Any]
KIND = "HorizontalPodAutoscaler"
SETTLING = timedelta(seconds=120)
"""By then even a metrics server that looks once a minute tells of the time after the rollout: what
it tells is at most a minute old, and was measured over a minute.
"""
ENDING_POLL = timedelta(seconds=2)
"""Between two looks at one whose deletion somebody else holds up."""


def is_on(observed: Observed) -> bool:
    """By the spec. What an invalid one says of it may be lost: then it stays as it was."""
    resource = observed.resource
    if resource.spec is not None and resource.spec.autoscaling is not None:
        return True
    recorded = resource.status.autoscaled
    return bool(resource.invalid) and recorded is not None and recorded.held is None


def must_be_read(resource: Resource) -> bool:
    """Whether there may be an autoscaler: by the spec, by the record, or since that was lost."""
    spec, recorded = resource.spec, resource.status
    wanted = spec is not None and spec.autoscaling is not None
    return wanted or recorded.autoscaled is not None or recorded.observed_generation is None


def replicas(observed: Observed, serving: str | None, sizes: Mapping[str, Size]) -> int:
    """How many pods a revision that serves everybody has to have. As long as there is an
    autoscaler, it says so.
    """
    spec = observed.resource.spec
    if spec is None:
        return 0
    if is_on(observed) or is_left_over(observed):
        return _size(observed, serving, sizes) or _first_size(spec)
    kept = record(observed, serving, sizes)
    return kept.held if kept and kept.held is not None else spec.replicas


def settling_until(observed: Observed, step: Step | None, now: datetime) -> datetime | None:
    """Until when what an autoscaler reads of the load may be older than the last rollout's end;
    None where it is not.
    """
    recorded = observed.resource.status
    under_way = recorded.current_step_index is not None and recorded.stable is not None
    if under_way and step is not None and step.index is None:
        return now + SETTLING
    told = parse_time(recorded.autoscaled.settling_until) if recorded.autoscaled else None
    return told if told and told > now else None


def record(
    observed: Observed,
    serving: str | None,
    sizes: Mapping[str, Size],
    settling: datetime | None = None,
) -> api.AutoscaledStatus | None:
    """What status remembers of it."""
    spec, recorded = observed.resource.spec, observed.resource.status.autoscaled
    if spec is None or observed.resource.invalid:
        return recorded
    if spec.autoscaling is not None:
        until = format_time(settling) if settling else None
        return api.AutoscaledStatus(requested=spec.replicas, settling_until=until)
    live = _live(observed) is not None
    if recorded is None and not live:
        return None
    known = recorded or api.AutoscaledStatus(requested=spec.replicas)
    if known.held is None or live:  # it may still decide otherwise
        known = api.AutoscaledStatus(
            requested=known.requested, held=_size(observed, serving, sizes)
        )
    needed = known.requested == spec.replicas and known.held not in (0, spec.replicas)
    return known if needed or live else None  # what is forgotten is not looked for again


def wanted(
    observed: Observed, step: Step | None, serving: str | None, replicas: int, now: datetime
) -> Body | None:
    """The autoscaler as it has to be; None where there is none, or it is left as it is."""
    spec, version = observed.resource.spec, observed.autoscaling_api
    if spec is None or spec.autoscaling is None or step is None or version is None:
        return None
    stable = step.serve or serving
    if stable is None:
        return None
    settings = spec.autoscaling
    may_not_shrink = step.index is not None or settling_until(observed, step, now) is not None
    least = max(settings.min_replicas, replicas) if may_not_shrink else settings.min_replicas
    utilization = settings.target_cpu_utilization_percentage
    name = observed.resource.name
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": KIND,
        "metadata": resources.metadata(observed.resource, name, naming.identity_labels(name)),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": naming.revision_child(name, stable),
            },
            "minReplicas": min(least, settings.max_replicas),
            "maxReplicas": settings.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": utilization},
                    },
                }
            ],
        },
    }


def sized(observed: Observed, wanted: Body | None) -> str | None:
    """The Deployment whose size is the autoscaler's: what it scales, and by `wanted` goes on to
    scale. With a router that may be the next stable revision while requests are still on their way.
    """
    live = _live(observed)
    targets = [body["spec"]["scaleTargetRef"]["name"] for body in (live, wanted) if body]
    return targets[0] if len(targets) == 2 and targets[0] == targets[1] else None


def is_left_over(observed: Observed) -> bool:
    """Whether there is an autoscaler although it is switched off."""
    return _live(observed) is not None and not is_on(observed)


def look_again(observed: Observed) -> timedelta | None:
    """When to look whether one that is switched off is gone: nobody watches them."""
    live = _live(observed)
    if live is None or is_on(observed):
        return None
    return ENDING_POLL if "deletionTimestamp" in live["metadata"] else steady.SOON


def obstacle(observed: Observed) -> Verdict | None:
    """Why there can be no autoscaler."""
    if is_on(observed) and observed.autoscaling_api is None:
        words = "the cluster serves neither autoscaling/v2 nor v2beta2: leave spec.autoscaling out"
        return Verdict(True, reasons.INVALID_SPEC, words)
    return None


def _live(observed: Observed) -> Body | None:
    return observed.child(KIND, observed.resource.name)


def _size(observed: Observed, serving: str | None, sizes: Mapping[str, Size]) -> int:
    """What the autoscaler has made of stable; in the gap of strategy Recreate, in which stable has
    no pods, what it may not go below.
    """
    live = _live(observed)
    least: int = live["spec"].get("minReplicas", 1) if live and serving else 0
    return sizes.get(serving or "", Size()).desired or least


def _first_size(spec: api.ModelDeploymentSpec) -> int:
    """Where nothing serves yet."""
    settings = spec.autoscaling
    if settings is None:
        return max(1, spec.replicas)
    return min(max(spec.replicas, settings.min_replicas), settings.max_replicas)
