"""The status of a ModelDeployment: built anew on every pass from what was just observed. Pure.

Conditions are the truth; `phase` and `message` summarise them for people and are never read
back. `lastTransitionTime` moves only when a condition's status changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from model_operator import api, naming, reasons, resolver, rollout_history, seeing
from model_operator.actions import Orders, Verb
from model_operator.judging import Verdicts
from model_operator.observed import Observed
from model_operator.revisions import RevisionRecord
from model_operator.rollout.view import Size, State, Step
from model_operator.route import Reading, Route
from model_operator.timestamps import format_time
from model_operator.verdict import Verdict

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What `decide` found out in one pass; everything that status speaks of."""

    observed: Observed
    now: datetime
    model: api.ModelStatus | None
    model_resolved: Verdict
    wanted: str | None
    """The revision that the spec means; None while that is not known."""
    target: RevisionRecord | None
    """Where the rollout goes: to the wanted revision, or where a rollback asked for."""
    serving: str | None
    records: Mapping[str, RevisionRecord]
    """What every revision was made of, unless that was lost together with status."""
    reading: Reading
    """What the data plane says."""
    replicas: int
    """How many pods a revision that serves everybody has to have."""
    autoscaled: api.AutoscaledStatus | None
    sizes: Mapping[str, Size]
    verdicts: Verdicts
    """What the analysis says."""
    step_hash: str | None
    """Of the strategy and the steps that an index counts in now."""
    step: Step | None
    """None when nothing may be decided: a name is taken, a child was refused."""
    obstacle: Verdict | None
    """What stands in the way from outside the rollout itself."""
    orders: Orders
    """What people asked for by actions."""

    @property
    def rolled_back(self) -> bool:
        """Whether the rollout goes elsewhere than the spec says, by the action rollback."""
        return bool(self.wanted and self.target and self.target.revision != self.wanted)


def build(facts: Facts) -> Body:
    """The whole status, as the API has it."""
    resource = facts.observed.resource
    verdicts = conditions(facts)
    serving, step = facts.serving, facts.step
    introduced = _introduced(facts)
    status = api.ModelDeploymentStatus(
        observed_generation=resource.generation,
        phase=phase(facts, verdicts),
        message=message(verdicts),
        url=_url(facts),
        stable=_revision(serving, facts),
        canary=_revision(introduced, facts),
        traffic=_traffic(facts),
        current_step_index=step.index if step else resource.status.current_step_index,
        current_step_hash=_current_step_hash(facts),
        step_started_at=_step_started_at(facts),
        model=facts.model,
        resolver_job=resolver.recorded(facts.observed, facts.now),
        replicas=facts.sizes.get(serving or "", Size()).desired,
        autoscaled=facts.autoscaled,
        selector=naming.as_selector(naming.pod_selector(resource.name, serving))
        if serving
        else None,
        failed_revision=_failed_revision(facts),
        paused_at=_paused_at(facts),
        retiring=step.retiring if step else resource.status.retiring,
        rollback_to=(step.roll_back_to if step else None) or facts.orders.rollback_to,
        failed_rollback=_failed_rollback(facts),
        held_pause=facts.orders.held_pause,
        last_action_id=next(iter(facts.orders.action_ids), None),
        earlier_action_ids=list(facts.orders.action_ids[1:]) or None,
        last_action=facts.orders.last_action,
        last_failure=_last_failure(facts),
        analysis=list(facts.verdicts.metrics) or None,
        analysed_at=facts.verdicts.analysed_at if facts.verdicts.metrics else None,
        rollouts=rollout_history.update(resource.status, _of_the_rollout(facts)) or None,
        conditions=_with_times(verdicts, facts),
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def conditions(facts: Facts) -> dict[str, Verdict]:
    """The fixed set of conditions, in the order in which they are shown."""
    return {
        reasons.AVAILABLE: _available(facts),
        reasons.READY: _ready(facts),
        reasons.MODEL_RESOLVED: facts.model_resolved,
        reasons.PROGRESSING: _progressing(facts),
        reasons.STALLED: _stalled(facts),
    }


def phase(facts: Facts, verdicts: Mapping[str, Verdict]) -> str:
    """One word for people."""
    if verdicts[reasons.READY].holds:
        return "Healthy"
    halted = facts.step and facts.step.state in (State.PAUSED, State.AWAITING_PROMOTION)
    available = verdicts[reasons.AVAILABLE]
    answers = available.reason != reasons.NO_READY_PODS
    if halted and answers and not verdicts[reasons.STALLED].holds:
        return "Paused"
    as_asked = available.reason in (reasons.NO_STABLE_REVISION, reasons.SCALED_TO_ZERO)
    dark = not available.holds and not as_asked
    if verdicts[reasons.STALLED].holds or dark:
        return "Degraded"
    return "Progressing" if facts.target else "Pending"


def message(verdicts: Mapping[str, Verdict]) -> str:
    """One sentence for people: what stands in the way, else what goes on."""
    for kind in (reasons.STALLED, reasons.PROGRESSING):
        if verdicts[kind].holds:
            return verdicts[kind].message
    if not verdicts[reasons.MODEL_RESOLVED].holds:
        return verdicts[reasons.MODEL_RESOLVED].message
    return verdicts[reasons.READY].message


def _available(facts: Facts) -> Verdict:
    if facts.serving is None:
        return Verdict(False, reasons.NO_STABLE_REVISION, "no revision has become ready yet")
    revision = facts.serving
    reachable = facts.reading.reachable.get(revision, 0)
    if reachable:
        pods = f"{reachable} ready pods"
        return Verdict(True, reasons.SERVING, f"revision {revision} serves with {pods}")
    spec = facts.observed.resource.spec
    if spec and facts.replicas == 0:
        return Verdict(False, reasons.SCALED_TO_ZERO, "replicas is 0: nothing serves, as asked")
    if spec and spec.strategy.type == "Recreate" and facts.step:
        if facts.step.failed:
            words = f"strategy Recreate: nothing serves until revision {revision} is ready again"
            return Verdict(False, reasons.RECREATING, words)
        if facts.step.index is not None and facts.target:
            waited_for = facts.target.revision
            words = f"strategy Recreate: nothing serves until revision {waited_for} is ready"
            return Verdict(False, reasons.RECREATING, words)
    words = f"the endpoint lists no ready pod of revision {revision}"
    return Verdict(False, reasons.NO_READY_PODS, words)


def _ready(facts: Facts) -> Verdict:
    if facts.obstacle:
        return Verdict(False, facts.obstacle.reason, facts.obstacle.message)
    if not facts.model_resolved.holds:
        return Verdict(False, facts.model_resolved.reason, facts.model_resolved.message)
    if facts.step is None:
        return Verdict(False, reasons.STARTING, "nothing has been decided yet")
    if facts.rolled_back and facts.step.state is State.COMPLETE:
        return _rolled_back(facts)
    reason = {
        State.STOPPING: reasons.STOPPING,
        State.PAUSED: reasons.PAUSED,
        State.WAITING: reasons.WAITING_FOR_TURN,
        State.COMPLETE: reasons.COMPLETE,
        State.SCALING: reasons.SCALING,
        State.STARTING: reasons.STARTING,
        State.INTRODUCING: reasons.INTRODUCING,
        State.AWAITING_PROMOTION: reasons.AWAITING_PROMOTION,
        State.SWITCHED: reasons.SWITCHED,
        State.FAILED: reasons.ROLLED_BACK,
    }[facts.step.state]
    return Verdict(facts.step.state is State.COMPLETE, reason, facts.step.message)


def _progressing(facts: Facts) -> Verdict:
    moving = facts.step is not None and facts.step.state in (
        State.WAITING,
        State.SCALING,
        State.STOPPING,
        State.STARTING,
        State.INTRODUCING,
        State.AWAITING_PROMOTION,
        State.SWITCHED,
    )
    ready = _ready(facts)
    stuck = facts.obstacle is None and _stalled(facts).holds
    return Verdict(moving and not stuck, ready.reason, ready.message)


def _stalled(facts: Facts) -> Verdict:
    if facts.obstacle:
        return facts.obstacle
    step = facts.step
    if step and step.trouble and (step.state is State.FAILED or step.trouble.permanent):
        return Verdict(True, step.trouble.reason, step.message)
    if step and step.state is State.FAILED:
        return Verdict(True, reasons.ROLLED_BACK, step.message)
    if facts.rolled_back and step and step.state is State.COMPLETE:
        return replace(_rolled_back(facts), holds=True)
    return Verdict(False, reasons.NOT_STALLED, "nothing stands in the way")


def _rolled_back(facts: Facts) -> Verdict:
    failure = facts.orders.failure or facts.observed.resource.status.last_failure
    by_itself = failure and failure.reason != reasons.ROLLED_BACK
    words = (
        f"rolled back to revision {facts.target.revision if facts.target else ''} "
        f"{f'({failure.message})' if failure and by_itself else 'as asked'}; the "
        f"spec means revision {facts.wanted}: change spec.model or spec.server, or ask for retry"
    )
    return Verdict(False, reasons.ROLLED_BACK, words)


def _introduced(facts: Facts) -> str | None:
    """The revision that is being introduced, or withdrawn."""
    if facts.step and facts.step.canary:
        return facts.step.canary
    revision = facts.target.revision if facts.target else None
    return revision if revision != facts.serving else None


def _revision(revision: str | None, facts: Facts) -> api.RevisionStatus | None:
    if revision is None:
        return None
    record = facts.records.get(revision)
    return api.RevisionStatus(
        revision=revision,
        version=record.model.version if record else None,
        resolved_uri=record.model.uri if record else None,
        sha256=record.model.sha256 if record else None,
        ready_replicas=facts.sizes.get(revision, Size()).ready,
    )


def _failed_revision(facts: Facts) -> str | None:
    failed = facts.step.failed if facts.step and not facts.orders.rollback_to else None
    return failed or facts.orders.failed


def _failed_rollback(facts: Facts) -> str | None:
    """The revision that a rollback asked for, once it has failed."""
    failed = facts.step.failed if facts.step and facts.orders.rollback_to else None
    return failed or facts.orders.failed_rollback


def _paused_at(facts: Facts) -> str | None:
    """Since when the step that is under way is paused."""
    if facts.step is None:
        return facts.observed.resource.status.paused_at
    if facts.step.state is not State.PAUSED or facts.step.index is None:
        return None
    return facts.observed.resource.status.paused_at or format_time(facts.now)


def _last_failure(facts: Facts) -> api.FailureStatus | None:
    """The present trouble of what is being introduced, else why the failed revision failed."""
    trouble = facts.step.trouble if facts.step else None
    if facts.target and trouble:
        return api.FailureStatus(
            revision=facts.target.revision, reason=trouble.reason, message=trouble.message
        )
    recorded = facts.orders.failure or facts.observed.resource.status.last_failure
    failed = (_failed_revision(facts), _failed_rollback(facts))
    return recorded if recorded and recorded.revision in failed else None


def _of_the_rollout(facts: Facts) -> rollout_history.Found:
    """What the history of rollouts goes on from."""
    observed, orders = facts.observed, facts.orders
    resource = observed.resource
    asked_now = next(iter(orders.action_ids), None) != resource.status.last_action_id
    action = orders.last_action if asked_now else None
    abort = action.message if action and action.accepted and action.verb == Verb.ABORT else None
    failed = {_failed_revision(facts), _failed_rollback(facts)}
    return rollout_history.Found(
        uid=resource.uid,
        now=facts.now,
        target=facts.target,
        serving=facts.serving,
        step=facts.step,
        strategy=seeing.kind_of_rollout(resource.spec.strategy, orders) if resource.spec else "",
        records=facts.records,
        failed={revision for revision in failed if revision},
        failures=[failure for failure in (orders.failure, _last_failure(facts)) if failure],
        abort=abort,
        rolled_back=facts.rolled_back,
        metrics=facts.verdicts.metrics,
        tracked=observed.defaults.tracks_rollouts,
        recorded=observed.recorded,
    )


def _url(facts: Facts) -> str | None:
    """None while there is no endpoint."""
    if facts.serving is None and not (facts.step and facts.step.serve):
        return None
    resource, domain = facts.observed.resource, facts.observed.defaults.cluster_domain
    return f"http://{resource.name}.{resource.namespace}.{domain}"


def _traffic(facts: Facts) -> list[api.WeightStatus] | None:
    """What was asked of the data plane last, and what it has confirmed; the revision that is being
    introduced is listed with its 0 percent, too.
    """
    if facts.serving is None:
        return None
    weights = (facts.reading.route or Route(facts.serving)).weights
    introduced = _introduced(facts)
    if introduced and introduced != facts.serving and _divides(facts):
        weights.setdefault(introduced, 0)
    confirmed = facts.reading.confirmed
    actual = facts.reading.actual
    return [
        api.WeightStatus(
            revision=revision,
            weight=weight,
            actual_weight=actual.get(revision, 0) if confirmed else None,
        )
        for revision, weight in weights.items()
    ]


def _divides(facts: Facts) -> bool:
    spec = facts.observed.resource.spec
    return spec is not None and spec.strategy.type == "Canary"


def _current_step_hash(facts: Facts) -> str | None:
    if facts.step is None:
        return facts.observed.resource.status.current_step_hash
    return facts.step_hash if facts.step.index is not None else None


def _step_started_at(facts: Facts) -> str | None:
    if facts.step is None:
        return facts.observed.resource.status.step_started_at
    return format_time(facts.step.started_at) if facts.step.started_at else None


def _with_times(verdicts: Mapping[str, Verdict], facts: Facts) -> list[api.Condition]:
    resource = facts.observed.resource
    before = {c.type: c for c in resource.status.conditions or ()}
    return [
        api.Condition(
            type=kind,
            status="True" if verdict.holds else "False",
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=resource.generation,
            last_transition_time=_since(before.get(kind), verdict, facts.now),
        )
        for kind, verdict in verdicts.items()
    ]


def _since(before: api.Condition | None, verdict: Verdict, now: datetime) -> str:
    if before is not None and (before.status == "True") == verdict.holds:
        return before.last_transition_time
    return format_time(now)


def transitions(before: api.ModelDeploymentStatus, after: Body) -> Iterable[tuple[str, str, str]]:
    """What is worth an Event: (type, reason, message) of each condition that moved; once, and as a
    Warning, where several say the same.

    A model that resolves to something else is news too, though its condition stays True.
    """
    old = {c.type: (c.status, c.reason, c.message) for c in before.conditions or ()}
    news: dict[tuple[str, str], str] = {}
    for condition in after["conditions"]:
        kind, status = condition["type"], condition["status"]
        now = (status, condition["reason"], condition["message"])
        told = _TOLD.get((kind, status))
        if kind == reasons.MODEL_RESOLVED:
            well = (reasons.RESOLVED, reasons.RESOLVING)
            told = "Normal" if condition["reason"] in well else "Warning"
        # What a registry that does not answer says may be other words each time it is asked.
        by_words = kind == reasons.MODEL_RESOLVED and now[1] != reasons.REGISTRY_UNREACHABLE
        compared = 3 if by_words else 2
        if told and old.get(kind, ())[:compared] != now[:compared]:
            said = (condition["reason"], condition["message"])
            news[said] = "Warning" if news.get(said) == "Warning" else told
    return [(told, *said) for said, told in news.items()]


_TOLD = {
    (reasons.STALLED, "True"): "Warning",
    (reasons.PROGRESSING, "True"): "Normal",
    (reasons.READY, "True"): "Normal",
}
