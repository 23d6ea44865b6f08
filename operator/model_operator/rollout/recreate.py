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

from model_operator import reasons
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
    if view.waits_to_begin:
        return _wait_to_begin(view)
    if view.paused and view.step_index == STOPPING_STEP:
        return _stop_others(view)
    if not safety.has_the_cluster_for_itself(view, view.target):
        return _stop_others(view)
    return _start(view)


def _wait_to_begin(view: View) -> Step:
    """Held before its first step. What a rollout before it has stopped starts again, once the
    pods of that one have ended. While it is not known what serves, nothing is stopped.
    """
    step = steady.wait_to_begin(view)
    return replace(step, replicas=_sizes_on_the_way_back(view)) if view.serving else step


def _start(view: View) -> Step:
    started_at = _start_of(view, STARTING_STEP)
    if safety.may_take_over(view) and not view.paused:
        return steady.take_over(view, {view.target: view.replicas}, STARTING_STEP, started_at)
    failure = steady.failure(view, started_at)
    if failure and view.serving:
        return _go_back(view, failure)
    return _wait_for_target(view, started_at, failure)


def _serve_on(view: View) -> Step:
    """The target has the endpoint. Where it was stopped already, on the way to a revision that
    is not wanted any more, that one ends first: no request reaches it.
    """
    alone = safety.has_the_cluster_for_itself(view, view.target)
    if alone or view.size(view.target).existing:
        return steady.serve_on(replace(view, scale_down_delay=timedelta(0)))
    return _stop_others(view)


def _stop_others(view: View) -> Step:
    others = [r for r, size in view.sizes.items() if r != view.target and size.desired]
    left = sum(size.existing for r, size in view.sizes.items() if r != view.target)
    started_at = _start_of(view, STOPPING_STEP)
    due = started_at + view.progress_deadline
    trouble = None
    if view.now >= due and not view.paused:
        seconds = f"{view.progress_deadline.total_seconds():.0f} s"
        words = f"{left} pods of other revisions have not ended after {seconds}"
        trouble = Trouble(reasons.PODS_REMAIN, words, permanent=True)
    pods = f"{left} pods of other revisions end before revision {view.target} starts"
    return Step(
        state=State.PAUSED if view.paused else State.STOPPING,
        message="paused: nothing serves until the rollout is resumed or aborted"
        if view.paused
        else f"{pods}; nothing serves until it is ready",
        serve=view.serving,
        replicas=dict.fromkeys(others, 0),
        index=STOPPING_STEP,
        started_at=started_at,
        trouble=trouble,
        requeue_after=None if trouble or view.paused else due - view.now,
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
    """The target has failed: it ends, then what served before starts again.

    The verdict is recorded first: with the target's pods goes what it was made from.
    """
    goes_on = ""
    if view.serving:
        back = view.serving_confirmed and view.size(view.serving).available >= view.replicas
        words = "goes on serving" if back else "serves again once it is ready"
        goes_on = f"; revision {view.serving} {words}"
    return Step(
        state=State.FAILED,
        message=steady.stopped(view, failure) + goes_on,
        serve=view.serving,
        replicas=_sizes_on_the_way_back(view) if view.verdict_recorded else {},
        failed=view.target,
        trouble=failure,
        requeue_after=None if view.verdict_recorded else steady.SOON,
    )


def _sizes_on_the_way_back(view: View) -> dict[str, int]:
    sizes = dict.fromkeys((r for r, size in view.sizes.items() if size.desired), 0)
    if view.serving:
        alone = safety.has_the_cluster_for_itself(view, view.serving)
        running = view.size(view.serving).existing > 0
        sizes[view.serving] = view.replicas if alone or running else 0
    return sizes


def _start_of(view: View, index: int) -> datetime:
    recorded = view.step_index == index and view.introduced in (view.target, None)
    started_at = view.step_started_at if recorded and not view.retried else None
    return started_at or view.now
