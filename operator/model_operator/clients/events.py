"""The EventEmitter: transitions as Kubernetes Events, and as structured log lines.

Events are news, not state: one that cannot be written is logged and forgotten, and never holds
up a rollout. That goes for one that the fence holds back, too: who lost the lead writes nothing
more, and the next leader finds the status written and has nothing to tell.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Protocol

import structlog

from model_operator import api, naming
from model_operator.clients.cluster import Cluster
from model_operator.errors import ApiError, ApiUnreachable, NotLeading
from model_operator.observed import Resource
from model_operator.plan import Event
from model_operator.timestamps import format_time

LONGEST_MESSAGE = 1024
"""What the API accepts, in characters."""

log = structlog.get_logger(__name__)


class EventEmitter(Protocol):
    """Tells people what happened."""

    async def emit(self, resource: Resource, event: Event, now: datetime) -> None:
        """Tells of one transition of `resource`, whose status has it already; raises nothing."""
        ...


class ClusterEvents:
    """Writes core/v1 Events about the ModelDeployment; `kubectl describe md` shows them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def emit(self, resource: Resource, event: Event, now: datetime) -> None:
        """See `EventEmitter.emit`."""
        moment = format_time(now)
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                # An Event has no identity to be found by again, so a random name does no harm.
                "name": f"{resource.name}.{secrets.token_hex(8)}",
                "namespace": resource.namespace,
            },
            "involvedObject": {
                "apiVersion": api.API_VERSION,
                "kind": api.KIND,
                "name": resource.name,
                "namespace": resource.namespace,
                "uid": resource.uid,
                "resourceVersion": resource.body["metadata"]["resourceVersion"],
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:LONGEST_MESSAGE],
            "source": {"component": naming.MANAGER},
            "reportingComponent": naming.MANAGER,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            await self._cluster.create(body)
        except (ApiError, ApiUnreachable, NotLeading) as error:
            log.warning(
                "event not written",
                namespace=resource.namespace,
                name=resource.name,
                reason=event.reason,
                message=event.message,
                error=str(error),
            )
