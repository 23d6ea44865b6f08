"""What all strategies share: how the target serves on, how the others retire, what a failure is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from model_operator import reasons
from model_operator.rollout import safety
from model_operator.rollout.view import State, Step, Trouble, View

SOON = timedelta(milliseconds=100)
RETIRING_STEP = 1
"""The index of the step in which the target has all requests and the others are kept."""


@dataclass(frozen=True)
class Retirement:
    """What becomes of the revisions that are neither wanted nor serving."""

    stopped: dict[str, int]
    """To be scaled to 0 now."""
    kept: tuple[str, ...]
    """Still at full size, since they may have served until the last switch."""
    left: timedelta
    """Until those may be stopped."""


def retire_others(view: View, since: datetime | None) -> Retirement:
    """A revision that never served is stopped at once, one that may have served only
    scaleDownDelaySeconds after `since`, when its successor took over or a later rollout began.
    A pause keeps it.
    """
    others = [
        revision
        for revision, size in view.sizes.items()
        if revision not in (view.target, view.serving) and size.desired > 0
    ]
    left = (since or view.now) + view.scale_down_delay - view.now
    due = (since is None or left <= timedelta(0)) and not view.paused
    stopped = [
        revision
        for revision in others
        if safety.may_stop(view, revision, due=due or revision == view.introduced)
    ]
    kept = tuple(revision for revision in others if revision not in stopped)
    return Retirement(dict.fromkeys(stopped, 0), kept, max(left, timedelta(seconds=1)))


def serve_on(view: View) -> Step:
    """The target serves: retire the others, then see that it has all its pods."""
    since = _start_of_retiring(view)
    retirement = retire_others(view, since)
    wanted = {view.target: view.replicas, **retirement.stopped}
    if retirement.kept:
        kept = f"revision {view.target} {_serves(view)}; {_named(retirement.kept)} stays"
        delay = f" for {view.scale_down_delay.total_seconds():.0f} s after the switch"
        if since and view.now >= since + view.scale_down_delay:
            delay = " until all its pods are ready and the endpoint lists them"
        return Step(
            state=State.PAUSED if view.paused else State.SWITCHED,
            message=f"paused: {kept}" if view.paused else kept + delay,
            serve=view.target,
            replicas=wanted,
            index=RETIRING_STEP,
            started_at=since or view.now,
            requeue_after=None if view.paused else retirement.left,
        )
    size = view.size(view.target)
    ready = f"{size.available} of {view.replicas} pods ready"
    if retirement.stopped:
        state = State.SWITCHED
        words = f"{_serves(view)}; stopping {_named(retirement.stopped)}"
    elif size.available < view.replicas or size.desired != view.replicas:
        state, words = State.SCALING, f"has {ready}" + because(view.trouble)
    elif view.replicas and not view.serving_confirmed:
        state, words = State.SCALING, f"has {ready}; its endpoint does not list them all yet"
    else:
        state, words = State.COMPLETE, _serves(view) + (f" with {ready}" if view.replicas else "")
    return Step(
        state=state,
        message=f"revision {view.target} {words}",
        serve=view.target,
        replicas=wanted,
        trouble=view.trouble if state is State.SCALING else None,
    )


def take_over(view: View, replicas: Mapping[str, int], index: int, started_at: datetime) -> Step:
    """The target gets all requests in one write."""
    return Step(
        state=State.SWITCHED,
        message=f"revision {view.target} is ready: moving all requests to it",
        serve=view.target,
        replicas=replicas,
        index=index,
        started_at=started_at,
    )


def wait_to_begin(view: View) -> Step:
    """Paused before its first step: the target is not even started."""
    return Step(
        state=State.PAUSED,
        message=f"paused: revision {view.target} waits to be started"
        + (f"; revision {view.serving} serves on" if view.serving else ""),
        serve=view.serving,
        replicas={view.serving: view.replicas} if view.serving else {},
    )


def failure(view: View, started_at: datetime) -> Trouble | None:
    """What ends the attempt: permanent trouble at once, anything else at the deadline, which
    does not run during a pause.
    """
    if view.trouble is not None and view.trouble.permanent:
        return view.trouble
    if view.paused or view.now - started_at < view.progress_deadline:
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


def stopped(view: View, failure: Trouble | None) -> str:
    """What became of the target, as the beginning of a sentence."""
    verb = (
        "was stopped" if failure and failure.reason == reasons.ABORTED else "failed and was stopped"
    )
    return f"revision {view.target} {verb}{because(failure)}"


def because(trouble: Trouble | None) -> str:
    """The trouble as the end of a sentence."""
    return f": {trouble.message}" if trouble else ""


def _start_of_retiring(view: View) -> datetime | None:
    """When the others began to wait; None when nothing was switched that they wait for."""
    return view.now if view.serving != view.recorded_stable else view.step_started_at


def _serves(view: View) -> str:
    return "serves" if view.replicas else "has the endpoint and, as replicas is 0, no pods"


def _named(others: Iterable[str]) -> str:
    names = tuple(others)
    return f"revision {names[0]}" if len(names) == 1 else f"{len(names)} older revisions"
