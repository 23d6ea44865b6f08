"""Actions: what people ask for beyond the spec, by one annotation. Pure; asked by `decide`.

    cvfactory.dev/action: '{"id": "a1", "verb": "rollback", "revision": "9c1b04aa57"}'

An action acts once: when its id is new, and when `revision`, `step` and `generation`, where they
are given, are the current ones. What it did, or why it was refused, stands in status.lastAction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_operator import api, naming, reasons

ANNOTATION = f"{api.GROUP}/action"
REMEMBERED = 8
"""Ids of actions that are kept in status: a tool that puts an old annotation back does nothing."""


class Verb(StrEnum):
    """What can be asked for."""

    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"
    RESOLVE = "resolve"
    ROLLBACK = "rollback"
    PAUSE = "pause"
    RESUME = "resume"


class Action(BaseModel):
    """One action as it was asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(strict=True, min_length=1, max_length=128)
    verb: Verb
    revision: str | None = Field(default=None, strict=True)
    step: int | None = Field(default=None, strict=True)
    generation: int | None = Field(default=None, strict=True)


@dataclass(frozen=True)
class Unreadable:
    """An annotation that is not an action."""

    id: str
    problem: str


@dataclass(frozen=True)
class Orders:
    """What was asked for beyond the spec and is still in force; all of it is kept in status."""

    failed: str | None = None
    """A revision that is not tried again."""
    failure: api.FailureStatus | None = None
    """Why, where an action said so."""
    rollback_to: str | None = None
    failed_rollback: str | None = None
    """The revision that a rollback asked for and that failed, too."""
    retried: bool = False
    """A retry was asked for in this pass."""
    promoted: bool = False
    """A promotion was asked for in this pass."""
    held_pause: api.HeldPause | None = None
    action_ids: tuple[str, ...] = ()
    """Of the actions that were looked at, the last first."""
    last_action: api.ActionStatus | None = None

    def pause_at(self, generation: int) -> bool | None:
        """What an action said about pausing, which holds until the next generation."""
        held = self.held_pause
        return held.paused if held and held.generation == generation else None


@dataclass(frozen=True)
class Situation:
    """What an action is judged by."""

    name: str
    """The resource's."""
    generation: int
    wanted: str | None
    """The revision that the spec means."""
    introduced: str | None
    """The revision that is being introduced, also where it is not known what the spec means."""
    serving: str | None
    step_index: int | None
    promotable: bool = False
    """The step that is under way goes on with a promotion."""
    paused: bool = False
    status_lost: bool = False
    """Nothing is known of the actions before this one."""
    kept: Collection[str] = ()
    """Revisions that have a record."""
    resolving: str = ""
    """Why spec.model could not be resolved anew; empty when it could, or need not be."""
    resolving_delayed: bool = False
    """The registry may answer later."""


class _Refused(Exception):
    """Carries the sentence that status.lastAction shows."""


def pending(
    body: Mapping[str, Any], status: api.ModelDeploymentStatus
) -> Action | Unreadable | None:
    """The action that the resource's annotation asks for; None when it was looked at before."""
    text = (body["metadata"].get("annotations") or {}).get(ANNOTATION)
    if not text:
        return None
    action = _read(text)
    return None if action.id in _seen(status) else action


def wants_resolving(body: Mapping[str, Any], status: api.ModelDeploymentStatus) -> str | None:
    """The id of the action by which spec.model is to be resolved although it has not changed."""
    action = pending(body, status)
    asked = isinstance(action, Action) and action.verb is Verb.RESOLVE
    return action.id if action and asked else None


def _seen(status: api.ModelDeploymentStatus) -> tuple[str, ...]:
    last = (status.last_action_id,) if status.last_action_id else ()
    return (*last, *(status.earlier_action_ids or ()))


def _read(text: str) -> Action | Unreadable:
    try:
        return Action.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        member = "".join(f".{part}" for part in first["loc"])
        words = f"the annotation {ANNOTATION} cannot be read{member and ': '}{member[1:]}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Unreadable(digest[:16], f"{words}: {first['msg']}")


def recorded_orders(
    status: api.ModelDeploymentStatus, wanted: str | None, serving: str | None
) -> Orders:
    """What is in force by the last status. A failed revision and a rollback are forgotten when
    the spec means another revision, except a rollback that is still under way to that very one.
    """
    forgotten = wanted is not None and wanted != status.failed_revision
    agreed = status.rollback_to == wanted != serving and not status.failed_rollback
    return Orders(
        failed=None if forgotten else status.failed_revision,
        rollback_to=None if forgotten and not agreed else status.rollback_to,
        failed_rollback=None if forgotten else status.failed_rollback,
        held_pause=status.held_pause,
        action_ids=_seen(status),
        last_action=status.last_action,
    )


def obey(action: Action | Unreadable | None, orders: Orders, situation: Situation) -> Orders:
    """The orders after the action; one that has to wait for the registry is left pending."""
    if action is None:
        return orders
    if isinstance(action, Unreadable):
        return _answered(orders, situation, action.id, None, accepted=False, message=action.problem)
    if action.verb is Verb.RESOLVE and situation.resolving_delayed:
        return orders
    try:
        _must_be_timely(action, situation)
        orders, message = _HANDLERS[action.verb](action, orders, situation)
    except _Refused as refusal:
        accepted, message = False, str(refusal)
    else:
        accepted = True
    return _answered(orders, situation, action.id, action.verb, accepted=accepted, message=message)


def _answered(
    orders: Orders,
    situation: Situation,
    identity: str,
    verb: str | None,
    *,
    accepted: bool,
    message: str,
) -> Orders:
    answer = api.ActionStatus(
        verb=verb, generation=situation.generation, accepted=accepted, message=message
    )
    seen = (identity, *orders.action_ids)[:REMEMBERED]
    return replace(orders, action_ids=seen, last_action=answer)


_Handled = tuple[Orders, str]


def _promote(action: Action, orders: Orders, situation: Situation) -> _Handled:
    revision = situation.introduced
    if revision is None or revision in (situation.serving, orders.failed):
        raise _Refused("nothing to promote: no revision is being introduced")
    _must_be_current(action, revision, situation.step_index)
    if not situation.promotable:
        raise _Refused("nothing waits for a promotion now")
    if situation.paused:
        raise _Refused("the rollout is paused: resume it first")
    return replace(orders, promoted=True), f"revision {revision} goes on to its next step"


def _abort(action: Action, orders: Orders, situation: Situation) -> _Handled:
    if orders.rollback_to and orders.rollback_to != situation.serving:
        _must_be_current(action, orders.rollback_to, situation.step_index)
        kept = None if orders.failed == situation.serving else orders.failed
        ended = f"the rollback to revision {orders.rollback_to} was ended"
        return replace(orders, failed=kept, rollback_to=None, failed_rollback=None), ended
    revision = situation.introduced
    if revision is None or revision in (situation.serving, orders.failed):
        raise _Refused("nothing to abort: no revision is being introduced")
    if situation.serving is None:
        raise _Refused("nothing to go back to: no revision has served yet")
    _must_be_current(action, revision, situation.step_index)
    words = f"aborted by action {action.id}"
    failure = api.FailureStatus(revision=revision, reason=reasons.ABORTED, message=words)
    return replace(orders, failed=revision, failure=failure), f"aborted revision {revision}"


def _retry(action: Action, orders: Orders, situation: Situation) -> _Handled:
    if orders.failed is None:
        raise _Refused("nothing to retry: no revision has failed")
    _must_be_current(action, orders.failed, situation.step_index)
    again = f"revision {orders.failed} is tried again"
    return (
        replace(orders, failed=None, rollback_to=None, failed_rollback=None, retried=True),
        again,
    )


def _resolve(action: Action, orders: Orders, situation: Situation) -> _Handled:
    _must_be_about(action, situation)
    if situation.resolving:
        raise _Refused(situation.resolving)
    return orders, "spec.model was resolved anew"


def _rollback(action: Action, orders: Orders, situation: Situation) -> _Handled:
    if action.revision is None:
        where = f"kubectl get controllerrevisions -l {naming.owned_by_selector(situation.name)}"
        raise _Refused(f"name the revision to go back to: {where}")
    if action.revision not in situation.kept:
        raise _Refused(f"revision {action.revision} is not kept: there is no such record")
    left = situation.wanted or situation.introduced
    if left is None:
        raise _Refused("nothing to go back from: no revision has served yet")
    if action.revision == left:
        hint = ": ask for retry" if orders.failed == left else ""
        raise _Refused(f"revision {action.revision} is what the spec means{hint}")
    words = f"rolled back to revision {action.revision} by action {action.id}"
    failure = api.FailureStatus(revision=left, reason=reasons.ROLLED_BACK, message=words)
    back = replace(orders, failed=left, failure=failure, rollback_to=action.revision)
    return (
        replace(back, failed_rollback=None, retried=True),
        f"going back to revision {action.revision}; git still asks for {left}",
    )


def _pause(action: Action, orders: Orders, situation: Situation) -> _Handled:
    _must_be_about(action, situation)
    held = api.HeldPause(paused=True, generation=situation.generation)
    return replace(orders, held_pause=held), "paused until resumed, or until the spec changes"


def _resume(action: Action, orders: Orders, situation: Situation) -> _Handled:
    _must_be_about(action, situation)
    held = api.HeldPause(paused=False, generation=situation.generation)
    return replace(orders, held_pause=held), "resumed"


def _must_be_timely(action: Action, situation: Situation) -> None:
    if action.generation not in (None, situation.generation):
        raise _Refused(f"it was meant for generation {action.generation} of the spec")
    if situation.status_lost:
        raise _Refused("status was lost, so it may have acted before: ask with a new id")


def _must_be_about(action: Action, situation: Situation) -> None:
    """For actions on the resource as a whole: the revision is one that is in play."""
    if action.revision not in (None, situation.introduced, situation.serving):
        raise _Refused(f"revision {action.revision} is neither introduced nor serving")
    _must_be_current(action, action.revision or "", situation.step_index)


def _must_be_current(action: Action, revision: str, step_index: int | None) -> None:
    if action.revision not in (None, revision):
        raise _Refused(f"revision {action.revision} is not the current one: that is {revision}")
    if action.step not in (None, step_index):
        current = "there is none" if step_index is None else f"that is {step_index}"
        raise _Refused(f"step {action.step} is not the current one: {current}")


_HANDLERS: Mapping[Verb, Callable[[Action, Orders, Situation], _Handled]] = {
    Verb.PROMOTE: _promote,
    Verb.ABORT: _abort,
    Verb.RETRY: _retry,
    Verb.RESOLVE: _resolve,
    Verb.ROLLBACK: _rollback,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
}
