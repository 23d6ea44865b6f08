"""Every kind of bad canary: `make test-bad-canaries`, or `python -m tests.traffic.bad_canaries`.

Each is introduced by strategy Canary under load, at once with half of the requests, and must be at
weight 0 again within (failureLimit + 1) intervals and 2 s of its first requests; one that crashes,
is started anew and crashes again, within 5 s of that. What never becomes ready must never have a
request. The last line has the figures; exit status 1 when one of them is not as it must be.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dev.cluster.errors import ClusterError
from dev.images.errors import ImageError
from dev.kube import CommandFailed, NotInTime, wait_until
from dev.progress import say
from dev.stage import LoadJob, make_namespace
from model_operator import reasons
from tests.e2e.model import MODEL, Model, Registry
from tests.traffic.faulty_image import faulty_image
from tests.traffic.operator import Operator
from tests.traffic.scene import Scene, Unexpected
from tests.traffic.stage import prepare
from tests.traffic.starts import Starts
from tests.traffic.workflows import SERVER

INTERVAL_SECONDS = 3
FAILURE_LIMIT = 1
LIMIT_SECONDS = (FAILURE_LIMIT + 1) * INTERVAL_SECONDS + 2.0
AT_ONCE_SECONDS = 5.0
RATE = 40.0
MOST_REQUESTS = 100_000
CRASH_SECONDS = 120.0
ANALYSIS = {
    "interval": f"{INTERVAL_SECONDS}s",
    "failureLimit": FAILURE_LIMIT,
    "minRequests": 5,
    "onNoData": "Fail",
    "metrics": [
        {"name": "error-rate", "max": 0.01},
        {"name": "latency-p95-ms", "max": 300},
    ],
}
CANARY = {
    "type": "Canary",
    "scaleDownDelaySeconds": 20,
    "canary": {"steps": [{"setWeight": 50}, {"pause": {}}]},
}
SHADOW = {
    "type": "Shadow",
    "scaleDownDelaySeconds": 20,
    "shadow": {"percent": 100, "minAgreement": 0.9, "minSamples": 50},
}


@dataclass(frozen=True)
class Bad:
    """One kind of bad canary."""

    name: str
    within: float | None
    """Seconds from its first requests (or its second crash) until it has none for good; None: it
    must never have any, and be given up.
    """
    strategy: dict[str, Any]
    reason: str
    """Of the failure: giving it up for another one shows nothing."""
    fault: str = ""
    """Of the faulty server."""
    crashes: bool = False
    env: tuple[tuple[str, str], ...] = ()
    deadline: int = 600
    """progressDeadlineSeconds."""


KINDS = (
    Bad("answers 500", LIMIT_SECONDS, CANARY, reasons.ANALYSIS_FAILED, "errors"),
    Bad(
        "slow",
        LIMIT_SECONDS,
        CANARY,
        reasons.ANALYSIS_FAILED,
        "slow",
        env=(("FAULT_SECONDS", "0.5"),),
    ),
    Bad("never answers", LIMIT_SECONDS, CANARY, reasons.ANALYSIS_FAILED, "hang"),
    Bad("crash loop", AT_ONCE_SECONDS, CANARY, reasons.CONTAINER_CRASHED, "crash", crashes=True),
    Bad("silent metrics", LIMIT_SECONDS, CANARY, reasons.ANALYSIS_FAILED, "silent-metrics"),
    Bad("absurd metrics", LIMIT_SECONDS, CANARY, reasons.ANALYSIS_FAILED, "absurd-metrics"),
    Bad("never ready", None, CANARY, reasons.NOT_READY, "never-ready", deadline=20),
    Bad("wrong digest", None, CANARY, reasons.MODEL_REFUSED),
    Bad("wrong classes", None, SHADOW, reasons.ANALYSIS_FAILED, "wrong-classes"),
)


@dataclass(frozen=True)
class Result:
    """What became of one of them."""

    bad: Bad
    seconds: float | None
    """From its first requests (or second crash) until it had none; None: it had none."""
    problem: str
    said: str
    """What status says of it."""

    def line(self) -> str:
        """For the table."""
        limit = "never any" if self.bad.within is None else f"{self.bad.within:.0f} s"
        seconds = "none" if self.seconds is None else f"{self.seconds:.1f} s"
        verdict = f"NOT AS IT MUST BE: {self.problem}" if self.problem else self.said
        return f"{self.bad.name:16} {limit:>10} {seconds:>9}  {verdict}"


def main() -> int:
    """Plays each kind in turn."""
    parser = argparse.ArgumentParser(prog="python -m tests.traffic.bad_canaries")
    parser.add_argument("--kind", action="append", choices=[bad.name for bad in KINDS])
    parser.add_argument("--as-is", action="store_true", help="with the images that are there")
    options = parser.parse_args()
    kinds = [bad for bad in KINDS if not options.kind or bad.name in options.kind]
    results: list[Result] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            registry = prepare(Path(folder), as_is=options.as_is)
            image = faulty_image()
            say(f"{'bad canary':16} {'limit':>10} {'weight 0':>9}  what status says")
            for bad in kinds:
                results.append(play(bad, registry, image))
                say(results[-1].line())
    except (ClusterError, ImageError, CommandFailed, NotInTime) as error:
        say(f"bad canaries: {error}", sys.stderr)
        return 1
    return conclude(results)


def conclude(results: Sequence[Result]) -> int:
    """The line of figures; the exit status."""
    good = [result for result in results if not result.problem]
    judged = [r.seconds for r in results if r.seconds is not None and not r.bad.crashes]
    crashed = [r.seconds for r in results if r.seconds is not None and r.bad.crashes]
    say(
        f"bad canaries {len(results)}, at weight 0 as they must {len(good)}; by analysis within"
        f" {max(judged, default=0):.1f} s (limit {LIMIT_SECONDS:.0f} s), crashed within"
        f" {max(crashed, default=0):.1f} s (limit {AT_ONCE_SECONDS:.0f} s)"
    )
    return 0 if len(good) == len(results) else 1


def play(bad: Bad, registry: Registry, image: str) -> Result:
    """Introduces the bad canary under load."""
    namespace = f"bad-{bad.name.replace(' ', '-')}-{secrets.token_hex(3)}"
    make_namespace(registry.stage.kube, namespace)
    model = Model(registry, namespace)
    spec = {
        "replicas": 2,
        "server": SERVER,
        "strategy": bad.strategy,
        "analysis": ANALYSIS,
        "progressDeadlineSeconds": bad.deadline,
    }
    scene = Scene(model, Operator(model.kube), spec, Starts(), image)
    load = LoadJob(model.kube, namespace)
    try:
        scene.go_live()
        picture = min((registry.pictures / "cat").glob("*.jpg"))
        endpoint = model.stage.endpoint(namespace, model.name)
        load.start(endpoint, picture, requests=MOST_REQUESTS, rate=RATE, cpu="200m")
        seconds = introduce(scene, bad)
        said = str(scene.status.get("lastFailure", {}).get("message", ""))
        return Result(bad, seconds, judge(bad, seconds), said)
    except (Unexpected, NotInTime) as error:
        return Result(bad, None, str(error), "")
    finally:
        scene.close()


def introduce(scene: Scene, bad: Bad) -> float | None:
    """Applies it, and measures how long it had requests; it is given up when this returns."""
    before, version = scene.stable, scene.other
    env = [{"name": name, "value": value} for name, value in (("FAULT", bad.fault), *bad.env)]
    server = {**SERVER, "image": scene.faulty_image, "env": env} if bad.fault else SERVER
    if not bad.fault:
        version = register_with_wrong_digest(scene)
    scene.apply(version, server=server)
    shown = loop_shown(scene) if bad.crashes else None
    scene.until_rolled_back(before, bad.reason)
    return had_requests(scene.watch.history.spans(version), shown)


def had_requests(spans: Sequence[tuple[float, float]], shown: float | None = None) -> float | None:
    """Seconds from the first requests, or from what was `shown` later, until there were none for
    good, spans without any in between included; None: there never were any.
    """
    if not spans:
        return None
    (first, _), (_, last) = spans[0], spans[-1]
    return last - (first if shown is None else shown)


def loop_shown(scene: Scene) -> float:
    """Waits until a container of the canary has ended by itself again; when that was.

    Raises:
        NotInTime: none has.

    """
    canary = scene.until(lambda body: "canary" in body["status"], "a canary is introduced")
    revision = canary["status"]["canary"]["revision"]
    ended: list[float] = []

    def seen() -> bool:
        ended.extend(second_ends(scene.model.pods(revision=revision)))
        return bool(ended)

    wait_until(seen, "a container of the canary has crashed again", CRASH_SECONDS)
    return min(ended)


def second_ends(pods: Sequence[dict[str, Any]]) -> list[float]:
    """When containers that had been started anew ended again, in seconds since 1970."""
    found = []
    for pod in pods:
        for status in pod["status"].get("containerStatuses", ()):
            runs = "running" in status["state"]
            last = status["lastState"] if runs or "waiting" in status["state"] else status["state"]
            if status["restartCount"] + (not runs) >= 2 and "terminated" in last:
                at = last["terminated"]["finishedAt"]
                found.append(datetime.fromisoformat(at).timestamp())
    return found


def judge(bad: Bad, seconds: float | None) -> str:
    """What is wrong; empty when nothing is."""
    if bad.within is None:
        return "" if seconds is None else f"it had requests for {seconds:.1f} s"
    if seconds is None:
        return "it never had a request, so nothing was shown"
    return "" if seconds <= bad.within else f"{seconds:.1f} s is more than {bad.within:.0f} s"


def register_with_wrong_digest(scene: Scene) -> str:
    """A version whose tag is not the digest of its bytes."""
    from mlflow import MlflowClient  # noqa: PLC0415 - slow to import, and only needed here

    with scene.model.stage.mlflow() as url:
        client = MlflowClient(url)
        good = client.get_model_version(MODEL, scene.other)
        tags = {"sha256": "0" * 64}
        bad = client.create_model_version(MODEL, good.source, good.run_id, tags=tags)
    return str(bad.version)


if __name__ == "__main__":
    sys.exit(main())
