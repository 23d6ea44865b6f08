"""status.rollouts: the rollout that is under way or the last, and those that wait to be recorded.

Pure. `status` asks once in each pass. A rollout begins with the first step towards a revision that
does not serve, and ends with its outcome; both fall into passes that write status anyway. What
comes after an end, such as old pods that stop after a failure, is no part of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from model_operator import api, reasons
from model_operator.api import RolloutStatus
from model_operator.revisions import RevisionRecord
from model_operator.rollout.view import State, Step
from model_operator.timestamps import format_time

KEPT = 5
"""The last rollout, and of those before it as many as wait to be recorded; then the oldest goes."""


@dataclass(frozen=True)
class Found:
    """What one pass found out about the rollout."""

    uid: str
    """The resource's."""
    now: datetime
    target: RevisionRecord | None
    """Where the rollout goes; None while that is not known."""
    serving: str | None
    step: Step | None
    """None when nothing may be decided."""
    strategy: str
    """The one that is followed."""
    records: Mapping[str, RevisionRecord]
    failed: Collection[str]
    """Revisions that are not tried any more, by the new status."""
    failures: Sequence[api.FailureStatus]
    """Why, as far as it is known; what people asked for first."""
    abort: str | None
    """What the action abort did, if it was obeyed in this pass."""
    rolled_back: bool
    """The rollout goes elsewhere than the spec says, by the action rollback."""
    metrics: Sequence[api.MetricStatus]
    """What the analysis says of the target."""
    tracked: bool
    """Whether rollouts are recorded in MLflow."""
    recorded: Mapping[str, api.Recorded]
    """By identity: what became of records since status was written."""


@dataclass(frozen=True)
class End:
    """How a rollout ended."""

    outcome: api.Outcome
    reason: str
    message: str


def identity(uid: str, rollout: RolloutStatus) -> str:
    """The same for one rollout, whoever looks and however often. The time is part of it since
    numbers begin anew where status was lost.
    """
    return f"{uid}/{rollout.number}/{rollout.started_at}"


def update(before: api.ModelDeploymentStatus, found: Found) -> list[RolloutStatus]:
    """The rollouts after a pass, the newest first."""
    known = [_with_what_became_of_it(rollout, found) for rollout in before.rollouts or ()]
    last, earlier = (known[0] if known else None), known[1:]
    if last is not None and last.ended_at is None:
        last = _carried_on(last, before, found)
    if found.target and found.step and _begins(last, found.target, found.step, found.serving):
        earlier = [*([last] if last else ()), *earlier]
        last = _begun(found, found.target, found.step, last.number if last else 0)
    if last is None:
        return []
    return [last, *(rollout for rollout in earlier if rollout.record == "Waiting")][:KEPT]


def _with_what_became_of_it(rollout: RolloutStatus, found: Found) -> RolloutStatus:
    became = found.recorded.get(identity(found.uid, rollout))
    if rollout.record != "Waiting" or became is None:
        return rollout
    return rollout.model_copy(update={"record": became})


def _begins(
    last: RolloutStatus | None, target: RevisionRecord, step: Step, serving: str | None
) -> bool:
    under_way = last is not None and last.ended_at is None
    moves = step.index is not None and step.state is not State.FAILED
    return moves and not under_way and target.revision != serving


def _begun(found: Found, target: RevisionRecord, step: Step, number: int) -> RolloutStatus:
    served = found.records.get(found.serving or "")
    return RolloutStatus(
        number=number + 1,
        strategy=found.strategy,
        revision=target.revision,
        version=target.model.version,
        resolved_uri=target.model.uri,
        registry=target.registry,
        sha256=target.model.sha256,
        from_revision=found.serving,
        from_version=served.model.version if served else None,
        from_uri=served.model.uri if served else None,
        from_registry=served.registry if served else None,
        started_at=format_time(step.started_at or found.now),
        steps=(step.index or 0) + 1,
    )


def _carried_on(
    rollout: RolloutStatus, before: api.ModelDeploymentStatus, found: Found
) -> RolloutStatus:
    """The rollout that was under way, as it stands now."""
    end = _end(rollout, found)
    same = found.target is not None and found.target.revision == rollout.revision
    changes: dict[str, object] = {}
    if rollout.switched_at is None and found.serving == rollout.revision:
        changes["switched_at"] = format_time(found.now)
    if same and found.step and found.step.index is not None:
        changes["steps"] = max(rollout.steps, found.step.index + 1)
    judged = found.metrics if same else ()
    # status.analysis forgets what was found as soon as nothing is judged any more.
    if end or (same and not judged):
        last_words = judged or before.analysis or rollout.analysis or ()
        without_words = [metric.model_copy(update={"message": None}) for metric in last_words]
        changes["analysis"] = without_words or None
    if end:
        changes |= {"outcome": end.outcome, "reason": end.reason, "message": end.message}
        changes["ended_at"] = format_time(found.now)
        changes["record"] = "Waiting" if found.tracked else None
    return rollout.model_copy(update=changes)


def _end(rollout: RolloutStatus, found: Found) -> End | None:
    """How the rollout has ended; None while it is under way."""
    if rollout.revision in found.failed:
        return _failed(rollout, found)
    if found.target is None or found.step is None:
        return None
    if found.target.revision != rollout.revision:
        return _replaced(rollout, found, f"revision {found.target.revision} is wanted instead")
    if found.step.state is not State.COMPLETE:
        return None
    reason = reasons.ROLLED_BACK if found.rolled_back else reasons.COMPLETE
    return End("Complete", reason, found.step.message)


def _replaced(rollout: RolloutStatus, found: Found, instead: str) -> End:
    """Another revision is wanted. One that has all requests already has been rolled out."""
    if found.serving == rollout.revision:
        return End("Complete", reasons.COMPLETE, f"it has all requests; {instead}")
    if found.abort:
        return End("Aborted", reasons.ABORTED, found.abort)
    return End("Cancelled", reasons.CANCELLED, instead)


def _failed(rollout: RolloutStatus, found: Found) -> End:
    why = next((f for f in found.failures if f.revision == rollout.revision), None)
    if why is None:
        return End("RolledBack", reasons.ROLLED_BACK, f"revision {rollout.revision} failed")
    aborted = why.reason == reasons.ABORTED
    return End("Aborted" if aborted else "RolledBack", why.reason, why.message)
