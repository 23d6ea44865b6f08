"""The API server's own account of who wrote what and when: its audit log.

Operators are told apart by their User-Agent, which names the process. The log is written before a
request is answered, so whatever an operator was told is in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_AGENT = re.compile(r"^model-operator/\S+ \((?P<identity>[^)]+)\)$")
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["admin"]},
        {
            "level": "Request",
            "verbs": ["create", "update", "patch"],
            "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
        },
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True)
class Write:
    """One request that would change something, whatever was answered."""

    began: float
    """When the API server got it, in seconds of the machine's wall clock."""
    ended: float
    """When it had answered."""
    identity: str
    """The process that sent it."""
    what: str
    """`patch deployments/scale cats-dogs-9c1b04aa57`."""
    code: int
    holder: str | None = None
    """Of the Lease that it wrote, empty where it gave it back; None: it wrote something else."""

    @property
    def of_child(self) -> bool:
        """Whether it is about a child of a resource: not the Lease, an Event or a status."""
        return self.holder is None and " events " not in self.what and "/status" not in self.what


class AuditLog:
    """A file that grows."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self.writes: list[Write] = []
        """All so far that operators sent, in the order of their ends."""

    def follow(self) -> Sequence[Write]:
        """Reads on; returns what is new."""
        with self._file.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        new = list(parse(whole.splitlines()))
        self.writes += new
        return new


def parse(lines: Iterable[bytes]) -> Iterator[Write]:
    """The operators' writes in some lines of the log."""
    for line in lines:
        event = json.loads(line)
        if match := _AGENT.match(event.get("userAgent", "")):
            yield _write(event, match["identity"])


def _write(event: dict[str, Any], identity: str) -> Write:
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    holder = None
    if target["resource"] == "leases":
        holder = event["requestObject"]["spec"].get("holderIdentity") or ""
    return Write(
        began=_seconds(event["requestReceivedTimestamp"]),
        ended=_seconds(event["stageTimestamp"]),
        identity=identity,
        what=f"{event['verb']} {resource} {target.get('name', '')}",
        code=(event.get("responseStatus") or {}).get("code", 0),
        holder=holder,
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True)
class Lead:
    """One process leads from one moment to another."""

    identity: str
    began: float
    """When the request that took the Lease had come."""
    ended: float
    """When the one had come by which the Lease went to another, or was given back."""


def leads(writes: Iterable[Write]) -> list[Lead]:
    """Who held the Lease from when to when, by the writes of it that were accepted."""
    found: list[Lead] = []
    holder, since = "", 0.0
    taken = [w for w in writes if w.holder is not None and 200 <= w.code < 300]
    for write in sorted(taken, key=lambda write: write.ended):
        if write.holder == holder:
            continue
        if holder:
            found.append(Lead(holder, since, write.began))
        holder, since = write.holder or "", write.began
    if holder:
        found.append(Lead(holder, since, float("inf")))
    return found


def out_of_turn(writes: Sequence[Write]) -> list[Write]:
    """The writes, answered well or not, of processes that did not hold the Lease meanwhile."""
    held = leads(writes)
    return [
        write
        for write in writes
        if write.holder is None
        and not any(
            lead.identity == write.identity
            and lead.began <= write.began
            and write.ended <= lead.ended
            for lead in held
        )
    ]


def first_write_of_another(writes: Iterable[Write], identity: str, after: float) -> Write | None:
    """The first accepted write to a child by another process than this."""
    return next(
        (
            write
            for write in writes
            if write.identity != identity
            and write.began >= after
            and write.of_child
            and 200 <= write.code < 300
        ),
        None,
    )
