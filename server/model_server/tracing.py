"""W3C Trace Context: where a request stands in its caller's trace.

Source: https://www.w3.org/TR/trace-context/ (level 1). `rest.telemetry` reads it for the log, the
mirror passes it on. No spans are recorded here: ids in log lines are enough to join them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_MAX_TRACESTATE = 4096  # characters; the specification asks for at least 512


@dataclass(frozen=True, slots=True)
class Trace:
    """One request in a trace."""

    trace_id: str
    parent_id: str
    """The caller's span."""
    span_id: str
    """This request's own."""
    sampled: bool
    state: str
    """The caller's `tracestate`, to be passed on as it is; empty where there is none."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request that this one leads to."""
        parent = f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"
        return {"traceparent": parent, **({"tracestate": self.state} if self.state else {})}

    def fields(self) -> dict[str, str]:
        """Return what a log line says of it."""
        return {"trace_id": self.trace_id, "parent_id": self.parent_id, "span_id": self.span_id}


def parse(traceparent: Sequence[str], tracestate: Sequence[str]) -> Trace | None:
    """Read a request's headers of these names, or return None where it is in no valid trace.

    Version ff and ids of zeros are refused, version 00 with more than its four fields too; of a
    later version the four fields are read that this one knows, as the specification says. A
    `tracestate` without a valid `traceparent` counts for nothing.
    """
    found = _TRACEPARENT.fullmatch(traceparent[0]) if len(traceparent) == 1 else None
    if found is None:
        return None
    version, trace_id, parent_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if not int(trace_id, 16) or not int(parent_id, 16):
        return None
    state = ",".join(tracestate)
    return Trace(
        trace_id=trace_id,
        parent_id=parent_id,
        span_id=_new_span_id(),
        sampled=bool(int(flags, 16) & _SAMPLED),
        state=state if len(state) <= _MAX_TRACESTATE and state.isprintable() else "",
    )


def _new_span_id() -> str:
    while not int(span_id := secrets.token_hex(8), 16):
        pass
    return span_id
