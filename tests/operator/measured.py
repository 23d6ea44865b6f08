"""Measurements for tests: `make_counters(100, errors=3)`, `make_measurement(canary=..., ...)`."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from model_operator import api
from model_operator.measurement import Counters, Measurement, QueryResult, RevisionMeasurement

CANARY, STABLE = "c000000000", "5000000000"
BEGAN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
EDGES = (0.1, 0.2, 0.3, 0.5, 1.0, math.inf)


def make_analysis(*metrics: dict[str, Any], **fields: Any) -> api.Analysis:
    chosen = metrics or ({"name": "error-rate", "max": 0.01},)
    return api.Analysis.model_validate({"metrics": list(chosen), **fields})


def make_counters(
    requests: int = 100,
    *,
    errors: int = 0,
    seconds: float = 0.05,
    predictions: dict[str, int] | None = None,
) -> Counters:
    """All requests took that many seconds; half of the pictures were cats."""
    half = requests // 2
    return Counters(
        requests=requests,
        errors=errors,
        durations={edge: requests if seconds <= edge else 0 for edge in EDGES},
        predictions=predictions or {"cat": half, "dog": requests - half},
    )


def make_revision(
    window: Counters | None = None, step: Counters | None = None, **fields: Any
) -> RevisionMeasurement:
    window = window or make_counters()
    return RevisionMeasurement(**{"window": window, "step": step or window, "pods": 1} | fields)


def make_measurement(
    canary: RevisionMeasurement | None = None,
    stable: RevisionMeasurement | None = None,
    queries: dict[tuple[str, str], QueryResult] | None = None,
) -> Measurement:
    return Measurement(
        since=BEGAN,
        until=BEGAN + timedelta(seconds=30),
        revisions={CANARY: canary or make_revision(), STABLE: stable or make_revision()},
        queries=queries or {},
    )
