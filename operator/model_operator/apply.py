"""Carries out a plan: applies, replacements, scales, touches, deletes, status, then Events.

The second of the two modules that do I/O. A write that fails ends the pass; the next one starts
from fresh reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime

from model_operator.clients.cluster import Cluster
from model_operator.clients.events import EventEmitter
from model_operator.clients.transport import Body
from model_operator.errors import ApiError, OperatorError
from model_operator.observed import Observed, Refusal
from model_operator.plan import Plan

# 400 and 422: the body is not valid. 403: a quota, an admission rule or the operator's role.
_REFUSALS = (400, 403, 422)
# A body that does not fit its kind's schema: older API servers answer it with 500.
_NOT_OF_ITS_KIND = "failed to create typed patch object"


class ChildRefused(OperatorError):
    """The API server does not accept a child as the spec wants it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.kind} {refusal.name}: {refusal.message}")
        self.refusal = refusal


@contextlib.contextmanager
def _refusals_of(kind: str, name: str) -> Iterator[None]:
    """Tells what is wrong with a child from what is wrong with the API server."""
    try:
        yield
    except ApiError as error:
        if error.status in _REFUSALS or _NOT_OF_ITS_KIND in error.message:
            raise ChildRefused(Refusal(kind, name, error.status, error.message)) from error
        raise


async def apply(
    cluster: Cluster,
    emitter: EventEmitter,
    observed: Observed,
    plan: Plan,
    now: datetime,
    put_status: Callable[[Body], Awaitable[object]] | None = None,
) -> None:
    """Writes what the plan says, in its order; the resource with its new status by `put_status`,
    if that is given.

    Raises:
        ChildRefused: a child is not accepted; nothing after it was written.
        Conflict: the resource has changed since it was observed.
        ApiError, ApiUnreachable: the pass is to be made again.

    """
    namespace = observed.resource.namespace
    for body in plan.applies:
        with _refusals_of(body["kind"], body["metadata"]["name"]):
            await cluster.apply(body)
    for replacement in plan.replacements:
        with _refusals_of(replacement.kind, replacement.name):
            await cluster.replace(
                replacement.kind,
                namespace,
                replacement.name,
                replacement.path,
                replacement.value,
                replacement.resource_version,
            )
    for scale in plan.scales:
        with _refusals_of("Deployment", scale.deployment):
            await cluster.scale(
                namespace,
                scale.deployment,
                scale.replicas,
                uid=scale.uid,
                resource_version=scale.resource_version,
            )
    for touch in plan.touches:
        await cluster.annotate_pod(namespace, touch.pod, touch.uid, {touch.annotation: touch.value})
    for delete in plan.deletes:
        await cluster.delete(delete.kind, namespace, delete.name, delete.uid)
    if plan.status is not None:
        body = {**observed.resource.body, "status": dict(plan.status)}
        await (put_status or cluster.put_status)(body)
    for event in plan.events:
        await emitter.emit(observed.resource, event, now)
