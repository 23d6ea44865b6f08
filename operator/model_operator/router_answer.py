"""What a router pod's agent says: read by `observe`, judged by traffic provider Router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

AGENT_PORT = 8001
AGENT_PATH = "/route"


@dataclass(frozen=True)
class RouterAnswer:
    """GET /route of one router pod."""

    hash: str | None = None
    """Of the route document that its HAProxy really holds; None while it holds something else."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Percent by revision, as HAProxy has it."""
    stable: str | None = None
    canary: str | None = None
    error: str | None = None
    """Why it holds something else than its file says."""


def parse(body: Any) -> RouterAnswer:
    """An answer that is not one of an agent's is that of a pod that has taken nothing over."""
    if not isinstance(body, Mapping):
        return RouterAnswer(error="it answered something that is not a JSON object")
    weights = body.get("weights")
    return RouterAnswer(
        hash=_text(body.get("hash")),
        weights={
            revision: weight
            for revision, weight in (weights.items() if isinstance(weights, Mapping) else ())
            if isinstance(revision, str) and type(weight) is int
        },
        stable=_text(body.get("stable")),
        canary=_text(body.get("canary")),
        error=_text(body.get("error")),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
