"""What the proxy has seen: every call of the operator, in order. Read by the campaign."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fault.paths import Request

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One request and what became of it."""

    at: float
    """Of the monotonic clock, when it arrived."""
    life: int
    """Which process of the operator made it, from 1."""
    request: Request
    code: int
    """The answer's status; 0 when it was never answered."""
    committed: bool = False
    """A write that the API server has accepted, whatever the operator heard of it."""
    digest: str = ""
    """Of the request's body, for writes."""
    body: Body | None = None
    """Of the request, for writes."""


@dataclass
class Record:
    """Grows by one entry for each call."""

    calls: list[Call] = field(default_factory=list)

    def add(
        self, life: int, request: Request, code: int, content: bytes, body: Body | None
    ) -> None:
        """Notes a call that has ended."""
        committed = request.writes and 200 <= code < 300
        digest = hashlib.sha256(content).hexdigest()[:12] if request.writes else ""
        now = time.monotonic()
        self.calls.append(Call(now, life, request, code, committed, digest, body))

    def committed(self, since: int = 0) -> Iterator[Call]:
        """The accepted writes from an index on that are more than news, in order."""
        return (call for call in self.calls[since:] if call.committed and call.request.counted)

    def times(self, label: str, since: int = 0) -> int:
        """How often a write with this label was accepted, news included."""
        return sum(c.committed and c.request.label == label for c in self.calls[since:])

    def counts(self, since: int = 0) -> Counter[str]:
        """How often each object was written, by verb; statuses of the resource left out."""
        return Counter(
            call.request.label for call in self.committed(since) if not is_status(call.request)
        )

    def accepted(self, since: int = 0) -> Iterator[str]:
        """The labels of the accepted writes from an index on, news included but no Lease."""
        return (
            call.request.label
            for call in self.calls[since:]
            if call.committed and call.request.plural != "leases"
        )

    def statuses(self, since: int = 0) -> list[Body]:
        """The statuses that were written, in order."""
        return [
            (call.body or {}).get("status") or {}
            for call in self.committed(since)
            if is_status(call.request)
        ]

    def story(self, since: int = 0) -> str:
        """The writes from an index on in short, for people: seconds, life, label, answer."""
        writes = [call for call in self.calls[since:] if call.request.writes]
        return ", ".join(
            f"{call.at - writes[0].at:.1f} ({call.life}) {call.request.label} {call.code}"
            for call in writes
        )

    def quiet_for(self) -> float:
        """Seconds since the last write that was no Lease's, or the last pass."""
        times = [call.at for call in self.calls if _is_of_a_pass(call.request)]
        return time.monotonic() - times[-1] if times else float("inf")


def _is_of_a_pass(request: Request) -> bool:
    """A write, or the read of the resource that each pass makes."""
    if request.writes:
        return request.plural != "leases"
    return (request.verb, request.plural) == ("get", "modeldeployments")


def is_status(request: Request) -> bool:
    """Whether this writes the status of a ModelDeployment."""
    return request.resource == "modeldeployments/status"
