"""From measurements to medians, and from medians to what was promised. Pure: `report` prints it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench_server.contenders import CONTENDERS, Comparison
from tests.bench_server.material import MAIN

CONNECTIONS = (1, 8, 32)
FLOOR = "floor"
FLOAT32 = "ours-float32"


@dataclass(frozen=True)
class Key:
    """What was measured: whose server, with which pictures, over how many connections.

    Of the floor, threads stand in place of connections.
    """

    contender: str
    pictures: str
    connections: int


@dataclass(frozen=True)
class Measurement:
    """One load."""

    requests: int
    seconds: float
    cpu_seconds: float
    p50: float
    """Milliseconds, of those that succeeded."""
    p99: float
    """Milliseconds, likewise."""

    @property
    def cpu_milliseconds(self) -> float:
        """The server's CPU for one request; infinite when none succeeded."""
        return 1000 * self.cpu_seconds / self.requests if self.requests else math.inf

    @property
    def per_second(self) -> float:
        """Requests that succeeded, by second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds."""

    cpu_milliseconds: float
    per_second: float
    p50: float
    """Milliseconds."""
    p99: float
    """Milliseconds."""


@dataclass(frozen=True)
class Target:
    """Something promised."""

    name: str
    target: str
    measured: str
    met: bool | None
    """None: not measured."""


Found = Mapping[Key, Figures]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of `values` are not above; infinite without any.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    if not values:
        return math.inf
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def medians(rounds: Iterable[Measurement]) -> Figures:
    """One contender's figures: each the median of what the rounds gave."""
    each = list(rounds)
    return Figures(
        statistics.median(one.cpu_milliseconds for one in each),
        statistics.median(one.per_second for one in each),
        statistics.median(one.p50 for one in each),
        statistics.median(one.p99 for one in each),
    )


def targets(found: Found, *, in_bfloat16: bool) -> Iterator[Target]:
    """All that is promised of speed, in its order.

    `in_bfloat16` says what this server has computed in when nobody told it.
    """
    yield from _against_peers(found, in_bfloat16=in_bfloat16)
    yield from _against_the_floor(found)
    yield from _tails(found)


def _against_peers(found: Found, *, in_bfloat16: bool) -> Iterator[Target]:
    """Three comparisons of CPU; two of them with a factor for each kind of number."""
    factors = {
        Comparison.WELL_WRITTEN: {"bfloat16": 3.5, "float32": 1.8},
        Comparison.ADVISED: {"bfloat16": 7.0, "float32": 3.0},
    }
    ours = {
        "bfloat16": "ours" if in_bfloat16 else None,
        "float32": FLOAT32 if in_bfloat16 else "ours",
    }
    for contender in CONTENDERS:
        name = f"CPU of {contender.title}"
        if contender.comparison is Comparison.SAME_ENGINE:
            wanted = 1.0 if contender.name.startswith("fastapi") else 2.0
            yield _ratio(found, "ours", contender.name, name, wanted)
        for word, wanted in factors.get(contender.comparison, {}).items():
            yield _ratio(found, ours[word], contender.name, f"{name}, ours in {word}", wanted)


def _ratio(found: Found, our_name: str | None, contender: str, name: str, wanted: float) -> Target:
    promised = f"at least {wanted:g} times ours" if wanted > 1 else "more than ours"
    ours = found.get(Key(our_name, MAIN, 32)) if our_name else None
    theirs = found.get(Key(contender, MAIN, 32))
    if ours is None or theirs is None:
        return Target(name, promised, "not measured", None)
    times = theirs.cpu_milliseconds / ours.cpu_milliseconds
    measured = (
        f"{times:.1f} times ({theirs.cpu_milliseconds:.1f} and {ours.cpu_milliseconds:.1f} ms)"
    )
    return Target(name, promised, measured, times >= wanted if wanted > 1 else times > 1)


def _against_the_floor(found: Found) -> Iterator[Target]:
    threads = [key.connections for key in found if key.contender == FLOOR]
    most = found.get(Key(FLOOR, MAIN, max(threads, default=0)))
    for connections, share in ((32, 0.90), (8, 0.85)):
        name = f"rate of decoding and inference alone, {connections} connections"
        ours = found.get(Key("ours", MAIN, connections))
        if ours is None or most is None:
            yield Target(name, f"at least {share:.0%}", "not measured", None)
            continue
        reached = ours.per_second / most.per_second
        measured = f"{reached:.0%} ({ours.per_second:.0f} of {most.per_second:.0f}/s)"
        yield Target(name, f"at least {share:.0%}", measured, reached >= share)
    yield _alone(found)
    name, ours = "HTTP and queueing, of the server's CPU", found.get(Key("ours", MAIN, 32))
    if ours is None or most is None:
        yield Target(name, "at most 25%", "not measured", None)
        return
    share = 1 - most.cpu_milliseconds / ours.cpu_milliseconds
    measured = f"{share:.0%} ({ours.cpu_milliseconds:.2f} and {most.cpu_milliseconds:.2f} ms)"
    yield Target(name, "at most 25%", measured, share <= 0.25)


def _alone(found: Found) -> Target:
    name, promised = "p50 at one connection, of decoding plus inference", "at most 1.3 times"
    ours, one = found.get(Key("ours", MAIN, 1)), found.get(Key(FLOOR, MAIN, 1))
    if ours is None or one is None:
        return Target(name, promised, "not measured", None)
    times = ours.p50 / one.p50
    measured = f"{times:.2f} times ({ours.p50:.2f} and {one.p50:.2f} ms)"
    return Target(name, promised, measured, times <= 1.3)


def _tails(found: Found) -> Iterator[Target]:
    """The p99 beside the best one among the peers that stand as their documentation advises."""
    peers = [
        one.name
        for one in CONTENDERS
        if one.comparison in (Comparison.WELL_WRITTEN, Comparison.ADVISED)
    ]
    for connections in CONNECTIONS:
        name = f"p99 at {connections} connection{'s' if connections > 1 else ''}"
        ours = found.get(Key("ours", MAIN, connections))
        theirs = {
            peer: found[key].p99 for peer in peers if (key := Key(peer, MAIN, connections)) in found
        }
        if ours is None or not theirs:
            yield Target(name, "no worse than any peer's", "not measured", None)
            continue
        best = min(theirs, key=theirs.__getitem__)
        measured = f"{ours.p99:.1f} ms (best peer: {best}, {theirs[best]:.1f} ms)"
        yield Target(name, "no worse than any peer's", measured, ours.p99 <= theirs[best])
