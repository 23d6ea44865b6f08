"""A verdict: what `decide` found out about one condition, before status gives it a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether something holds, with the documented reason and one sentence."""

    holds: bool
    reason: str
    message: str
