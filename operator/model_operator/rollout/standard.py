"""Strategy Standard: start beside, wait for every replica, switch in one write, keep a while.

    step 0   the target starts beside the serving revision         requests: serving revision
    (write)  the endpoint's selector moves: the commit
    step 1   both at full size for scaleDownDelaySeconds           requests: target
    (none)   the others are scaled to 0

The data plane overrides the record: when the endpoint names another revision than the last
status did, the switch has happened, whoever died in between, and step 1 begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from model_operator import reasons
from model_operator.rollout import safety
from model_operator.rollout.view import State, Step, Trouble, View

STARTING_STEP = 0
RETIRING_STEP = 1


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return _serve_on(view)
    if view.target == view.failed:
        return _stay_with_serving(view, view.trouble)
    started_at = _start_of_step_0(view)
    if safety.may_take_over(view):
        return Step(
            state=State.SWITCHED,
            message=f"revision {view.target} is ready: moving all requests to it",
            serve=view.target,
            replicas=_both_at_full_size(view),
            index=STARTING_STEP,
            started_at=started_at,
        )
    failure = _failure(view, started_at)
    if failure and view.serving:
        return _stay_with_serving(view, failure)
    return _wait_for_target(view, started_at, failure)


@dataclass(frozen=True)
class _Retirement:
    """What becomes of the revisions that are neither wanted nor serving."""

    stopped: dict[str, int]
    """To be scaled to 0 now."""
    kept: tuple[str, ...]
    """Still at full size, since they may have served until the last switch."""
    left: timedelta
    """Until those may be stopped."""


def _retire_others(view: View, since: datetime | None) -> _Retirement:
    """A revision that never served is stopped at once, one that may have served only
    scaleDownDelaySeconds after `since`, when its successor took over or a later rollout began.
    """
    others = [
        revision
        for revision, size in view.sizes.items()
        if revision not in (view.target, view.serving) and size.desired > 0
    ]
    left = (since or view.now) + view.scale_down_delay - view.now
    due = since is None or left <= timedelta(0)
    stopped = [
        revision
        for revision in others
        if safety.may_stop(view, revision, due=due or revision == view.introduced)
    ]
    kept = tuple(revision for revision in others if revision not in stopped)
    return _Retirement(dict.fromkeys(stopped, 0), kept, max(left, timedelta(seconds=1)))


def _serve_on(view: View) -> Step:
    """The target serves: retire the others, then see that it has all its pods."""
    since = _start_of_step_1(view)
    retirement = _retire_others(view, since)
    wanted = {view.target: view.replicas, **retirement.stopped}
    if retirement.kept:
        return Step(
            state=State.SWITCHED,
            message=f"revision {view.target} serves; {_named(retirement.kept)} stays for "
            f"{view.scale_down_delay.total_seconds():.0f} s after the switch",
            serve=view.target,
            replicas=wanted,
            index=RETIRING_STEP,
            started_at=since or view.now,
            requeue_after=retirement.left,
        )
    size = view.size(view.target)
    ready = f"{size.available} of {view.replicas} pods ready"
    if retirement.stopped:
        state = State.SWITCHED
        words = f"serves; stopping {_named(tuple(retirement.stopped))}"
    elif size.available < view.replicas or size.desired != view.replicas:
        state, words = State.SCALING, f"has {ready}" + _because(view.trouble)
    elif view.replicas and not view.serving_confirmed:
        state, words = State.SCALING, f"has {ready}; its endpoint does not list them all yet"
    else:
        state, words = State.COMPLETE, f"serves with {ready}"
    return Step(
        state=state,
        message=f"revision {view.target} {words}",
        serve=view.target,
        replicas=wanted,
        trouble=view.trouble if state is State.SCALING else None,
    )


def _stay_with_serving(view: View, failure: Trouble | None) -> Step:
    """The target has failed: stop it, and leave the requests where they are."""
    retirement = _retire_others(view, view.step_started_at)
    wanted = {view.target: 0} if view.size(view.target).desired else {}
    if view.serving:
        wanted[view.serving] = view.replicas
    return Step(
        state=State.FAILED,
        message=f"revision {view.target} failed and was stopped" + _because(failure),
        serve=view.serving,
        replicas=wanted | retirement.stopped,
        index=view.step_index if retirement.kept else None,
        started_at=view.step_started_at if retirement.kept else None,
        failed=view.target,
        trouble=failure,
        requeue_after=retirement.left if retirement.kept else None,
    )


def _wait_for_target(view: View, started_at: datetime, failure: Trouble | None) -> Step:
    """Nothing served before, or there is still time: the target goes on starting."""
    size = view.size(view.target)
    trouble = failure or view.trouble
    retirement = _retire_others(view, started_at)
    waits = [started_at + view.progress_deadline - view.now]
    waits += [retirement.left] if retirement.kept else []
    return Step(
        state=State.STARTING,
        message=f"revision {view.target} is starting: {size.available} of {view.replicas} "
        "pods ready" + _because(trouble),
        serve=view.serving,
        replicas=_both_at_full_size(view) | retirement.stopped,
        index=STARTING_STEP,
        started_at=started_at,
        trouble=trouble,
        requeue_after=min((wait for wait in waits if wait > timedelta(0)), default=None),
    )


def _failure(view: View, started_at: datetime) -> Trouble | None:
    """What ends the attempt: permanent trouble at once, anything else at the deadline."""
    if view.trouble is not None and view.trouble.permanent:
        return view.trouble
    if view.now - started_at < view.progress_deadline:
        return None
    seconds = f"{view.progress_deadline.total_seconds():.0f} s"
    if view.trouble is not None:
        return Trouble(
            view.trouble.reason,
            f"not ready after {seconds}: {view.trouble.message}",
            permanent=True,
        )
    size = view.size(view.target)
    return Trouble(
        reasons.PROGRESS_DEADLINE_EXCEEDED,
        f"{size.available} of {view.replicas} pods ready after {seconds}",
        permanent=True,
    )


def _both_at_full_size(view: View) -> dict[str, int]:
    return dict.fromkeys((r for r in (view.serving, view.target) if r), view.replicas)


def _start_of_step_0(view: View) -> datetime:
    recorded = view.step_index == STARTING_STEP and view.introduced == view.target
    return view.step_started_at if recorded and view.step_started_at else view.now


def _start_of_step_1(view: View) -> datetime | None:
    """When the others began to wait; None when nothing was switched that they wait for."""
    return view.now if view.serving != view.recorded_stable else view.step_started_at


def _named(others: tuple[str, ...]) -> str:
    return f"revision {others[0]}" if len(others) == 1 else f"{len(others)} older revisions"


def _because(trouble: Trouble | None) -> str:
    return f": {trouble.message}" if trouble else ""
