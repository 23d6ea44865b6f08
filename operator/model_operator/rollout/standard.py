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

from model_operator import reasons
from model_operator.rollout import safety
from model_operator.rollout.view import State, Step, Trouble, View

STARTING_STEP = 0
RETIRING_STEP = 1


def advance(view: View) -> Step:
    """The next step. Pure and total."""
    if view.target == view.serving:
        return _retire_others(view)
    if view.target == view.failed:
        return _stay_with_serving(view, view.trouble)
    started_at = _start_of_step_0(view)
    if (failure := _failure(view, started_at)) and view.serving:
        return _stay_with_serving(view, failure)
    if safety.may_take_over(view):
        return Step(
            state=State.SWITCHED,
            message=f"revision {view.target} is ready: moving all requests to it",
            serve=view.target,
            replicas=_both_at_full_size(view),
            index=STARTING_STEP,
            started_at=started_at,
        )
    return _wait_for_target(view, started_at, failure)


def _retire_others(view: View) -> Step:
    started_at = _start_of_step_1(view)
    others = [r for r, size in view.sizes.items() if r != view.target and size.desired > 0]
    wanted = {view.target: view.replicas}
    if started_at is not None and others:
        left = started_at + view.scale_down_delay - view.now
        if left > timedelta(0) or not safety.may_retire_others(view):
            return Step(
                state=State.SWITCHED,
                message=f"revision {view.target} serves; {_named(others)} stays for "
                f"{view.scale_down_delay.total_seconds():.0f} s after the switch",
                serve=view.target,
                replicas=wanted,
                index=RETIRING_STEP,
                started_at=started_at,
                requeue_after=max(left, timedelta(seconds=1)),
            )
    size = view.size(view.target)
    if others:
        return Step(
            state=State.SWITCHED,
            message=f"revision {view.target} serves; stopping {_named(others)}",
            serve=view.target,
            replicas=wanted | dict.fromkeys(others, 0),
        )
    if size.available < view.replicas or size.desired != view.replicas:
        ready = f"{size.available} of {view.replicas} pods ready"
        return Step(
            state=State.SCALING,
            message=f"revision {view.target}: {ready}" + _because(view.trouble),
            serve=view.target,
            replicas=wanted,
            trouble=view.trouble,
        )
    return Step(
        state=State.COMPLETE,
        message=f"revision {view.target} serves with {size.ready} of {view.replicas} pods ready",
        serve=view.target,
        replicas=wanted,
    )


def _stay_with_serving(view: View, failure: Trouble | None) -> Step:
    """The target has failed: stop it, and leave the requests where they are."""
    wanted = {r: 0 for r, size in view.sizes.items() if r != view.serving and size.desired > 0}
    if view.serving:
        wanted[view.serving] = view.replicas
    return Step(
        state=State.FAILED,
        message=f"revision {view.target} failed and was stopped" + _because(failure),
        serve=view.serving,
        replicas=wanted,
        failed=view.target,
        trouble=failure,
    )


def _wait_for_target(view: View, started_at: datetime, failure: Trouble | None) -> Step:
    """Nothing served before, or there is still time: the target goes on starting."""
    size = view.size(view.target)
    trouble = failure or view.trouble
    left = started_at + view.progress_deadline - view.now
    return Step(
        state=State.STARTING,
        message=f"revision {view.target} is starting: {size.available} of {view.replicas} "
        "pods ready" + _because(trouble),
        serve=view.serving,
        replicas=_both_at_full_size(view)
        | {
            r: 0
            for r, other in view.sizes.items()
            if r not in (view.target, view.serving) and other.desired > 0
        },
        index=STARTING_STEP,
        started_at=started_at,
        trouble=trouble,
        requeue_after=left if left > timedelta(0) else None,
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
    if view.serving != view.recorded_stable:
        return view.now
    return view.step_started_at if view.step_index == RETIRING_STEP else None


def _named(others: list[str]) -> str:
    return f"revision {others[0]}" if len(others) == 1 else f"{len(others)} older revisions"


def _because(trouble: Trouble | None) -> str:
    return f": {trouble.message}" if trouble else ""
