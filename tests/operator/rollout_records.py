"""Records of rollouts for the tests of what writes them."""

from __future__ import annotations

from typing import Any

from model_operator import rollout_history
from model_operator.api import MetricStatus, RolloutStatus
from model_operator.tracking import RolloutRecord
from tests.operator.builders import digest_of

STARTED, SWITCHED, ENDED = (f"2026-01-01T10:0{minute}:00Z" for minute in range(3))


def rollout(version: int = 2, number: int = 2, **changes: Any) -> RolloutStatus:
    """From the version before to `version`, complete."""
    before = version - 1
    members: dict[str, Any] = {
        "number": number,
        "strategy": "Canary",
        "revision": f"{version:010x}",
        "version": str(version),
        "resolved_uri": f"models:/cats-dogs/{version}",
        "sha256": digest_of(version),
        "from_revision": f"{before:010x}",
        "from_version": str(before),
        "from_uri": f"models:/cats-dogs/{before}",
        "started_at": STARTED,
        "switched_at": SWITCHED,
        "ended_at": ENDED,
        "steps": 5,
        "outcome": "Complete",
        "reason": "Complete",
        "message": "revision serves with 3 of 3 pods ready",
        "analysis": [
            MetricStatus(
                name="error-rate", value=0.005, baseline=0.004, samples=200, verdict="Pass"
            ),
            MetricStatus(name="no data", samples=3, verdict="NoData"),
        ],
        "record": "Waiting",
    }
    return RolloutStatus(**members | changes)


def record(
    rolled_out: RolloutStatus | None = None,
    *,
    namespace: str = "vision",
    name: str = "cats-dogs",
    uid: str = "uid-1",
    live: bool = True,
) -> RolloutRecord:
    """The record of a rollout."""
    told = rolled_out or rollout()
    return RolloutRecord(rollout_history.identity(uid, told), namespace, name, told, live)
