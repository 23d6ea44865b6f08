"""Asks the operator for an action by its annotation, and waits for what it answers.

Used by the verbs and by `rollback`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from model_operator.actions import ANNOTATION, Action, Verb
from model_operator.cli.arguments import PROGRAM
from model_operator.cli.errors import Failed, NotInTime
from model_operator.cli.session import Session, no_answer
from model_operator.errors import ApiError, ApiUnreachable

Body = Mapping[str, Any]

POLL_SECONDS = 0.25
NOT_LOOKED = (
    "the operator has not looked at it, and may still do so: is it running? "
    "`kubectl get pods --all-namespaces -l app.kubernetes.io/name=cv-factory` shows it"
)


def action(verb: Verb, resource: Body, identity: str, revision: str | None = None) -> Action:
    """The action that hits what `resource` shows, and nothing that comes after it. Pure.

    A promotion holds for one step, so that asking twice promotes once. An abort holds for the
    revision in whatever step: it must not miss because a step has just ended.
    """
    status = resource.get("status") or {}
    introduced = (status.get("canary") or {}).get("revision")
    about = {
        Verb.PROMOTE: introduced,
        Verb.ABORT: introduced,
        Verb.RETRY: status.get("failedRevision"),
    }
    return Action(
        id=identity,
        verb=verb,
        revision=revision or about.get(verb),
        step=status.get("currentStepIndex") if verb is Verb.PROMOTE else None,
        generation=resource["metadata"]["generation"],
    )


def new_id(verb: Verb) -> str:
    """An id that nobody takes again, and that says in status when it was asked."""
    return f"{verb}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


async def ask(opened: Session, resource: Body, wanted: Action, seconds: float) -> str:
    """What the operator says it did.

    Raises:
        Failed: it was refused, with the operator's sentence, or nobody can say any more.
        NotInTime: the operator has not looked at it, or the API server does not say so.

    """
    name = resource["metadata"]["name"]
    await opened.annotate(name, ANNOTATION, wanted.model_dump_json(exclude_none=True))
    deadline = time.monotonic() + seconds
    late = NOT_LOOKED
    while time.monotonic() < deadline:
        try:
            answer = answer_to(wanted, await opened.resource(name))
        except (ApiError, ApiUnreachable) as error:
            words = no_answer(error)
            if words is None:
                raise
            late = f"{words}; what was asked for goes on"
        else:
            late = NOT_LOOKED
            if answer is not None:
                accepted, message = answer
                if accepted is None:
                    raise Failed(f"{wanted.verb}: {message}")
                if not accepted:
                    raise Failed(f"{wanted.verb} was refused: {message}")
                return message
        await asyncio.sleep(POLL_SECONDS)
    raise NotInTime(f"no answer in {seconds:g}s: {late}")


def answer_to(wanted: Action, resource: Body) -> tuple[bool | None, str] | None:
    """Whether the operator accepted the action, and its sentence; None while it has not looked.
    Whether it accepted one that another has followed is told nowhere, and None too.
    """
    status = resource.get("status") or {}
    if status.get("lastActionId") == wanted.id:
        last = status.get("lastAction") or {}
        return bool(last.get("accepted")), str(last.get("message", ""))
    if wanted.id in (status.get("earlierActionIds") or ()):
        name = resource["metadata"]["name"]
        words = "another action came right after it, and status tells only what became of that one"
        return None, f"{words}: `{PROGRAM} status {name}` shows where the rollout is"
    asked = (resource["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    if wanted.id not in asked:
        return False, "somebody else's action replaced it before the operator saw it: ask again"
    return None
