"""What all strategies share: how the target serves on, how the others retire, what a failure is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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


def serve_on(view: View, index: int = RETIRING_STEP) -> Step:
    """The target serves: retire the others, then see that it has all its pods. `index` is that of
    the step in which the others are kept.
    """
    since = _start_of_retiring(view)
    retirement = retire_others(view, since)
    wanted = {view.target: view.replicas, **retirement.stopped}
    if retirement.kept:
        withdrawn = view.introduced if view.introduced in retirement.kept else None
        kept = f"revision {view.target} {_serves(view)}; {_named(retirement.kept)} kept"
        delay = f" for {view.scale_down_delay.total_seconds():.0f} s after the switch"
        if since and view.now >= since + view.scale_down_delay:
            delay = " until all its pods are ready and the endpoint lists them"
        if withdrawn:
            kept = f"revision {view.target} {_serves(view)}; revision {withdrawn}"
            delay = " is withdrawn"
        return Step(
            state=State.PAUSED if view.paused else State.SWITCHED,
            message=f"paused: {kept}" if view.paused else kept + delay,
            serve=view.target,
            replicas=wanted,
            canary=withdrawn,
            index=None if withdrawn else index,
            started_at=since or view.now,
            retiring=_retiring(view, retirement),
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
        state, words = State.SCALING, f"has {ready}; {_unconfirmed(view)}"
    else:
        state, words = State.COMPLETE, _serves(view) + (f" with {ready}" if view.replicas else "")
    return Step(
        state=state,
        message=f"revision {view.target} {words}",
        serve=view.target,
        replicas=wanted,
        trouble=view.trouble if state is State.SCALING else None,
    )


def both_at_full_size(view: View) -> dict[str, int]:
    """The wanted pods of the serving revision, if there is one, and of the target."""
    return dict.fromkeys((r for r in (view.serving, view.target) if r), view.replicas)


def take_over(view: View, replicas: Mapping[str, int], index: int, started_at: datetime) -> Step:
    """The target gets all requests in one write."""
    why = f"; {view.unconfirmed}" if view.unconfirmed else ""
    return Step(
        state=State.SWITCHED,
        message=f"revision {view.target} is ready: moving all requests to it{why}",
        serve=view.target,
        replicas=replicas,
        index=index,
        started_at=started_at,
    )


def withdraw(view: View, *, whole: bool = False) -> Step | None:
    """Takes the requests from a revision that is not introduced any more, before anything else is
    done; None when there is none. `whole`: waits until its pods are told to end, too.
    """
    others = [
        revision
        for revision, size in view.sizes.items()
        if revision not in (view.target, view.serving)
        and (
            view.weight_of(revision) > 0 or (whole and size.desired and revision == view.introduced)
        )
    ]
    if not others:
        return None
    canary = others[0]
    answers = view.serving is not None and view.size(view.serving).ready > 0
    reached = view.weight_of(canary) > 0 or (answers and not view.serving_confirmed)
    stopped = {} if reached and view.size(canary).ready else {canary: 0}
    return Step(
        state=State.INTRODUCING,
        message=f"revision {canary} is withdrawn before revision {view.target} is started",
        serve=view.serving,
        canary=canary,
        replicas={**({view.serving: view.replicas} if view.serving else {}), **stopped},
        started_at=view.step_started_at or view.now,
    )


def stay_with_serving(view: View, failure: Trouble | None) -> Step:
    """The target has failed: stop it, and leave the requests where they are, or give them back.

    The verdict is recorded first: with the requests and the pods goes what it was made from. Then
    go the requests, and when that is confirmed the pods.
    """
    retirement = retire_others(view, view.step_started_at)
    runs = view.size(view.target).desired > 0
    weight = view.weight_of(view.target)
    reached = weight > 0 or (view.divides and not view.serving_confirmed)
    may_stop = view.verdict_recorded and not (reached and view.size(view.target).ready)
    wanted = {view.target: 0} if runs and may_stop else {}
    waits = [SOON] if (runs or weight) and not view.verdict_recorded else []
    waits += [retirement.left] if retirement.kept and not view.paused else []
    if view.serving:
        wanted[view.serving] = view.replicas
    goes_on = f"; revision {view.serving} goes on serving" if view.serving else ""
    return Step(
        state=State.FAILED,
        message=stopped(view, failure) + goes_on,
        serve=view.serving,
        weight=0 if view.verdict_recorded else weight,
        replicas=wanted | retirement.stopped,
        index=view.step_index if retirement.kept else None,
        started_at=view.step_started_at if retirement.kept else None,
        failed=view.target,
        trouble=failure,
        requeue_after=min(waits, default=None),
    )


def before_any_step(view: View, *, judged: bool) -> Step | None:
    """What has to be done before the target is taken a step further; None when nothing has.

    `judged`: the strategy sends the target requests, or copies of them, and stops at the first
    failure; otherwise there is time until the deadline.
    """
    if withdrawal := withdraw(view, whole=judged):
        return withdrawal
    if view.target == view.failed:
        return stay_with_serving(view, view.trouble)
    if view.waits_to_begin:
        return wait_to_begin(view)
    failure = failure_at_once(view) if judged else None
    if failure:
        return stay_with_serving(view, failure)
    return without_pods(view) if judged else None


def without_pods(view: View) -> Step | None:
    """While no pods are asked for, nothing can prove itself: the rollout stays where it is. None
    where pods are asked for, or nothing serves that it would have to prove itself beside.
    """
    if view.replicas or view.serving is None:
        return None
    index, started_at = position(view, view.step_index or 0)
    return under_way(
        view,
        State.INTRODUCING,
        f"replicas is 0: revision {view.target} waits for pods",
        index=index,
        started_at=started_at,
        pods=0,
    )


def under_way(
    view: View,
    state: State,
    message: str,
    *,
    index: int,
    started_at: datetime,
    pods: int,
    wait: timedelta | None = None,
    weight: int = 0,
    shows: str | None = None,
    shadow: str | None = None,
    trouble: Trouble | None = None,
) -> Step:
    """A step of a rollout in which the serving revision has its full size and the target `pods`.

    `wait` is how long at most until time itself changes something.
    """
    retirement = retire_others(view, started_at)
    waits = [wait] if wait is not None else []
    waits += [retirement.left] if retirement.kept else []
    soonest = min((one for one in waits if one > timedelta(0)), default=None)
    serving = {view.serving: view.replicas} if view.serving else {}
    return Step(
        state=State.PAUSED if view.paused else state,
        message=f"paused: {message}" if view.paused else message,
        serve=view.serving,
        weight=weight,
        shows=shows,
        shadow=shadow,
        replicas={**serving, view.target: pods, **retirement.stopped},
        index=index,
        started_at=started_at,
        trouble=trouble,
        requeue_after=None if view.paused else soonest,
    )


def wait_to_begin(view: View) -> Step:
    """Held before its first step: the target is not even started."""
    serves = ""
    if view.serving:
        answers = view.size(view.serving).ready > 0
        words = "serves on" if answers else "has no ready pod: nothing serves until it has"
        serves = f"; revision {view.serving} {words}"
    if view.paused:
        state, words = State.PAUSED, f"paused: revision {view.target} waits to be started"
    else:
        state = State.WAITING
        count = view.rollouts_elsewhere
        under_way_now = "1 rollout is" if count == 1 else f"{count} rollouts are"
        others = f"{under_way_now} under way, as many as may be at once"
        words = f"revision {view.target} waits for its turn: {others}"
    return Step(
        state=state,
        message=words + serves,
        serve=view.serving,
        weight=view.weight_of(view.target) if safety.may_keep_weight(view) else 0,
        replicas={view.serving: view.replicas} if view.serving else {},
    )


def position(view: View, last: int) -> tuple[int, datetime]:
    """The recorded step's index, at most `last`, and its start; the first step, beginning now,
    where the target is not under way yet.
    """
    if not view.has_begun or view.retried or view.step_index is None:
        return 0, view.now
    return min(view.step_index, last), view.step_started_at or view.now


def is_recorded(view: View, index: int) -> bool:
    """Whether status has it that the target is at this step. Strategies that send the target
    requests wait for that before they do what a later step asks for: an operator that dies in
    between would have forgotten what was measured and who promoted.
    """
    return view.has_begun and not view.retried and view.step_index == index


def failure_at_once(view: View) -> Trouble | None:
    """What ends the attempt of a strategy that sends the target requests, or copies of them,
    whatever the time: pods that cannot start or end again and again, a failed analysis.
    """
    if view.trouble is not None and (view.trouble.permanent or view.trouble.looping):
        return replace(view.trouble, permanent=True)
    return view.analysis.failure or view.shadow.failure


def failure(view: View, started_at: datetime, pods: int | None = None) -> Trouble | None:
    """What ends the attempt: permanent trouble at once, anything else at the deadline, which
    does not run during a pause. `pods` are as many as were waited for; None: all.
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
    wanted, available = pods or view.replicas, view.size(view.target).available
    why = (view.cannot_divide or view.unconfirmed) if available >= wanted else ""
    words = f"{available} of {wanted} pods ready after {seconds}{f': {why}' if why else ''}"
    return Trouble(reasons.PROGRESS_DEADLINE_EXCEEDED, words, permanent=True)


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


def _retiring(view: View, retirement: Retirement) -> str | None:
    """Which of those that are kept served last: at the switch status still names it as stable."""
    switched = view.serving != view.recorded_stable
    last = view.recorded_stable if switched else view.retiring
    return last if last in retirement.kept else None


def _unconfirmed(view: View) -> str:
    return view.unconfirmed or "its endpoint does not list them all yet"


def _serves(view: View) -> str:
    return "serves" if view.replicas else "has the endpoint and, as replicas is 0, no pods"


def _named(others: Iterable[str]) -> str:
    names = tuple(others)
    return f"revision {names[0]}" if len(names) == 1 else f"{len(names)} older revisions"
