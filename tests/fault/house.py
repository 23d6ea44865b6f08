"""Where stages stand: a control plane with the CRD and the chart's role, and a registry.

Used by the tests' session fixture and by `python -m tests.fault`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dev import tools
from dev.cluster.controlplane import ControlPlane
from model_operator import crd
from tests.definitions import wait_until_served
from tests.fault import role
from tests.fault.admin import Admin
from tests.fault.mlflow_server import mlflow_server
from tests.fault.pod_answers import PodAnswers
from tests.fault.stage import Stage
from tests.operator.pod_player import PodPlayer

SIDE_BY_SIDE = 14


@dataclass(frozen=True)
class House:
    """Running servers, on the loopback."""

    kubeconfig: Path
    tracking_uri: str
    folder: Path

    @contextlib.asynccontextmanager
    async def stage(self, side_by_side: int = SIDE_BY_SIDE) -> AsyncIterator[Stage]:
        """A stage with so many scenes at a time."""
        async with Admin(self.kubeconfig) as admin, PodPlayer(admin) as player:
            free = asyncio.Semaphore(side_by_side)
            answers = PodAnswers(admin, player.pod)
            yield Stage(admin, player, answers, self.tracking_uri, self.folder, free)


@contextlib.contextmanager
def house(*controller_options: str) -> Iterator[House]:
    """Starts everything, and ends it with the block."""
    with (
        tempfile.TemporaryDirectory(prefix="fault-") as scratch,
        ControlPlane(controller_manager=True, controller_options=controller_options) as plane,
    ):
        folder = Path(scratch)
        registry = folder / "mlflow"
        registry.mkdir()
        install(plane.kubeconfig)
        with mlflow_server(registry) as tracking_uri:
            yield House(plane.kubeconfig, tracking_uri, folder)


def install(kubeconfig: Path) -> None:
    """The CRD and the operator's role, as the chart has them."""
    definition = yaml.safe_dump(crd.custom_resource_definition())
    _kubectl(kubeconfig, "apply", "--server-side", "-f", "-", stdin=definition)
    wait_until_served(functools.partial(_run_kubectl, kubeconfig), crd.NAME)
    _kubectl(kubeconfig, "apply", "-f", "-", stdin=role.manifest())


def _kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> None:
    done = _run_kubectl(kubeconfig, *arguments, stdin=stdin)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"


def _run_kubectl(
    kubeconfig: Path, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(tools.kubectl()), "--kubeconfig", str(kubeconfig), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
