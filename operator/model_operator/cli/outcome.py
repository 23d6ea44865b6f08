"""Whether a release has ended, and how, by the resource's status. Pure; asked by `deploy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from model_operator import reasons

Body = Mapping[str, Any]

SUPERSEDED = "Superseded"
"""Somebody has changed the spec after what is waited for."""
DELETED = "Deleted"


class End(StrEnum):
    """How a release ended; the JSON's `outcome`."""

    APPLIED = "applied"
    READY = "ready"
    FAILED = "failed"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Release:
    """What was applied, and is waited for."""

    name: str
    namespace: str
    uid: str
    generation: int

    @classmethod
    def of(cls, applied: Body) -> Release:
        """The release that an apply has made."""
        metadata = applied["metadata"]
        return cls(metadata["name"], metadata["namespace"], metadata["uid"], metadata["generation"])


@dataclass(frozen=True)
class Outcome:
    """Where a release stands; `end` is None while it is under way."""

    end: End | None
    reason: str
    message: str


def judge(release: Release, body: Body | None) -> Outcome:
    """Where the release stands. Only what status says of its own generation counts."""
    if body is None or body["metadata"]["uid"] != release.uid:
        words = "the resource was deleted while it was waited for"
        return Outcome(End.FAILED, DELETED, words)
    now = body["metadata"]["generation"]
    if now != release.generation:
        words = f"generation {release.generation} was replaced by generation {now} meanwhile"
        return Outcome(End.FAILED, SUPERSEDED, words)
    ready = condition(body, reasons.READY, release.generation)
    stalled = condition(body, reasons.STALLED, release.generation)
    if ready.get("status") == "True":
        return Outcome(End.READY, ready["reason"], ready["message"])
    if stalled.get("status") == "True":
        return Outcome(End.FAILED, stalled["reason"], stalled["message"])
    if not ready:
        words = "the operator has not looked at it yet: is it running?"
        return Outcome(None, "NotObserved", words)
    status = body.get("status", {})
    return Outcome(None, ready["reason"], status.get("message") or ready["message"])


def condition(body: Body, kind: str, generation: int | None = None) -> Body:
    """A condition, empty when there is none (of that generation)."""
    status = body.get("status") or {}
    for found in status.get("conditions") or ():
        if found["type"] == kind and generation in (None, found.get("observedGeneration")):
            return dict(found)
    return {}


def result(release: Release, body: Body | None, outcome: Outcome, seconds: float) -> Body:
    """The JSON object in which `deploy` tells a pipeline how it ended."""
    status = (body or {}).get("status") or {}
    resolved = condition(body or {}, reasons.MODEL_RESOLVED, release.generation)
    known = resolved.get("status") == "True"
    revision, version = _revision(status, outcome) if known else (None, None)
    return {
        "name": release.name,
        "namespace": release.namespace,
        "outcome": str(outcome.end or End.TIMEOUT),
        "endpoint": status.get("url"),
        "revision": revision,
        "version": version,
        "generation": release.generation,
        "durationSeconds": round(seconds, 1),
        "phase": status.get("phase"),
        "reason": outcome.reason,
        "message": outcome.message,
    }


def _revision(status: Body, outcome: Outcome) -> tuple[str | None, str | None]:
    """Revision and version of what was released, where status knows what that is: what serves once
    it is ready, and before that what is being introduced, or has failed.
    """
    stable, canary = status.get("stable") or {}, status.get("canary") or {}
    failed = status.get("failedRevision")
    if outcome.end in (End.APPLIED, End.REFUSED):
        return None, None
    if outcome.end is End.READY:
        return stable.get("revision"), stable.get("version")
    if canary:
        return canary.get("revision"), canary.get("version")
    return failed, (status.get("model") or {}).get("version") if failed else None
