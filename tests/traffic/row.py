"""One row of the campaign: a workflow's rounds under load, and what clients saw meanwhile."""

from __future__ import annotations

import math
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dev.kube import CommandFailed, NotInTime
from dev.stage import SYSTEM_NAMESPACE, LoadJob, make_namespace
from tests.e2e.model import Model, Registry
from tests.traffic.judgement import strays
from tests.traffic.operator import Operator
from tests.traffic.scene import Scene, Unexpected
from tests.traffic.starts import Starts
from tests.traffic.workflows import Workflow

MOST_REQUESTS = 500_000
LOAD_END_SECONDS = 60.0
LOSSES_SHOWN = 5
OF_PODS = ("-l", "cvfactory.dev/model-deployment")
EVERYTHING = (
    "--all-containers",
    "--prefix",
    "--timestamps",
    "--tail=9999",
    "--max-log-requests=50",
)


@dataclass
class Row:
    """What became of one workflow."""

    workflow: Workflow
    phase: str = "waits"
    """What it does now, for the progress line."""
    rounds: int = 0
    seconds: float = 0.0
    report: Mapping[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    evidence: Path | None = None

    @property
    def requests(self) -> int:
        """How many were sent."""
        return int(self.report.get("requests", 0))

    @property
    def failed(self) -> int:
        """How many of them were lost."""
        return int(self.report.get("failed", 0))

    @property
    def good(self) -> bool:
        """All came as it should."""
        return not self.problems and not self.failed and self.requests > 0

    def line(self) -> str:
        """For the table."""
        latency = self.report.get("latency_ms", {})
        versions = self.report.get("versions", {})
        told = " ".join(f"v{name}:{count}" for name, count in sorted(versions.items()))
        outcome = "; ".join(self.problems) or f"as expected, {self.rounds} rounds"
        return (
            f"{self.workflow.name:22} {self.requests:8} {self.failed:6}"
            f" {latency.get('p50', 0):7.1f} {latency.get('p99', 0):8.1f} {self.seconds:7.0f}"
            f"  {told:20}  {outcome}"
        )

    def losses(self) -> list[str]:
        """What was lost, the first of it with its time."""
        if not self.failed:
            return []
        first = [
            f"{kind} at {time.strftime('%H:%M:%S', time.gmtime(due))}{f'{due % 1:.2f}'[1:]}"
            for due, kind in self.report.get("losses", ())[:LOSSES_SHOWN]
        ]
        return [f"  lost: {self.report['failures']}, first {', '.join(first)}"]


HEADER = (
    f"{'workflow':22} {'requests':>8} {'failed':>6} {'p50 ms':>7} {'p99 ms':>8} {'seconds':>7}"
    f"  {'versions':20}  outcome"
)


@dataclass(frozen=True)
class Pace:
    """How much load a row gets."""

    rate: float
    """Requests a second."""
    requests: int
    """The least number of them."""
    cpu: str
    """The load's share of the node's processors."""

    def of(self, workflow: Workflow) -> Pace:
        """For requests that cost the servers more; as many of them in as much time."""
        return replace(
            self,
            rate=round(self.rate / workflow.work, 1),
            requests=math.ceil(self.requests / workflow.work),
        )


def play(
    row: Row,
    registry: Registry,
    operator: Operator,
    pace: Pace,
    starts: Starts,
    faulty_image: str = "",
) -> None:
    """Plays the row's workflow until it has had its rounds and its requests."""
    namespace = f"traffic-{row.workflow.name}-{secrets.token_hex(3)}"
    make_namespace(registry.stage.kube, namespace)
    model = Model(registry, namespace)
    scene = Scene(model, operator, row.workflow.spec, starts, faulty_image)
    load = LoadJob(model.kube, namespace)
    started = time.monotonic()
    try:
        row.phase = "first version starts"
        scene.go_live()
        load.start(
            model.stage.endpoint(namespace, model.name),
            min((registry.pictures / "cat").glob("*.jpg")),
            requests=MOST_REQUESTS,
            rate=pace.rate,
            cpu=pace.cpu,
        )
        _rounds(row, scene, load, pace)
        _judge(row, scene)
    except (Unexpected, NotInTime, CommandFailed) as error:
        row.problems.append(str(error))
    finally:
        row.seconds = time.monotonic() - started
        row.phase = "ended"
        if not row.good:
            row.evidence = _evidence(scene, namespace, row)
        scene.close()


def _rounds(row: Row, scene: Scene, load: LoadJob, pace: Pace) -> None:
    """Plays the rounds; a problem ends them, and the load is ended and counted in any case."""
    until = time.monotonic() + pace.requests / pace.rate
    try:
        while row.rounds < row.workflow.rounds or time.monotonic() < until:
            row.phase = f"round {row.rounds + 1}"
            if row.workflow.moments:
                words, moment = row.workflow.moments[row.rounds % len(row.workflow.moments)]
                scene.kill_operator_when(moment(scene, scene.other), words)
            row.workflow.play(scene, row.rounds)
            scene.settle_disturbance()
            row.rounds += 1
    except (Unexpected, NotInTime) as error:
        row.problems.append(f"round {row.rounds + 1}: {error}")
    finally:
        row.phase = "load ends"
        row.report = load.stop(LOAD_END_SECONDS)


def _judge(row: Row, scene: Scene) -> None:
    """Whether each version answered only when it may have."""
    history = scene.watch.history
    versions = set(row.report.get("versions", {}))
    allowed = {version: history.spans(version) for version in versions}
    row.problems += strays(row.report.get("spans", {}), allowed, scene.operator.outages)


def _evidence(scene: Scene, namespace: str, row: Row) -> Path:
    """A folder with what tells why: the resource, its pods, events and logs."""
    folder = Path(tempfile.mkdtemp(prefix=f"traffic-{row.workflow.name}-"))
    operator = ("logs", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
    told = {
        "resource.yaml": ("get", "modeldeployment", "-n", namespace, "-o", "yaml"),
        "objects.txt": ("get", "all,endpoints,configmaps", "-n", namespace, "-o", "wide"),
        "events.txt": ("get", "events", "-n", namespace, "--sort-by=.lastTimestamp"),
        "operator.log": (*operator, "--tail=2000"),
        "pods.log": ("logs", "-n", namespace, *OF_PODS, *EVERYTHING),
    }
    for name, command in told.items():
        try:
            text = scene.kube.kubectl(*command)
        except CommandFailed as error:
            text = str(error)
        (folder / name).write_text(text)
    report = "\n".join(f"{key}: {value}" for key, value in row.report.items())
    moments = scene.watch.history.moments if scene.status_known else []
    history = "\n".join(f"{moment:.2f} {shown}" for moment, shown in moments)
    (folder / "load.txt").write_text(f"{report}\n\nweights that status showed\n{history}\n")
    return folder
