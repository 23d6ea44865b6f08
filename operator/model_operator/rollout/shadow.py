"""Strategy Shadow: the target gets copies of live requests, and its predictions are compared.

    step 0   pods for its share of copies start                     requests: serving revision
    step 1   the servers of the serving revision mirror to it       requests: serving revision
    step 2   it agreed often enough, or was promoted: all its pods start
    (write)  the endpoint moves: the commit
    step 3   both at full size for scaleDownDelaySeconds            requests: target

Clients only ever hear the serving revision, until the commit.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from model_operator import api
from model_operator.rollout import safety, standard, steady
from model_operator.rollout.steady import because
from model_operator.rollout.view import State, Step, View

STARTING_STEP = 0
COMPARING_STEP = 1
PROMOTED_STEP = 2
KEPT_STEP = 3


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return steady.serve_on(view, KEPT_STEP)
    if view.serving is None:
        return standard.advance(view)
    if first := steady.before_any_step(view, judged=True):
        # What a verdict was made from goes on until it is recorded.
        compares = steady.is_recorded(view, COMPARING_STEP) and not view.verdict_recorded
        failed = first.state is State.FAILED
        return replace(first, shadow=view.target) if failed and compares else first
    index, started_at = steady.position(view, PROMOTED_STEP)
    take = {STARTING_STEP: _start, COMPARING_STEP: _compare, PROMOTED_STEP: _promote}
    return take[index](view, started_at)


def waits_for_promotion(index: int | None) -> bool:
    """Whether the action promote has something to promote at a step."""
    return index == COMPARING_STEP


def _start(view: View, started_at: datetime) -> Step:
    size, pods = view.size(view.target), _pods(view)
    enough = size.available >= pods and size.desired >= pods and size.current
    if enough and not view.paused and view.recorded_stable is not None:
        return _compare(view, view.now)
    if failure := steady.failure(view, started_at, pods):
        return steady.stay_with_serving(view, failure)
    ready = f"{size.available} of {pods} pods ready"
    return steady.under_way(
        view,
        State.STARTING,
        f"shadow {view.target} is starting: {ready}{because(view.trouble)}",
        index=STARTING_STEP,
        started_at=started_at,
        pods=pods,
        trouble=view.trouble,
        wait=started_at + view.progress_deadline - view.now,
    )


def _compare(view: View, started_at: datetime) -> Step:
    holds = view.shadow.holds or view.analysis.holds
    if (view.promoted or not holds) and not view.paused:
        return _promote(view, view.now)
    settings = view.strategy.shadow or api.Shadow()
    return steady.under_way(
        view,
        State.INTRODUCING,
        f"shadow {view.target} gets a copy of {settings.percent}% of the requests: "
        f"{holds or 'its predictions agree'}",
        index=COMPARING_STEP,
        started_at=started_at,
        pods=_pods(view),
        shadow=view.target,
    )


def _promote(view: View, started_at: datetime) -> Step:
    """It may serve: all its pods start, then the endpoint moves. What it was compared by goes on
    until that is recorded.
    """
    recorded = steady.is_recorded(view, PROMOTED_STEP)
    if recorded and safety.may_take_over(view) and not view.paused:
        both = steady.both_at_full_size(view)
        return steady.take_over(view, both, PROMOTED_STEP, started_at)
    if failure := steady.failure(view, started_at):
        return steady.stay_with_serving(view, failure)
    ready = f"{view.size(view.target).available} of {view.replicas} pods ready"
    return steady.under_way(
        view,
        State.STARTING,
        f"shadow {view.target} is promoted: {ready}{because(view.trouble)}",
        index=PROMOTED_STEP,
        started_at=started_at,
        pods=view.replicas if recorded else _pods(view),
        shadow=None if recorded else view.target,
        trouble=view.trouble,
        wait=started_at + view.progress_deadline - view.now if recorded else steady.SOON,
    )


def _pods(view: View) -> int:
    """Pods of the shadow: enough for its share of the requests."""
    percent = (view.strategy.shadow or api.Shadow()).percent
    return max(1, -(-view.replicas * percent // 100))
