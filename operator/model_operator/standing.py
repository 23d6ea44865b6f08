"""Where a resource stands, by its own status and without a look at the world: whether there is
something to do, and whether it takes a turn. Pure; `main` and `reconcile` ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from model_operator import actions, api, reasons


def is_settled(body: Mapping[str, Any]) -> bool:
    """Whether a resource says of itself that nothing is to be done: its generation is rolled out,
    and no action waits.
    """
    try:
        told = api.ModelDeploymentStatus.model_validate(body.get("status") or {}, extra="ignore")
    except ValidationError:
        return False
    generation = body["metadata"]["generation"]
    ready = any(
        (condition.type, condition.status) == (reasons.READY, "True")
        and condition.observed_generation == generation
        for condition in told.conditions or ()
    )
    return ready and actions.pending(body, told) is None


def rolls_out(told: Mapping[str, Any]) -> bool:
    """Whether a rollout starts or stops pods, by a status as the API has it: those are limited. One
    that waits, for people, for a pause to end or for something to judge, holds up nobody else, and
    neither does a first revision.
    """
    starts_or_stops = _reason(told, reasons.READY) in (reasons.STARTING, reasons.STOPPING)
    return bool(told.get("stable")) and starts_or_stops


def is_under_way(told: Mapping[str, Any]) -> bool:
    """Whether a rollout is, pods or no pods; one that waits for people is not, and neither is a
    first revision.
    """
    introducing = bool(told.get("stable")) and _reason(told, reasons.READY) == reasons.INTRODUCING
    return introducing or rolls_out(told)


def waits_for_its_turn(told: Mapping[str, Any]) -> bool:
    """Whether a rollout would be under way if there were not so many others."""
    return _reason(told, reasons.READY) == reasons.WAITING_FOR_TURN


def is_stalled(told: Mapping[str, Any]) -> bool:
    """Whether nothing will change until somebody acts, by a status as the API has it."""
    conditions: Iterable[Mapping[str, Any]] = told.get("conditions") or ()
    return any((one["type"], one["status"]) == (reasons.STALLED, "True") for one in conditions)


def is_unavailable(told: Mapping[str, Any]) -> bool:
    """Whether clients of what has served find no ready pod, by a status as the API has it. Neither
    `replicas: 0` is that, nor the gap of strategy Recreate, nor a first revision that starts.
    """
    return _reason(told, reasons.AVAILABLE) == reasons.NO_READY_PODS


def _reason(told: Mapping[str, Any], condition: str) -> str:
    conditions: Iterable[Mapping[str, Any]] = told.get("conditions") or ()
    return next((one["reason"] for one in conditions if one["type"] == condition), "")
