"""The release step of Jenkins and GitLab, run as shell against a real API server and operator."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster.controlplane import ControlPlane
from tests.operator.builders import crashed
from tests.operator.cli import test_cluster
from tests.operator.conftest import Kubectl
from tests.operator.pod_player import PodPlayer

ROOT = Path(__file__).resolve().parents[3]
PIPELINES = ROOT / "examples/pipelines"
logs_apart, operating, write = test_cluster.logs_apart, test_cluster.operating, test_cluster.write


async def release(
    folder: Path, plane: ControlPlane, namespace: str, file: str, **more: str
) -> tuple[int, str]:
    """Runs the script as a pipeline would: its exit status and all that it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    named = {"FILE": file, "MODEL": "cats-dogs", "NAMESPACE": namespace, "TIMEOUT": "60s"}
    process = await asyncio.create_subprocess_exec(
        *("bash", str(PIPELINES / "release.sh")),
        cwd=folder,
        env={**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig), **named, **more},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


def released(folder: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((folder / "release.json").read_text())
    return body


@pytest.mark.api
async def test_a_release_ends_with_0_when_it_is_live_and_with_1_and_the_reason_when_it_failed(
    control_plane: ControlPlane, namespace: str, write, operating: PodPlayer, tmp_path: Path
):
    status, said = await release(tmp_path, control_plane, namespace, write(), SMOKE="0")
    assert status == 0, said
    assert released(tmp_path)["outcome"] == "ready"
    operating.state_of = lambda pod: (
        {**crashed(3, "wrong bytes", name="fetch"), "ready": False, "restartCount": 1,
         "imageID": ""}
        if any("models:/cats-dogs/2" in c["command"] for c in pod["spec"]["initContainers"])
        else None
    )  # fmt: skip
    status, said = await release(tmp_path, control_plane, namespace, write(2), SMOKE="0")
    assert status == 1, said
    assert released(tmp_path)["reason"] == "ModelRefused"
    assert "Stalled=True ModelRefused" in said, "the log shows where it stands"


@pytest.mark.api
async def test_a_dry_run_changes_nothing_and_what_is_not_valid_ends_it(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str, write, tmp_path: Path
):
    status, said = await release(tmp_path, control_plane, namespace, write(), DRY_RUN="1")
    assert (status, kubectl("get", "md", "-n", namespace, "-o", "name").stdout) == (0, ""), said
    wrong = write(replicas=-1)
    status, said = await release(tmp_path, control_plane, namespace, wrong)
    assert status == 1
    assert "replicas" in said
    assert not (tmp_path / "release.json").exists()


async def test_what_is_released_must_be_named(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *("bash", str(PIPELINES / "release.sh")),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"the file with the ModelDeployment" in said


def test_both_pipelines_run_that_script_with_all_that_it_asks_for():
    gitlab = yaml.safe_load((PIPELINES / "gitlab-ci.yml").read_text())["release"]
    jenkins = (PIPELINES / "Jenkinsfile").read_text()
    assert gitlab["script"] == ["bash pipelines/release.sh"]
    assert "sh 'bash pipelines/release.sh'" in jenkins
    for name in ("FILE", "MODEL", "NAMESPACE"):
        assert name in gitlab["variables"]
        assert f"string(name: '{name}'" in jenkins
