"""What clients notice of a shadow: `make test-shadow-cost` (python -m tests.traffic.shadow_cost).

The same load, a quarter of the measured capacity, in turns without a shadow and with one that gets
a copy of every request and runs at a low share of the processor. The last line has the ratio of
the p99 latencies over the pairs of turns with its 95% interval, beside the target; exit status 1
when a request was lost or the shadow got no copies.
"""

from __future__ import annotations

import argparse
import math
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.errors import ClusterError
from dev.images.errors import ImageError
from dev.kube import CommandFailed, NotInTime
from dev.progress import say
from dev.stage import LoadJob, make_namespace
from tests.e2e.model import Model, Registry
from tests.traffic.operator import Operator
from tests.traffic.proof import ProvesNothing, prove
from tests.traffic.scene import Scene, Unexpected
from tests.traffic.stage import prepare
from tests.traffic.starts import Starts
from tests.traffic.watch import Body

TARGET = 1.05
QUARTER = 0.25
TURN_SECONDS = 25.0
PAIRS = 8
STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Quantiles of Student's t for a two-sided interval, by the number of pairs."""
STABLE = {"resources": {"requests": {"cpu": "500m"}}}
LOW_SHARE = {"resources": {"requests": {"cpu": "10m"}}}
STRATEGY = {
    "type": "Shadow",
    "scaleDownDelaySeconds": 20,
    "shadow": {"percent": 100, "minAgreement": 0.0, "minSamples": 1_000_000_000},
}


@dataclass(frozen=True)
class Turn:
    """One load, without or with the shadow."""

    p99: float
    """Milliseconds."""
    requests: int
    failed: int


def main() -> int:
    """Measures, and says what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.traffic.shadow_cost")
    parser.add_argument("--pairs", type=int, default=PAIRS, choices=sorted(STUDENT_95))
    parser.add_argument("--as-is", action="store_true", help="with the images that are there")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            registry = prepare(Path(folder), as_is=options.as_is)
            return measure(registry, options.pairs)
    except (
        *(ClusterError, ImageError, CommandFailed),
        *(NotInTime, ProvesNothing, Unexpected),
    ) as error:
        say(f"shadow cost: {error}", sys.stderr)
        return 1


def measure(registry: Registry, pairs: int) -> int:
    """Pairs of turns, in either order."""
    rate = QUARTER * prove(registry).capacity
    say(f"{pairs} pairs of {TURN_SECONDS:.0f} s at {rate:.0f} requests a second")
    namespace = f"shadow-cost-{secrets.token_hex(3)}"
    make_namespace(registry.stage.kube, namespace)
    model = Model(registry, namespace)
    scene = Scene(model, Operator(model.kube), {"server": STABLE, "strategy": STRATEGY}, Starts())
    without, shadowed, copies = list[Turn](), list[Turn](), 0
    try:
        scene.go_live()
        for number in range(pairs):
            order = (False, True) if number % 2 == 0 else (True, False)
            for wanted in order:
                change(scene, shadow=wanted)
                turn = take_turn(model, rate)
                (shadowed if wanted else without).append(turn)
                copies += compared_now(scene) if wanted else 0
            ratio = shadowed[-1].p99 / without[-1].p99
            say(
                f"pair {number + 1}: p99 {without[-1].p99:.1f} ms without,"
                f" {shadowed[-1].p99:.1f} ms with a shadow, ratio {ratio:.3f}"
            )
    finally:
        scene.close()
    return conclude(without, shadowed, copies)


def change(scene: Scene, *, shadow: bool) -> None:
    """Starts a shadow and waits until it is compared, or takes it back and waits until it ended."""
    first, second = scene.versions
    if not shadow:
        scene.apply(first, server=STABLE)
        scene.until_live(first)
        return
    scene.apply(second, server=LOW_SHARE)

    def compared(body: Body) -> bool:
        found = metric(body)
        return found is not None and int(found.get("samples", 0)) > 0

    # Copies are counted while there are requests: a few are enough to see that they arrive.
    model, picture = scene.model, min((scene.model.registry.pictures / "cat").glob("*.jpg"))
    load = LoadJob(model.kube, model.namespace)
    endpoint = model.stage.endpoint(model.namespace, model.name)
    load.start(endpoint, picture, requests=100_000, rate=20, cpu="100m")
    scene.until(compared, "the shadow's predictions are compared")
    load.stop(60)


def metric(body: Body) -> dict[str, Any] | None:
    """What status says of the comparison."""
    found = body.get("status", {}).get("analysis") or ()
    return next((one for one in found if one["name"] == "shadow-agreement"), None)


def compared_now(scene: Scene) -> int:
    """The predictions that were compared by now."""
    found = metric(scene.watch.body)
    return int(found["samples"]) if found else 0


def take_turn(model: Model, rate: float) -> Turn:
    """One load of its own."""
    picture = min((model.registry.pictures / "cat").glob("*.jpg"))
    load = LoadJob(model.kube, model.namespace)
    endpoint = model.stage.endpoint(model.namespace, model.name)
    load.start(endpoint, picture, requests=int(rate * TURN_SECONDS), rate=rate, cpu="400m")
    time.sleep(TURN_SECONDS)  # to ask whether it has ended would disturb it
    report = load.result(120)
    return Turn(float(report["latency_ms"]["p99"]), int(report["requests"]), int(report["failed"]))


def conclude(without: Sequence[Turn], shadowed: Sequence[Turn], copies: int) -> int:
    """The line of figures; the exit status."""
    logs = [math.log(b.p99 / a.p99) for a, b in zip(without, shadowed, strict=True)]
    mean = statistics.fmean(logs)
    half = STUDENT_95[len(logs)] * statistics.stdev(logs) / math.sqrt(len(logs))
    ratio, low, high = (math.exp(value) for value in (mean, mean - half, mean + half))
    turns = [*without, *shadowed]
    requests, failed = (
        sum(getattr(turn, name) for turn in turns) for name in ("requests", "failed")
    )
    met = "met" if ratio <= TARGET else "not met"
    say(
        f"p99 with a shadow of everything: target {TARGET} times that without, measured {ratio:.3f}"
        f" (95% interval {low:.3f} to {high:.3f}, {len(logs)} pairs): {met};"
        f" requests {requests}, failed {failed}, copies compared {copies}"
    )
    return 1 if failed or not copies else 0


if __name__ == "__main__":
    sys.exit(main())
