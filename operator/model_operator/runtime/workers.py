"""The workers' loop: takes keys from the queue, makes passes, and says when each is made again.

`main` starts as many as the settings say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from model_operator.clients.view import Key
from model_operator.errors import ApiError, ApiUnreachable, Conflict, NotLeading
from model_operator.plan import Plan
from model_operator.runtime.queue import WorkQueue

LONGEST_API_PAUSE_SECONDS = 4.0
"""The API server's troubles end at some moment, and then nobody wants to wait."""
LONGEST_RETRY_AFTER_SECONDS = 60.0
FIRST_API_PAUSE_SECONDS = 0.25
FIRST_CONFLICT_PAUSE_SECONDS = 0.02
"""Somebody else wrote in between: read again at once, but do not race with them."""

log = structlog.get_logger(__name__)


class Reconciler(Protocol):
    """Makes a pass over one resource."""

    async def reconcile(self, namespace: str, name: str) -> Plan:
        """See `model_operator.reconcile`."""
        ...


class PassObserver(Protocol):
    """Hears how passes ended."""

    def reconciled(self, outcome: str, seconds: float) -> None:
        """One pass."""
        ...


async def work(
    queue: WorkQueue[Key],
    reconciler: Reconciler,
    resync_seconds: Callable[[], float],
    observer: PassObserver,
) -> None:
    """Takes keys and makes passes, for ever. An error costs its key a pause, never the worker."""
    while True:
        key = await queue.get()
        started = time.monotonic()
        try:
            outcome = await _make_pass(key, queue, reconciler, resync_seconds)
            observer.reconciled(outcome, time.monotonic() - started)
        finally:
            queue.done(key)


async def _make_pass(  # noqa: PLR0911 - one for each way in which a pass can end
    key: Key, queue: WorkQueue[Key], reconciler: Reconciler, resync_seconds: Callable[[], float]
) -> str:
    """Makes one pass, appoints the next, and returns how this one ended."""
    try:
        plan = await reconciler.reconcile(*key)
    except Conflict:
        queue.add_with_back_off(
            key, first=FIRST_CONFLICT_PAUSE_SECONDS, longest=LONGEST_API_PAUSE_SECONDS
        )
        return "conflict"
    except NotLeading:
        return "deposed"  # this term is ending, and the next one looks at everything
    except (ApiError, ApiUnreachable) as error:
        asked = min(getattr(error, "retry_after", None) or 0.0, LONGEST_RETRY_AFTER_SECONDS)
        pause = queue.add_with_back_off(
            key, first=FIRST_API_PAUSE_SECONDS, longest=LONGEST_API_PAUSE_SECONDS, at_least=asked
        )
        log.warning("pass failed", key=key, error=str(error), again_in=round(pause, 1))
        return "error"
    except Exception:
        pause = queue.add_with_back_off(key)
        log.exception("pass broke", key=key, again_in=round(pause, 1))
        return "broken"
    if plan.back_off:
        soonest = min(plan.back_off, plan.requeue_after or plan.back_off)
        queue.add_with_back_off(key, longest=soonest.total_seconds())
        return "delayed"
    queue.forget(key)
    if not plan.exists:
        return "gone"
    queue.add_after(key, next_look(plan, resync_seconds()))
    return "changed" if plan.writes else "unchanged"


def next_look(plan: Plan, resync_seconds: float) -> float:
    """In how many seconds a resource is looked at again although nothing is heard of it."""
    asked = plan.requeue_after.total_seconds() if plan.requeue_after else resync_seconds
    return min(asked, resync_seconds)
