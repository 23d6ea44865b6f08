"""Whether each version answered only when it may have: spans of answers against status's history.

Pure. A version may answer while status gives it a weight, and a little around that: the write that
moves requests comes just before the status that tells of it, and a kept-alive connection stays
with its server until that closes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Span = tuple[float, float]

AHEAD_SECONDS = 5.0
"""How much later than the requests status may move while the operator runs."""
KEPT_ALIVE_SECONDS = 20.0
"""15 s until a server closes a kept-alive connection, and one request on it."""


def strays(
    answered: Mapping[str, Sequence[Sequence[float]]],
    allowed: Mapping[str, Sequence[Span]],
    outages: Sequence[Span] = (),
) -> list[str]:
    """A sentence for each span of answers of a version that it may not have given.

    `outages` are the times in which the operator did not run: it tells of what it did before only
    when it is back.
    """
    first = min((span[0] for spans in answered.values() for span in spans), default=0.0)

    def told(spans: Sequence[Sequence[float]]) -> str:
        return ", ".join(f"{start - first:.1f} to {stop - first:.1f} s" for start, stop in spans)

    return [
        f"version {version} answered from {begin - first:.1f} to {end - first:.1f} s, but had a"
        f" weight only from {told(allowed.get(version, ())) or 'never'}"
        for version, spans in answered.items()
        for begin, end in spans
        if not any(
            _earliest(start, outages) <= begin and end <= stop + KEPT_ALIVE_SECONDS
            for start, stop in _joined(allowed.get(version, ()))
        )
    ]


def _earliest(start: float, outages: Sequence[Span]) -> float:
    """The operator may have moved the requests just before it was killed."""
    told_late = [
        down for down, up in outages if down - AHEAD_SECONDS <= start <= up + AHEAD_SECONDS
    ]
    return min([start, *told_late]) - AHEAD_SECONDS


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Spans whose gap is shorter than what a kept-alive connection bridges become one."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start - AHEAD_SECONDS <= found[-1][1] + KEPT_ALIVE_SECONDS:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found
