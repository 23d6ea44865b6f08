"""The release step of Jenkins and GitLab, run as shell against a real API server and operator."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import zipfile
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


KUBECTL_MD = """\
#!/bin/sh
echo "$*" >> asked
case "$*" in
*--wait*) echo '{"outcome": "ready"}'; exit "${DEPLOYED:-0}";;
smoke*) exit "${SMOKED:-0}";;
esac
"""
"""Writes down what it is asked, and ends as a test says."""
DRY_RUN = "deploy -f release.yaml --namespace vision --dry-run"
DEPLOY = "deploy -f release.yaml --namespace vision --wait --timeout 30m --json"
SMOKE = "smoke cats-dogs --namespace vision --via api-server"
STATUS = "status cats-dogs --namespace vision"


def alone(folder: Path, programs: Path, **more: str) -> tuple[int, str, list[str]]:
    """Runs the script where nothing but these programs and the system's are on the PATH: its exit
    status, all that it prints, and what kubectl-md was asked.
    """
    named = {"FILE": "release.yaml", "MODEL": "cats-dogs", "NAMESPACE": "vision"}
    done = subprocess.run(
        ["bash", str(PIPELINES / "release.sh")],
        cwd=folder,
        env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(folder), **named, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    asked = folder / "asked"
    lines = asked.read_text().splitlines() if asked.exists() else []
    return done.returncode, done.stdout + done.stderr, lines


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder for the PATH with the system's own python3."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return folder


@pytest.mark.parametrize(
    ("ends", "status", "asked"),
    [
        ({}, 0, [DRY_RUN, DEPLOY, SMOKE]),
        ({"SMOKE": "0"}, 0, [DRY_RUN, DEPLOY]),
        ({"SMOKED": "1"}, 1, [DRY_RUN, DEPLOY, SMOKE]),
        ({"DEPLOYED": "3"}, 3, [DRY_RUN, DEPLOY, STATUS]),
    ],
    ids=["it answers", "it is not asked", "it does not answer", "it is not live in time"],
)
def test_a_live_endpoint_is_asked_and_one_that_does_not_answer_fails_the_release(
    programs: Path, tmp_path: Path, ends: dict[str, str], status: int, asked: list[str]
):
    (programs / "kubectl-md").write_text(KUBECTL_MD)
    (programs / "kubectl-md").chmod(0o755)
    ended, said, lines = alone(tmp_path, programs, **ends)
    assert (ended, lines) == (status, asked), said
    assert released(tmp_path)["outcome"] == "ready"


def test_where_there_is_no_kubectl_md_it_is_installed_for_this_run_alone(
    programs: Path, tmp_path: Path
):
    """From a wheel without dependencies, so that no index is asked."""
    if shutil.which("kubectl-md", path="/usr/bin:/bin"):
        pytest.skip("this system has a kubectl-md of its own")
    wheel = tmp_path / "cv_factory-0.1.0-py3-none-any.whl"
    about = "cv_factory-0.1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        script = zipfile.ZipInfo("cv_factory-0.1.0.data/scripts/kubectl-md")
        script.external_attr = 0o100755 << 16  # a file that may be run
        archive.writestr(script, KUBECTL_MD)
        told = "Metadata-Version: 2.1\nName: cv-factory\nVersion: 0.1.0\nProvides-Extra: cli\n"
        archive.writestr(f"{about}/METADATA", told)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    before = set(tmp_path.iterdir())
    ended, said, lines = alone(
        tmp_path, programs, CV_FACTORY_SOURCE=wheel.as_uri(), PIP_NO_INDEX="1"
    )
    assert (ended, lines) == (0, [DRY_RUN, DEPLOY, SMOKE]), said
    left = {path.name for path in set(tmp_path.iterdir()) - before}
    assert left == {"asked", "release.json"}


def test_no_pipeline_needs_git_or_installs_into_the_systems_python():
    script = (PIPELINES / "release.sh").read_text()
    assert "git+" not in script
    assert "python3 -m pip" not in script


def test_both_pipelines_run_that_script_with_all_that_it_asks_for():
    gitlab = yaml.safe_load((PIPELINES / "gitlab-ci.yml").read_text())["release"]
    jenkins = (PIPELINES / "Jenkinsfile").read_text()
    assert gitlab["script"] == ["bash pipelines/release.sh"]
    assert "sh 'bash pipelines/release.sh'" in jenkins
    for name in ("FILE", "MODEL", "NAMESPACE"):
        assert name in gitlab["variables"]
        assert f"string(name: '{name}'" in jenkins
