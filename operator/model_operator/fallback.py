"""What of an invalid spec is still valid: by this the rollout that is under way goes on. Pure.

Asked by `observe`. Which revision runs is taken from the records, never from such a spec; here
it is about the size, the strategy's delays and the endpoint's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_operator import api, validation


def valid_part(
    spec: Mapping[str, Any], status: api.ModelDeploymentStatus
) -> api.ModelDeploymentSpec | None:
    """The spec without the members that are not valid; None when no model was ever resolved.

    Where it is the size that is not valid, the present one stays; in the gap of strategy
    Recreate that is 0, and one pod is better than none. A rollout whose strategy or analysis is
    not valid any more stays where it is: judged and aborted as before, and never promoted.
    """
    if status.model is None:
        return None
    model = status.model.requested.model_dump(mode="json", by_alias=True, exclude_none=True)
    size = max(status.replicas or 0, int(status.current_step_index is not None))
    kept: dict[str, Any] = {"model": model, "replicas": size}
    for name in sorted(spec.keys() - {"model", "server"}, key=_order):
        if _is_valid({**kept, name: spec[name]}):
            kept[name] = spec[name]
    lost = {"strategy", "analysis"} & spec.keys() - kept.keys()
    if "strategy" in lost:
        kept |= _strategy_in_use(spec["strategy"], status)
        if "analysis" in lost and _is_valid({**kept, "analysis": spec["analysis"]}):
            kept["analysis"] = spec["analysis"]
    if lost and status.current_step_index is not None:
        kept["paused"] = True
    return api.ModelDeploymentSpec.model_validate(kept)


def _order(name: str) -> tuple[int, str]:
    """Members that others are measured against come first."""
    first = ("strategy", "progressDeadlineSeconds")
    return (first.index(name) if name in first else len(first), name)


def _strategy_in_use(strategy: Any, status: api.ModelDeploymentStatus) -> dict[str, Any]:
    """A valid strategy of the same type; a canary stays at the weight that it has."""
    kind = strategy.get("type") if isinstance(strategy, Mapping) else None
    introduced = status.canary.revision if status.canary else None
    given = {entry.revision: entry.weight for entry in status.traffic or ()}
    weight, index = given.get(introduced or "", 0), status.current_step_index or 0
    # The recorded index is that of a pause, at the weight that is given.
    pause: dict[str, Any] = {"pause": {}}
    first = {"setWeight": weight} if weight and index else pause
    steps = [first, *([pause] * index)]
    for settings in ({}, {"canary": {"steps": steps}}):
        wanted = {"model": {"uri": "models:/any/1"}, "strategy": {"type": kind, **settings}}
        if _is_valid(wanted):
            return {"strategy": wanted["strategy"]}
    return {}


def _is_valid(spec: Mapping[str, Any]) -> bool:
    return validation.refusal({"metadata": {"name": "any"}, "spec": spec}) is None
