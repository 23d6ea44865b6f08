"""The decision: one pure, total function from what was observed to what is done.

No I/O, no clock, no randomness: the same observation at the same time gives the same plan.
`reconcile` calls it; the chain below is its table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from model_operator import actions, diagnosis, reasons, status, target
from model_operator.actions import Orders, Situation
from model_operator.children import Children
from model_operator.errors import ResolutionDelayed
from model_operator.observed import Observed, Resolution
from model_operator.plan import Event, Plan
from model_operator.revisions import RevisionRecord
from model_operator.rollout import recreate, standard
from model_operator.rollout.view import Size, State, Step, Trouble, View
from model_operator.status import Facts
from model_operator.timestamps import parse_time
from model_operator.traffic import service
from model_operator.verdict import Verdict

PREDECESSOR_POLL = timedelta(seconds=2)
PROBE_POLL = timedelta(seconds=20)
REGISTRY_PAUSE = timedelta(seconds=60)
REFUSAL_PAUSE = timedelta(seconds=8)
"""A quota, an admission rule or a role may be mended at any moment, and nothing tells of it."""
STRATEGIES = {"Standard": standard.advance, "Recreate": recreate.advance}


def decide(observed: Observed, now: datetime) -> Plan:
    """What one pass over one ModelDeployment does."""
    model, model_resolved = target.settle_model(observed)
    records = target.known_records(observed, model)
    wanted = target.wanted_revision(observed, model)
    serving = records.get(target.serving_revision(observed) or "")
    orders = obeyed_orders(observed, wanted, records, serving)
    aim = target_record(observed, wanted, orders, records)
    obstacle = find_obstacle(observed, model_resolved)
    sizes = observed_sizes(observed)
    confirmed = serving is not None and service.is_confirmed(observed, serving.revision)
    step = None
    if not blocks_the_rollout(observed, obstacle):
        step = next_step(observed, aim, serving, orders, sizes, confirmed, now)
    facts = Facts(
        observed=observed,
        now=now,
        model=model,
        model_resolved=model_resolved,
        wanted=wanted,
        target=aim,
        serving=serving,
        serving_confirmed=confirmed,
        reachable_pods=service.reachable_pods(observed, serving.revision) if serving else 0,
        sizes=sizes,
        step=step,
        obstacle=obstacle,
        orders=orders,
    )
    new_status = status.build(facts)
    children = Children(observed, records, aim, serving, step)
    return Plan(
        applies=tuple(body for body in children.applies() if may_write(observed, body)),
        replacements=tuple(children.replacements()),
        scales=tuple(children.scales()),
        deletes=tuple(children.deletes()) if obstacle is None else (),
        status=new_status if new_status != last_status(observed) else None,
        events=tuple(Event(*t) for t in status.transitions(observed.resource.status, new_status)),
        requeue_after=requeue_after(observed, step),
        back_off=longest_back_off(observed),
    )


def obeyed_orders(
    observed: Observed,
    wanted: str | None,
    records: Mapping[str, RevisionRecord],
    serving: RevisionRecord | None,
) -> Orders:
    """What people asked for beyond the spec, the newest action included."""
    resource = observed.resource
    recorded = resource.status
    again = observed.resolution.refused if isinstance(observed.resolution, Resolution) else None
    return actions.obey(
        actions.pending(resource.body, recorded.last_action_id),
        actions.recorded_orders(recorded, wanted),
        Situation(
            generation=resource.generation,
            wanted=wanted,
            serving=serving.revision if serving else None,
            step_index=recorded.current_step_index,
            kept=records.keys(),
            resolving=again.message if again else "",
            resolving_delayed=isinstance(again, ResolutionDelayed),
        ),
    )


def target_record(
    observed: Observed,
    wanted: str | None,
    orders: Orders,
    records: Mapping[str, RevisionRecord],
) -> RevisionRecord | None:
    """Where the rollout goes: to what the spec means or a rollback asked for; where that is not
    known, on to where it was going.
    """
    if wanted is None:
        return records.get(target.running_revision(observed) or "")
    asked_for = orders.rollback_to if orders.failed == wanted else None
    aim = records.get(asked_for or wanted, records[wanted])
    return aim if orders.failed == aim.revision else target.as_newest(aim, observed)


def find_obstacle(observed: Observed, model_resolved: Verdict) -> Verdict | None:
    """What stands in the way from outside the rollout, the gravest first."""
    if observed.resource.invalid:
        return Verdict(True, reasons.INVALID_SPEC, observed.resource.invalid)
    for namesake in observed.namesakes:
        if namesake.predecessor:
            words = f"waiting for {namesake.kind} {namesake.name} of a deleted resource to go"
            return Verdict(False, reasons.WAITING_FOR_PREDECESSOR, words)
        words = (
            f"{namesake.kind} {namesake.name} exists and belongs to somebody else; "
            "delete or rename it, or rename this resource"
        )
        return Verdict(True, reasons.NAME_CONFLICT, words)
    if observed.refusal:
        refusal = observed.refusal
        words = f"{refusal.kind} {refusal.name} was refused: {refusal.message}"
        return Verdict(True, reasons.INVALID_SPEC, words)
    if not model_resolved.holds and not isinstance(observed.resolution, ResolutionDelayed):
        return Verdict(True, model_resolved.reason, model_resolved.message)
    return None


def blocks_the_rollout(observed: Observed, obstacle: Verdict | None) -> bool:
    """Whether what runs has to stand still too. An invalid spec and a model that cannot be
    resolved only keep something new from starting.
    """
    return bool(observed.namesakes or observed.refusal) and obstacle is not None


def longest_back_off(observed: Observed) -> timedelta | None:
    """How long to wait at most before a registry that did not answer is asked again, or a child
    that was refused is written again; None when neither happened.
    """
    if observed.refusal:
        return REFUSAL_PAUSE
    answer = observed.resolution
    refused = answer.refused if isinstance(answer, Resolution) else answer
    return REGISTRY_PAUSE if isinstance(refused, ResolutionDelayed) else None


def may_write(observed: Observed, body: Mapping[str, Any]) -> bool:
    """An object under a name that is taken is left alone, and so is one that was just refused."""
    identity = (body["kind"], body["metadata"]["name"])
    taken = {(namesake.kind, namesake.name) for namesake in observed.namesakes}
    refused = observed.refusal and (observed.refusal.kind, observed.refusal.name)
    return identity not in taken and identity != refused


def observed_sizes(observed: Observed) -> dict[str, Size]:
    """The size of every revision that has a Deployment."""
    sizes = {}
    for revision, deployment in observed.deployments.items():
        pods = observed.pods.get(revision, ())
        ready = sum(diagnosis.is_ready(pod) for pod in pods)
        available = deployment.get("status", {}).get("availableReplicas", 0)
        sizes[revision] = Size(
            desired=deployment["spec"].get("replicas", 1),
            ready=ready,
            available=min(ready, available),
            existing=len(pods),
        )
    return sizes


def next_step(
    observed: Observed,
    aim: RevisionRecord | None,
    serving: RevisionRecord | None,
    orders: Orders,
    sizes: Mapping[str, Size],
    confirmed: bool,  # noqa: FBT001 - one fact among others
    now: datetime,
) -> Step | None:
    """Asks the strategy; None when there is nothing to introduce or keep."""
    spec, recorded = observed.resource.spec, observed.resource.status
    if spec is None or aim is None:
        return None
    asked = orders.pause_at(observed.resource.generation)
    paused = spec.paused if asked is None else asked
    return STRATEGIES[spec.strategy.type](
        View(
            target=aim.revision,
            serving=serving.revision if serving else None,
            recorded_stable=recorded.stable.revision if recorded.stable else None,
            sizes=sizes,
            replicas=spec.replicas,
            now=now,
            scale_down_delay=timedelta(seconds=spec.strategy.scale_down_delay_seconds),
            progress_deadline=timedelta(seconds=spec.progress_deadline_seconds),
            serving_confirmed=confirmed,
            step_index=recorded.current_step_index,
            step_started_at=step_started_at(observed, now, paused=paused),
            introduced=recorded.canary.revision if recorded.canary else None,
            failed=orders.failed,
            paused=paused,
            trouble=target_trouble(observed, aim.revision, orders),
        )
    )


def step_started_at(observed: Observed, now: datetime, *, paused: bool) -> datetime | None:
    """When the recorded step began; the time of a pause that has just ended does not count."""
    recorded = observed.resource.status
    started, paused_at = parse_time(recorded.step_started_at), parse_time(recorded.paused_at)
    if started and paused_at and not paused:
        return started + max(timedelta(0), now - max(started, paused_at))
    return started


def target_trouble(observed: Observed, revision: str, orders: Orders) -> Trouble | None:
    """What the target's pods suffer from; once it has failed, what was recorded then."""
    failure = orders.failure or observed.resource.status.last_failure
    if orders.failed == revision and failure and failure.revision == revision:
        return Trouble(failure.reason, failure.message, permanent=True)
    return diagnosis.diagnose(
        observed.pods.get(revision, ()),
        observed.deployments.get(revision),
        observed.probe_answers,
    )


def last_status(observed: Observed) -> Mapping[str, Any]:
    """The status as it stands in the API server."""
    body: Mapping[str, Any] = observed.resource.body.get("status") or {}
    return body


def requeue_after(observed: Observed, step: Step | None) -> timedelta | None:
    """When to look again although nothing is heard of. What probes answer is not watched."""
    if any(namesake.predecessor for namesake in observed.namesakes):
        return PREDECESSOR_POLL
    if step and step.state is State.STARTING and _only_probes_can_tell(step.trouble):
        return min(step.requeue_after or PROBE_POLL, PROBE_POLL)
    return step.requeue_after if step else None


def _only_probes_can_tell(trouble: Trouble | None) -> bool:
    return trouble is None or trouble.reason == reasons.NOT_READY
