"""Strategy Canary: the target's share of the requests is raised in steps, judged at each.

    step i   setWeight: enough pods of the target start, then the weight is written and confirmed
    step i   pause: for a duration, or until the action promote; the analysis goes on
    step n   the target starts in full                              requests: as at the last weight
    (write)  all requests go to the target: the commit
    step n+1 both at full size for scaleDownDelaySeconds            requests: target

Stable keeps its full size until the end. A failure gives the requests back first and stops the
pods afterwards. When no pod of the target is left, its weight is 0 and its setWeight step begins
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from model_operator import api
from model_operator.rollout import safety, standard, steady
from model_operator.rollout.steady import because
from model_operator.rollout.view import State, Step, View


@dataclass(frozen=True)
class Position:
    """Where in its steps a rollout stands."""

    index: int
    started_at: datetime


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    steps = steps_of(view.strategy)
    if view.target == view.serving:
        return steady.serve_on(view, index=len(steps) + 1)
    if view.serving is None:
        return standard.advance(view)
    if first := steady.before_any_step(view, judged=True):
        return first
    return _at(view, steps, _position(view, steps))


def steps_of(strategy: api.Strategy) -> Sequence[api.CanaryStep]:
    """The steps; none where the settings are missing."""
    return strategy.canary.steps if strategy.canary else ()


def waits_for_promotion(strategy: api.Strategy, index: int | None) -> bool:
    """Whether the action promote has a pause to end at a step."""
    steps = steps_of(strategy)
    return index is not None and index < len(steps) and steps[index].pause is not None


def weight_at(steps: Sequence[api.CanaryStep], index: int) -> int:
    """The weight that is asked for at a step: that of the last setWeight, itself included."""
    weights = [step.set_weight for step in steps[: index + 1] if step.set_weight is not None]
    return weights[-1] if weights else 0


def pods_for(weight: int, replicas: int, *, exact: bool) -> int:
    """How many pods of the target carry a weight beside a stable revision of full size. Where the
    ratio of pods makes the weight, as many as come nearest from above, and never more than
    `replicas`: above 50 percent that is out of reach.

    >>> pods_for(10, 3, exact=True), pods_for(50, 3, exact=True)
    (1, 2)
    >>> pods_for(10, 3, exact=False), pods_for(50, 3, exact=False), pods_for(80, 3, exact=False)
    (1, 3, 3)
    """
    share = replicas * weight
    if exact:
        return max(1, -(-share // 100))
    return replicas if weight == 100 else min(replicas, max(1, -(-share // (100 - weight))))


def _position(view: View, steps: Sequence[api.CanaryStep]) -> Position:
    """As recorded. Where status was lost, the last step that asks for no more than the data plane
    gives already.
    """
    if view.has_begun or view.retried:
        return Position(*steady.position(view, len(steps)))
    given = view.weight_of(view.target)
    reached = [i for i, step in enumerate(steps) if 0 < (step.set_weight or 0) <= given]
    return Position(max(reached, default=0), view.now)


def _at(view: View, steps: Sequence[api.CanaryStep], position: Position) -> Step:
    """The step at a position, or the next one where that one is done. Where the target does not
    have the weight any more that was reached before, the step that reached it is taken again.
    """
    if _has_lost_its_weight(view, steps, position):
        again = [i for i in range(position.index) if steps[i].set_weight is not None]
        position = Position(max(again, default=0), view.now)
    if position.index >= len(steps):
        return _finish(view, steps, position)
    step = steps[position.index]
    if step.pause is not None:
        return _pause(view, steps, position, step.pause)
    return _set_weight(view, steps, position)


def _has_lost_its_weight(view: View, steps: Sequence[api.CanaryStep], position: Position) -> bool:
    """None of its pods is left, or somebody else has moved the requests."""
    given = view.weight_of(view.target)
    rests = position.index >= len(steps) or steps[position.index].pause is not None
    taken = rests and given < weight_at(steps, position.index)
    return taken or (given > 0 and not safety.may_keep_weight(view))


def _next(view: View, steps: Sequence[api.CanaryStep], position: Position) -> Step:
    return _at(view, steps, Position(position.index + 1, view.now))


def _enter(view: View, steps: Sequence[api.CanaryStep], position: Position) -> Step:
    """A later step is recorded before anything is changed for it."""
    before = pods_for(weight_at(steps, position.index - 1), view.replicas, exact=view.exact)
    return steady.under_way(
        view,
        State.INTRODUCING,
        f"canary {view.target}: {_place(steps, position)} begins",
        index=position.index,
        started_at=position.started_at,
        pods=view.size(view.target).desired or before,
        weight=_kept_weight(view),
        trouble=view.trouble,
        wait=steady.SOON,
    )


def _set_weight(view: View, steps: Sequence[api.CanaryStep], position: Position) -> Step:
    if position.index and not steady.is_recorded(view, position.index):
        return _enter(view, steps, position)
    asked = weight_at(steps, position.index)
    pods = pods_for(asked, view.replicas, exact=view.exact)
    reached = view.weight_of(view.target) == asked and view.serving_confirmed
    if reached and view.size(view.target).available >= pods and not view.paused:
        return _next(view, steps, position)
    failure = steady.failure(view, position.started_at, pods)
    if failure:
        return steady.stay_with_serving(view, failure)
    raised = safety.may_have_weight(view, pods=pods) and not view.paused
    size = view.size(view.target)
    ready = f"{size.available} of {pods} pods ready"
    at = _place(steps, position)
    if raised or view.weight_of(view.target) == asked:
        words = f"{at}: {asked}% of the requests, once the data plane has it"
    elif size.available >= pods and view.cannot_divide:
        words = f"{at}: {ready}; {view.cannot_divide}"
    else:
        words = f"{at}: {ready} for {asked}%{because(view.trouble)}"
    left = position.started_at + view.progress_deadline - view.now
    return steady.under_way(
        view,
        State.INTRODUCING if size.available >= pods else State.STARTING,
        f"canary {view.target}: {words}",
        index=position.index,
        started_at=position.started_at,
        pods=pods,
        weight=asked if raised else _kept_weight(view),
        trouble=view.trouble,
        wait=left,
    )


def _pause(
    view: View, steps: Sequence[api.CanaryStep], position: Position, pause: api.Pause
) -> Step:
    if view.promoted and not view.paused:
        return _next(view, steps, position)
    asked = weight_at(steps, position.index)
    at = f"{_place(steps, position)}, {asked}% of the requests"
    state, wait = State.AWAITING_PROMOTION, None
    words = f"{at}: waiting for the action promote"
    if pause.duration is not None:
        left = position.started_at + api.parse_duration(pause.duration) - view.now
        if left <= timedelta(0) and not view.analysis.holds and not view.paused:
            return _next(view, steps, position)
        state, wait = State.INTRODUCING, left
        words = f"{at}: waiting {pause.duration}"
        if left <= timedelta(0) and view.analysis.holds:
            words = f"{at}: {view.analysis.holds}"
    return steady.under_way(
        view,
        state,
        f"canary {view.target}: {words}",
        index=position.index,
        started_at=position.started_at,
        pods=pods_for(asked, view.replicas, exact=view.exact),
        weight=_kept_weight(view),
        wait=wait,
    )


def _finish(view: View, steps: Sequence[api.CanaryStep], position: Position) -> Step:
    """All steps are taken: every pod starts, then all requests move in one write."""
    if not steady.is_recorded(view, position.index):
        return _enter(view, steps, position)
    settled = view.serving_confirmed or not view.weight_of(view.target)
    if view.serving and settled and safety.may_take_over(view) and not view.paused:
        both = steady.both_at_full_size(view)
        return steady.take_over(view, both, position.index, position.started_at)
    if failure := steady.failure(view, position.started_at):
        return steady.stay_with_serving(view, failure)
    ready = f"{view.size(view.target).available} of {view.replicas} pods ready"
    return steady.under_way(
        view,
        State.STARTING,
        f"canary {view.target}: all {len(steps)} steps taken, {ready}{because(view.trouble)}",
        index=position.index,
        started_at=position.started_at,
        pods=view.replicas,
        weight=_kept_weight(view),
        trouble=view.trouble,
        wait=position.started_at + view.progress_deadline - view.now,
    )


def _kept_weight(view: View) -> int:
    return view.weight_of(view.target) if safety.may_keep_weight(view) else 0


def _place(steps: Sequence[api.CanaryStep], position: Position) -> str:
    if position.index >= len(steps):
        return f"the end after {len(steps)} steps"
    return f"step {position.index + 1} of {len(steps)}"
