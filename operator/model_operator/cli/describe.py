"""Parts of a status in words, for `status` and for the progress of `deploy --wait`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from model_operator import reasons
from model_operator.cli.arguments import PROGRAM
from model_operator.cli.outcome import condition
from model_operator.cli.preview import step_in_words
from model_operator.timestamps import parse_time

Body = Mapping[str, Any]

_STEPS = {
    "Standard": ("the new pods start", "the old revision is kept for a while"),
    "Recreate": ("the old pods end", "the new pods start"),
    "BlueGreen": (
        "the new pods start",
        "on the preview Service, until promoted",
        "promoted: every pod is waited for",
        "the old revision is kept for a while",
    ),
    "Shadow": (
        "the new pods start",
        "its predictions are compared",
        "it agreed: every pod starts",
        "the old revision is kept for a while",
    ),
}
"""By strategy, what happens at each step index."""


def step(body: Body) -> str:
    """The step that is under way, as `step 2 of 4: wait 5m`; empty when there is none."""
    index = (body.get("status") or {}).get("currentStepIndex")
    if index is None:
        return ""
    strategy = body.get("spec", {}).get("strategy") or {}
    if strategy.get("type") == "Canary":
        return _canary_step((strategy.get("canary") or {}).get("steps") or (), index)
    words = _STEPS.get(strategy.get("type", "Standard"), ())
    what = f": {words[index]}" if index < len(words) else ""
    return f"step {index + 1} of {max(len(words), index + 1)}{what}"


def _canary_step(steps: Sequence[Body], index: int) -> str:
    """The steps of the spec count; what follows them is told without a number."""
    if index < len(steps):
        return f"step {index + 1} of {len(steps)}: {step_in_words(steps[index])}"
    last = "every new pod starts" if index == len(steps) else "the old revision is kept for a while"
    return f"all {len(steps)} steps taken: {last}"


def weight(entry: Body | None) -> str:
    """A revision's share of the requests, and whether the data plane has confirmed it."""
    if entry is None:
        return ""
    asked, actual = entry["weight"], entry.get("actualWeight")
    if actual == asked:
        return f"{asked}% of the requests"
    confirmed = "not confirmed" if actual is None else f"{actual}% confirmed"
    return f"{asked}% asked, {confirmed}"


def weights(body: Body) -> dict[str, Body]:
    """The entries of status.traffic by revision."""
    return {entry["revision"]: entry for entry in (body.get("status") or {}).get("traffic") or ()}


def progress(body: Body | None, message: str) -> str:
    """One line on how far a rollout is."""
    if body is None:
        return message
    status = body.get("status") or {}
    parts = [body["metadata"]["name"], status.get("phase") or "Pending"]
    if at := step(body):
        parts.append(at)
    canary = status.get("canary") or {}
    if entry := weights(body).get(canary.get("revision", "")):
        parts.append(weight(entry))
    if condition(body, reasons.READY).get("reason") == reasons.AWAITING_PROMOTION:
        message = f"{message} (`{PROGRAM} promote {parts[0]}`)"
    return f"{'  '.join(parts)}  {message}"


def age(since: str | None, now: datetime) -> str:
    """How long ago a time was, as kubectl writes it.

    >>> from datetime import UTC
    >>> age("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 5, 17, tzinfo=UTC))
    '1m12s'
    """
    moment = parse_time(since)
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if seconds < 120:
        return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"
    if minutes < 120:
        return f"{minutes}m{seconds % 60}s" if minutes < 10 else f"{minutes}m"
    return f"{hours}h" if hours < 48 else f"{days}d"
