"""Strategy BlueGreen: the target starts whole on NAME-preview, and is switched to when promoted.

    step 0   every pod of the target starts                         requests: serving revision
    step 1   it answers on NAME-preview, judged, until promoted     requests: serving revision
    step 2   promoted: as soon as every pod is ready again          requests: serving revision
    (write)  the endpoint moves: the commit
    step 3   both at full size for scaleDownDelaySeconds, judged    requests: target

A target that fails its analysis in step 3, or whose pods end again and again, is gone back from, as
after the action rollback: the revision before it still has all its pods.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from model_operator import api
from model_operator.rollout import safety, standard, steady
from model_operator.rollout.steady import because
from model_operator.rollout.view import State, Step, View

STARTING_STEP = 0
PREVIEW_STEP = 1
PROMOTED_STEP = 2
KEPT_STEP = 3


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return _serve_on(view)
    if view.serving is None:
        return standard.advance(view)
    if first := steady.before_any_step(view, judged=True):
        # What a verdict was made from goes on until it is recorded.
        shown = view.has_begun and not view.verdict_recorded
        failed = first.state is State.FAILED
        return replace(first, shows=view.target) if failed and shown else first
    index, started_at = steady.position(view, PROMOTED_STEP)
    if index == PREVIEW_STEP:
        return _preview(view, started_at)
    return _start(view, index, started_at)


def waits_for_promotion(index: int | None) -> bool:
    """Whether the action promote has something to promote at a step."""
    return index == PREVIEW_STEP


def _serve_on(view: View) -> Step:
    """As always; and as long as the revision before is kept, a failed analysis or a crash loop
    goes back to it.
    """
    step = steady.serve_on(view, KEPT_STEP)
    loops = view.trouble is not None and view.trouble.looping
    failure = view.trouble if loops else view.analysis.failure
    if failure is None or step.retiring is None:
        return step
    return replace(
        step,
        state=State.FAILED,
        message=f"revision {view.target} failed after the switch: {failure.message}; "
        f"going back to revision {step.retiring}",
        failed=view.target,
        roll_back_to=step.retiring,
        trouble=failure,
        requeue_after=steady.SOON,
    )


def _start(view: View, index: int, started_at: datetime) -> Step:
    """Before the preview, or once promoted: every pod has to be ready."""
    ready = safety.may_take_over(view) and not view.paused
    if ready and index == PROMOTED_STEP and steady.is_recorded(view, index):
        return steady.take_over(view, steady.both_at_full_size(view), index, started_at)
    if ready and index == STARTING_STEP:
        return _preview(view, view.now)
    if failure := steady.failure(view, started_at):
        return steady.stay_with_serving(view, failure)
    pods = f"{view.size(view.target).available} of {view.replicas} pods ready"
    verb = "is promoted" if index == PROMOTED_STEP else "is starting"
    return steady.under_way(
        view,
        State.STARTING,
        f"revision {view.target} {verb}: {pods}{because(view.trouble)}",
        index=index,
        started_at=started_at,
        pods=view.replicas,
        shows=view.target,
        trouble=view.trouble,
        wait=steady.SOON if ready else started_at + view.progress_deadline - view.now,
    )


def _preview(view: View, started_at: datetime) -> Step:
    """Ready on NAME-preview: promoted by the action, or by itself once nothing speaks against."""
    settings = view.strategy.blue_green or api.BlueGreen()
    by_itself = settings.auto_promote and not view.analysis.holds
    if (view.promoted or by_itself) and not view.paused:
        return _start(view, PROMOTED_STEP, view.now)
    awaited = view.analysis.holds if settings.auto_promote else "waiting for the action promote"
    state = State.INTRODUCING if settings.auto_promote else State.AWAITING_PROMOTION
    return steady.under_way(
        view,
        state,
        f"revision {view.target} is ready on the preview: {awaited}",
        index=PREVIEW_STEP,
        started_at=started_at,
        pods=view.replicas,
        shows=view.target,
    )
