"""Reads and writes the one Lease by which operators agree who leads. Used by `runtime.election`.

It has a connection of its own, which no other request can keep busy, and its writes pass no fence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio import client

from model_operator import naming
from model_operator.clients.cluster import path
from model_operator.clients.transport import Body, CallObserver, Transport
from model_operator.errors import NotFound
from model_operator.leadership import ABSENT, Claim, Lease
from model_operator.timestamps import format_micro_time

KIND = "Lease"
API_VERSION = "coordination.k8s.io/v1"


def connect(
    configuration: client.Configuration,
    namespace: str,
    name: str,
    observe: CallObserver | None = None,
) -> LeaseClient:
    """A connection of its own for somebody who is logged in already."""
    return LeaseClient(Transport(client.ApiClient(configuration), observe), namespace, name)


class LeaseClient:
    """One Lease, by its namespace and name."""

    def __init__(
        self,
        transport: Transport,
        namespace: str,
        name: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`clock` tells the times that stand in the Lease, which only people read."""
        self._transport = transport
        self._namespace = namespace
        self._name = name
        self._clock = clock

    def __str__(self) -> str:
        """As kubectl has it, for people."""
        return f"{self._namespace}/{self._name}"

    async def close(self) -> None:
        """Closes the connection."""
        await self._transport.close()

    async def read(self) -> Lease:
        """What it says now; ABSENT where there is none."""
        try:
            return lease_of(await self._transport.json("get", KIND, self._path(self._name)))
        except NotFound:
            return ABSENT

    async def write(self, seen: Lease, claim: Claim) -> Lease:
        """Writes a claim into the Lease as it was seen, or makes it; what it then says.

        Raises:
            Conflict: it has changed since, or somebody else has made it.

        """
        spec = self._spec(claim)
        manager = {"fieldManager": naming.MANAGER}
        if seen.version:
            body: Body = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
            content = "application/merge-patch+json"
            answer = await self._transport.json(
                "patch", KIND, self._path(self._name), manager, body, content
            )
        else:
            body = {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            answer = await self._transport.json("create", KIND, self._path(), manager, body)
        return lease_of(answer)

    def _path(self, name: str | None = None) -> str:
        return path(KIND, self._namespace, name)

    def _spec(self, claim: Claim) -> Body:
        now = format_micro_time(self._clock())
        spec: Body = {
            "holderIdentity": claim.holder or None,
            "leaseDurationSeconds": claim.seconds,
            "leaseTransitions": claim.transitions,
            "renewTime": now,
        }
        return {**spec, "acquireTime": now} if claim.anew else spec


def lease_of(body: Mapping[str, Any]) -> Lease:
    """What a Lease's body says; all of its spec may be missing."""
    spec = body.get("spec") or {}
    return Lease(
        version=body["metadata"]["resourceVersion"],
        holder=spec.get("holderIdentity") or "",
        seconds=spec.get("leaseDurationSeconds") or 0,
        transitions=spec.get("leaseTransitions") or 0,
    )
