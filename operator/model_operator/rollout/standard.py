"""Strategy Standard: start beside, wait for every replica, switch in one write, keep a while.

    step 0   the target starts beside the serving revision         requests: serving revision
    (write)  the endpoint's selector moves: the commit
    step 1   both at full size for scaleDownDelaySeconds           requests: target
    (none)   the others are scaled to 0

The data plane overrides the record: when the endpoint names another revision than the last
status did, the switch has happened, whoever died in between, and step 1 begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from model_operator.rollout import safety, steady
from model_operator.rollout.steady import because
from model_operator.rollout.view import State, Step, Trouble, View

STARTING_STEP = 0


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return steady.serve_on(view)
    if first := steady.before_any_step(view, judged=False):
        return first
    started_at = _start_of_step_0(view)
    frozen = view.paused and view.target != view.recorded_stable
    ready = safety.may_take_over(view) and not frozen
    if ready and (view.serving is None or steady.is_recorded(view, STARTING_STEP)):
        return steady.take_over(view, steady.both_at_full_size(view), STARTING_STEP, started_at)
    failure = steady.failure(view, started_at)
    if failure and view.serving:
        return steady.stay_with_serving(view, failure)
    return _wait_for_target(view, started_at, failure, ready=ready)


def _wait_for_target(
    view: View, started_at: datetime, failure: Trouble | None, *, ready: bool
) -> Step:
    """Nothing served before, or there is still time: the target goes on starting. One that is
    `ready` at once, as when it is gone back to, waits until status has it that it is meant.
    """
    size = view.size(view.target)
    trouble = failure or view.trouble
    retirement = steady.retire_others(view, started_at)
    waits = [steady.SOON if ready else started_at + view.progress_deadline - view.now]
    waits += [retirement.left] if retirement.kept else []
    pods = f"{size.available} of {view.replicas} pods ready"
    return Step(
        state=State.PAUSED if view.paused else State.STARTING,
        message=f"paused: revision {view.target} gets no requests ({pods})"
        if view.paused
        else f"revision {view.target} is starting: {pods}{because(trouble)}",
        serve=view.serving,
        replicas=steady.both_at_full_size(view) | retirement.stopped,
        index=STARTING_STEP,
        started_at=started_at,
        trouble=trouble,
        requeue_after=None
        if view.paused
        else min((wait for wait in waits if wait > timedelta(0)), default=None),
    )


def _start_of_step_0(view: View) -> datetime:
    recorded = view.step_index == STARTING_STEP and view.introduced == view.target
    started_at = view.step_started_at if recorded and not view.retried else None
    return started_at or view.now
