"""The decision: one pure, total function from what was observed to what is done.

No I/O, no clock, no randomness: the same observation at the same time gives the same plan.
`reconcile` calls it; the chain below is its table of contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from model_operator import (
    actions,
    autoscaling,
    judging,
    reasons,
    resolver,
    seeing,
    status,
    target,
)
from model_operator.actions import Orders, Situation
from model_operator.children import Children
from model_operator.errors import ResolutionDelayed, ResolutionError, ResolutionPending
from model_operator.observed import Observed, Resolution
from model_operator.plan import Event, Plan
from model_operator.revisions import RevisionRecord
from model_operator.rollout import blue_green, canary, recreate, safety, shadow, standard
from model_operator.rollout.view import Size, State, Step, Trouble, View
from model_operator.route import Reading, Route
from model_operator.status import Facts
from model_operator.traffic import providers, side_services
from model_operator.verdict import Verdict

PREDECESSOR_POLL = timedelta(seconds=2)
PROBE_POLL = timedelta(seconds=20)
MEASURE_PAUSE = timedelta(milliseconds=100)
"""The least time between two looks at what pods have counted."""
REGISTRY_PAUSE = timedelta(seconds=60)
REFUSAL_PAUSE = timedelta(seconds=8)
"""A quota, an admission rule or a role may be mended at any moment, and nothing tells of it."""
_TEMPORARY = (reasons.RESOLVING, reasons.SOURCE_UNREACHABLE, reasons.REGISTRY_UNREACHABLE)
STRATEGIES = {
    "Standard": standard.advance,
    "Recreate": recreate.advance,
    "Canary": canary.advance,
    "BlueGreen": blue_green.advance,
    "Shadow": shadow.advance,
}


def decide(observed: Observed, now: datetime) -> Plan:
    """What one pass over one ModelDeployment does."""
    model, model_resolved = target.settle_model(observed)
    records = target.known_records(observed, model)
    wanted = target.wanted_revision(observed, model)
    provider = providers.chosen(observed)
    reading = providers.read(observed, provider)
    serving = target.serving_revision(observed, reading.route)
    if reading.route is None or reading.route.stable != serving:
        reading = Reading(approximate=reading.approximate, why=reading.why)
    orders = obeyed_orders(observed, wanted, records, serving)
    aim = target_record(observed, wanted, serving, orders, records)
    obstacle = find_obstacle(observed, model_resolved)
    sizes = seeing.observed_sizes(observed)
    replicas = autoscaling.replicas(observed, serving, sizes)
    verdicts = judging.judge(observed, aim.revision if aim else None, retried=orders.retried)
    view = seeing.what_the_strategy_sees(
        observed, aim, serving, orders, replicas, sizes, reading, provider, verdicts, now
    )
    step = next_step(view, orders) if view else None
    blocked = blocks_the_rollout(observed, obstacle) and not seeing.refused_for_good(observed, aim)
    if view and step and blocked and not safety.takes_requests_away(view, step):
        step = None
    divides = view is not None and view.divides
    route = wanted_route(
        step, aim, serving, sizes, reading.route, divides=divides, exact=provider.exact
    )
    settling = autoscaling.settling_until(observed, step, now)
    facts = Facts(
        observed=observed,
        now=now,
        model=model,
        model_resolved=model_resolved,
        wanted=wanted,
        target=aim,
        serving=serving,
        records=records,
        reading=reading,
        replicas=replicas,
        autoscaled=autoscaling.record(observed, serving, sizes, settling),
        sizes=sizes,
        verdicts=verdicts,
        step_hash=seeing.step_hash(observed, orders),
        step=step,
        obstacle=obstacle,
        orders=orders,
    )
    new_status = status.build(facts)
    children = Children(observed, records, aim, serving, step, provider, route, replicas, now)
    applies = tuple(children.applies())
    return Plan(
        applies=applies,
        replacements=tuple(children.replacements()),
        scales=tuple(children.scales(applies)),
        touches=tuple(children.touches()),
        deletes=tuple(children.deletes(blocked=obstacle is not None)),
        status=new_status if new_status != last_status(observed) else None,
        events=tuple(Event(*t) for t in status.transitions(observed.resource.status, new_status)),
        requeue_after=requeue_after(observed, step, reading, now),
        back_off=longest_back_off(observed),
        waits_for_turn=step is not None and step.state is State.WAITING,
    )


def obeyed_orders(
    observed: Observed,
    wanted: str | None,
    records: Mapping[str, RevisionRecord],
    serving: str | None,
) -> Orders:
    """What people asked for beyond the spec, the newest action included."""
    resource = observed.resource
    recorded = resource.status
    unresolved = why_unresolved(observed)
    in_force = actions.recorded_orders(recorded, wanted, serving)
    spec = resource.spec
    introduced = wanted or target.running_revision(observed, serving)
    return actions.obey(
        actions.pending(resource.body, recorded),
        in_force,
        Situation(
            name=resource.name,
            generation=resource.generation,
            wanted=wanted,
            introduced=introduced,
            serving=serving,
            step_index=recorded.current_step_index,
            promotable=seeing.waits_for_promotion(observed, in_force, introduced),
            paused=spec is not None and seeing.is_paused(observed, spec, in_force),
            status_lost=recorded.observed_generation is None and bool(observed.deployments),
            kept=records.keys(),
            resolving=str(unresolved or observed.resource.invalid or ""),
            resolving_delayed=isinstance(unresolved, ResolutionDelayed),
        ),
    )


def target_record(
    observed: Observed,
    wanted: str | None,
    serving: str | None,
    orders: Orders,
    records: Mapping[str, RevisionRecord],
) -> RevisionRecord | None:
    """Where the rollout goes: to what the spec means or a rollback asked for; where that is not
    known, on to where it was going.
    """
    asked_for = records.get(orders.rollback_to or "")
    if asked_for is not None:
        return target.as_newest(asked_for, observed)
    if wanted is None:
        return records.get(target.running_revision(observed, serving) or "")
    aim = records[wanted]
    return aim if orders.failed == wanted else target.as_newest(aim, observed)


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
    refused = [Verdict(True, refusal.reason, refusal.sentence) for refusal in observed.refusals]
    cannot = autoscaling.obstacle(observed) or providers.obstacle(observed)
    if found := cannot or next(iter(refused), None):
        return found
    if not model_resolved.holds and not _may_still_be_resolved(observed, model_resolved):
        return Verdict(True, model_resolved.reason, model_resolved.message)
    return None


def _may_still_be_resolved(observed: Observed, model_resolved: Verdict) -> bool:
    """Whether nobody has to act. While a registry is asked again, its last word still counts."""
    if observed.awaits_registry:
        return model_resolved.reason in _TEMPORARY
    return isinstance(observed.resolution, ResolutionDelayed)


def blocks_the_rollout(observed: Observed, obstacle: Verdict | None) -> bool:
    """Whether what runs has to stand still too. An invalid spec and a model that cannot be
    resolved only keep something new from starting.
    """
    return bool(observed.namesakes or observed.refusals) and obstacle is not None


def longest_back_off(observed: Observed) -> timedelta | None:
    """How long to wait at most before a registry that did not answer is asked again, or a child
    that was refused is written again; None when neither happened.
    """
    if observed.refusals:
        return REFUSAL_PAUSE
    match why_unresolved(observed):
        case ResolutionPending():
            return None  # its Job is watched
        case ResolutionDelayed():
            return REGISTRY_PAUSE
    return None


def why_unresolved(observed: Observed) -> ResolutionError | None:
    """Why the registry had no answer to what was asked in this pass."""
    answer = observed.resolution
    return answer.refused if isinstance(answer, Resolution) else answer


def next_step(view: View, orders: Orders) -> Step:
    """Asks the strategy. A rollback goes straight to a revision that has served before."""
    return STRATEGIES[seeing.kind_of_rollout(view.strategy, orders)](view)


def wanted_route(
    step: Step | None,
    aim: RevisionRecord | None,
    serving: str | None,
    sizes: Mapping[str, Size],
    written: Route | None,
    *,
    divides: bool,
    exact: bool,
) -> Route | None:
    """The route that the step asks for; undecided, the one that is there. A canary that has pods
    is named before it has a weight, so that it can be asked for by a header, and is known to the
    data plane when its first request comes.
    """
    stable = step.serve if step else serving
    if stable is None:
        return None
    if step is None:
        return written or Route(stable)
    revision = step.canary or (aim.revision if aim else None)
    named = step.weight > 0 or (divides and step.replicas.get(revision or "", 0) > 0)
    # First the name, then the weight: however long the operator was away, no revision has requests
    # before the data plane has confirmed that it knows it.
    known = written is not None and written.canary == revision
    weight = step.weight if known or not exact else 0
    route = Route(stable, revision, weight) if named and revision != stable else Route(stable)
    if written and safety.must_stay(written, route, sizes):
        return written
    return route


def last_status(observed: Observed) -> Mapping[str, Any]:
    """The status as it stands in the API server."""
    body: Mapping[str, Any] = observed.resource.body.get("status") or {}
    return body


def requeue_after(
    observed: Observed, step: Step | None, reading: Reading, now: datetime
) -> timedelta | None:
    """When to look again although nothing is heard of. What probes answer is not watched, nor
    what pods have counted.
    """
    if any(namesake.predecessor for namesake in observed.namesakes):
        return PREDECESSOR_POLL
    waits = [wait] if (wait := resolver.look_again(observed, now)) else []
    if step is None:
        return min(waits, default=None)
    if step.requeue_after:
        waits.append(step.requeue_after)
    if step.state is State.STARTING and _only_probes_can_tell(step.trouble):
        waits.append(PROBE_POLL)
    if poll := providers.look_again(observed, reading):
        waits.append(poll)
    settling = autoscaling.settling_until(observed, step, now)
    if settling is not None and autoscaling.is_on(observed):
        waits.append(settling - now)
    if not step.shadow and (left := side_services.notices_for(observed, now)):
        waits.append(left)
    if poll := autoscaling.look_again(observed):
        waits.append(poll)
    if observed.measurement_due is not None:
        waits.append(max(MEASURE_PAUSE, observed.measurement_due - now))
    return min(waits, default=None)


def _only_probes_can_tell(trouble: Trouble | None) -> bool:
    return trouble is None or trouble.reason == reasons.NOT_READY
