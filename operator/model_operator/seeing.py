"""What a strategy sees of one observation: sizes, times, troubles, and which steps it is in. Pure;
asked by `decide`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from model_operator import canonical, diagnosis, naming
from model_operator.actions import Orders
from model_operator.api import ModelDeploymentSpec, Strategy
from model_operator.judging import Verdicts
from model_operator.observed import Observed
from model_operator.revisions import RevisionRecord
from model_operator.rollout import blue_green, canary, shadow
from model_operator.rollout.view import Size, Trouble, View
from model_operator.route import Reading, Route
from model_operator.timestamps import parse_time
from model_operator.traffic.provider import Provider


def what_the_strategy_sees(
    observed: Observed,
    aim: RevisionRecord | None,
    serving: str | None,
    orders: Orders,
    replicas: int,
    sizes: Mapping[str, Size],
    reading: Reading,
    provider: Provider,
    verdicts: Verdicts,
    now: datetime,
) -> View | None:
    """Everything that the next step is decided from; None when there is nothing to introduce or
    keep.
    """
    spec, recorded = observed.resource.spec, observed.resource.status
    if spec is None or aim is None:
        return None
    paused = is_paused(observed, spec, orders)
    divided = Route(serving, aim.revision, 1) if serving else None
    return View(
        target=aim.revision,
        serving=serving,
        recorded_stable=recorded.stable.revision if recorded.stable else None,
        sizes=sizes,
        replicas=replicas,
        now=now,
        scale_down_delay=timedelta(seconds=spec.strategy.scale_down_delay_seconds),
        progress_deadline=timedelta(seconds=spec.progress_deadline_seconds),
        strategy=spec.strategy,
        route=reading.route,
        serving_confirmed=reading.confirmed,
        unconfirmed=reading.why,
        exact=provider.exact,
        cannot_divide=provider.cannot_divide(observed, divided) if divided else "",
        step_index=recorded.current_step_index,
        same_steps=recorded.current_step_hash in (None, step_hash(observed, orders)),
        step_started_at=step_started_at(observed, now, paused=paused),
        introduced=recorded.canary.revision if recorded.canary else None,
        failed=orders.failed_rollback if orders.rollback_to else orders.failed,
        verdict_recorded=aim.revision in (recorded.failed_revision, recorded.failed_rollback),
        retried=orders.retried,
        analysis=verdicts.analysis,
        shadow=verdicts.shadow,
        promoted=orders.promoted,
        retiring=recorded.retiring,
        paused=paused,
        # A rollback does not wait, and what served a moment ago need not be started.
        rollouts_elsewhere=None if orders.rollback_to else observed.rollouts_elsewhere,
        trouble=refused_for_good(observed, aim) or target_trouble(observed, aim.revision, orders),
    )


def observed_sizes(observed: Observed) -> dict[str, Size]:
    """The size of every revision that has a Deployment."""
    sizes = {}
    for revision, deployment in observed.deployments.items():
        pods = observed.pods.get(revision, ())
        ready = sum(diagnosis.is_ready(pod) for pod in pods)
        told = deployment.get("status", {})
        sizes[revision] = Size(
            desired=deployment["spec"].get("replicas", 1),
            ready=ready,
            available=min(ready, told.get("availableReplicas", 0)),
            existing=len(pods),
            current=told.get("observedGeneration", 0)
            >= deployment["metadata"].get("generation", 0),
        )
    return sizes


def is_paused(observed: Observed, spec: ModelDeploymentSpec, orders: Orders) -> bool:
    """Whether steps are frozen: by an action, else by the spec. A rollback does not wait."""
    if orders.rollback_to:
        return False
    asked = orders.pause_at(observed.resource.generation)
    return spec.paused if asked is None else asked


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
    if (
        revision in (orders.failed, orders.failed_rollback)
        and failure
        and failure.revision == revision
    ):
        return Trouble(failure.reason, failure.message, permanent=True)
    started_at = parse_time(observed.resource.status.step_started_at)
    pods = observed.pods.get(revision, ())
    trouble = diagnosis.crash_loop(pods, started_at) or diagnosis.diagnose(
        pods,
        observed.deployments.get(revision),
        observed.probe_answers,
    )
    told = (failure.revision, failure.reason) if failure else None
    if failure and trouble and trouble.vague and told == (revision, trouble.reason):
        return Trouble(failure.reason, failure.message)
    return trouble


def refused_for_good(observed: Observed, aim: RevisionRecord | None) -> Trouble | None:
    """Whether the target's child was refused while nothing serves for its sake: strategy Recreate
    then goes back, and tries it again only when asked.
    """
    spec = observed.resource.spec
    if aim is None or spec is None or spec.strategy.type != "Recreate":
        return None
    name = naming.revision_child(observed.resource.name, aim.revision)
    for refusal in observed.refusals:
        if refusal.name == name:
            return Trouble(refusal.reason, refusal.sentence, permanent=True)
    return None


def waits_for_promotion(observed: Observed, orders: Orders, introduced: str | None) -> bool:
    """Whether the step that is under way goes on with the action promote."""
    spec, recorded = observed.resource.spec, observed.resource.status
    index = recorded.current_step_index
    ready = any(map(diagnosis.is_ready, observed.pods.get(introduced or "", ())))
    if spec is None or orders.rollback_to or not ready:
        return False
    if recorded.canary is None or recorded.canary.revision != introduced:
        return False
    return {
        "Canary": canary.waits_for_promotion(spec.strategy, index),
        "BlueGreen": blue_green.waits_for_promotion(index),
        "Shadow": shadow.waits_for_promotion(index),
    }.get(spec.strategy.type, False)


def kind_of_rollout(strategy: Strategy, orders: Orders) -> str:
    """The strategy that is followed."""
    straight = orders.rollback_to and strategy.type != "Recreate"
    return "Standard" if straight else strategy.type


def step_hash(observed: Observed, orders: Orders) -> str | None:
    """What an index counts in: the steps of a canary are part of it, other settings are not. An
    invalid spec changes nothing in it.
    """
    spec = observed.resource.spec
    if spec is None or observed.resource.invalid:
        return observed.resource.status.current_step_hash
    kind = kind_of_rollout(spec.strategy, orders)
    steps = canary.steps_of(spec.strategy) if kind == "Canary" else ()
    return canonical.digest(
        {"strategy": kind, "steps": [s.model_dump(by_alias=True, mode="json") for s in steps]}
    )[:10]
