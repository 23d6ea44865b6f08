"""Strategy Recreate: the serving revision ends before the target starts, and that is admitted.

    step 0   every other revision is scaled to 0, and its pods end   requests: nobody answers
    step 1   the target starts                                       requests: nobody answers
    (write)  the endpoint's selector moves: the commit               requests: target

For clusters that cannot hold two revisions at once, such as those with few GPUs. Where the
target fails, the way back is the same: it ends, then the revision that served starts again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from model_operator.rollout import safety, steady
from model_operator.rollout.steady import because
from model_operator.rollout.view import State, Step, Trouble, View

STOPPING_STEP = 0
STARTING_STEP = 1


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return _serve_on(view)
    if view.target == view.failed:
        return _go_back(view, view.trouble)
    if view.paused and not view.has_begun:
        return steady.wait_to_begin(view)
    if not safety.has_the_cluster_for_itself(view, view.target):
        return _stop_others(view)
    return _start(view)


def _start(view: View) -> Step:
    started_at = _start_of(view, STARTING_STEP)
    if safety.may_take_over(view) and not view.paused:
        return Step(
            state=State.SWITCHED,
            message=f"revision {view.target} is ready: moving all requests to it",
            serve=view.target,
            replicas={view.target: view.replicas},
            index=STARTING_STEP,
            started_at=started_at,
        )
    failure = steady.failure(view, started_at)
    if failure and view.serving:
        return _go_back(view, failure)
    return _wait_for_target(view, started_at, failure)


def _serve_on(view: View) -> Step:
    """What does not serve is stopped at once, and the target starts only when it is gone."""
    step = steady.serve_on(replace(view, scale_down_delay=timedelta(0)))
    if view.size(view.target).existing or safety.has_the_cluster_for_itself(view, view.target):
        return step
    return replace(step, replicas={**step.replicas, view.target: 0})


def _stop_others(view: View) -> Step:
    others = [r for r, size in view.sizes.items() if r != view.target and size.desired]
    return Step(
        state=State.PAUSED if view.paused else State.STOPPING,
        message=f"stopping what runs before revision {view.target} starts: nothing serves until "
        "it is ready",
        serve=view.serving,
        replicas=dict.fromkeys(others, 0),
        index=STOPPING_STEP,
        started_at=_start_of(view, STOPPING_STEP),
    )


def _wait_for_target(view: View, started_at: datetime, failure: Trouble | None) -> Step:
    size = view.size(view.target)
    trouble = failure or view.trouble
    left = started_at + view.progress_deadline - view.now
    ready = f"{size.available} of {view.replicas} pods ready"
    return Step(
        state=State.PAUSED if view.paused else State.STARTING,
        message=f"paused: revision {view.target} gets no requests, and nothing serves ({ready})"
        if view.paused
        else f"revision {view.target} is starting, and nothing serves: {ready}{because(trouble)}",
        serve=view.serving,
        replicas={view.target: view.replicas},
        index=STARTING_STEP,
        started_at=started_at,
        trouble=trouble,
        requeue_after=left if left > timedelta(0) and not view.paused else None,
    )


def _go_back(view: View, failure: Trouble | None) -> Step:
    """The target has failed: it ends, then what served before starts again."""
    stopped = dict.fromkeys((r for r, size in view.sizes.items() if size.desired), 0)
    stopped.pop(view.serving or "", None)
    wanted: dict[str, int] = dict(stopped)
    if view.serving:
        alone = safety.has_the_cluster_for_itself(view, view.serving)
        running = view.size(view.serving).existing > 0
        wanted[view.serving] = view.replicas if alone or running else 0
    goes_on = f"; revision {view.serving} serves again once it is ready" if view.serving else ""
    return Step(
        state=State.FAILED,
        message=f"revision {view.target} failed and was stopped{because(failure)}{goes_on}",
        serve=view.serving,
        replicas=wanted,
        failed=view.target,
        trouble=failure,
    )


def _start_of(view: View, index: int) -> datetime:
    recorded = view.step_index == index and view.introduced == view.target
    return view.step_started_at if recorded and view.step_started_at else view.now
