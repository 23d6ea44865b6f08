"""The control plane for tests: real, quick, and gone when its test is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.cluster import controlplane
from dev.cluster.errors import BinariesMissing
from dev.tools import kubectl

ROOT = Path(__file__).resolve().parents[2]


def run(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(kubectl()), "--kubeconfig", str(kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.api
def test_it_serves_with_rbac_and_the_real_controllers_and_leaves_nothing():
    with controlplane.ControlPlane(controller_manager=True) as plane:
        kubeconfig, directory = plane.kubeconfig, plane.directory

        assert run(kubeconfig, "create", "namespace", "made").returncode == 0
        wait_until(
            lambda: run(kubeconfig, "-n", "made", "get", "sa", "default").returncode == 0,
            "no controller made the namespace's service account",
        )
        allowed = run(kubeconfig, "auth", "can-i", "get", "pods", "--as", "nobody")
        assert allowed.stdout.strip() == "no"
    assert not directory.exists()
    assert run(kubeconfig, "get", "namespaces").returncode != 0


@pytest.mark.api
def test_two_of_them_have_their_controllers_at_the_same_time():
    with (
        controlplane.ControlPlane(controller_manager=True) as one,
        controlplane.ControlPlane(controller_manager=True) as other,
    ):
        for plane in (one, other):
            assert run(plane.kubeconfig, "create", "namespace", "made").returncode == 0
            wait_until(
                lambda plane=plane: (
                    run(plane.kubeconfig, "-n", "made", "get", "sa", "default").returncode == 0
                ),
                "no controller made the namespace's service account",
            )


@pytest.mark.api
def test_it_ends_with_a_killed_test():
    script = (
        "import json, sys\n"
        "from dev.cluster.controlplane import ControlPlane\n"
        "plane = ControlPlane().start()\n"
        "pids = [process.pid for process in plane._running]\n"
        "print(json.dumps([pids, str(plane.directory)]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    pids, directory = json.loads(process.stdout.readline())

    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    for pid in pids:
        wait_until(lambda pid=pid: not is_running(pid), f"{pid} has outlived its test")
    wait_until(lambda: not Path(directory).exists(), "its folder has outlived its test")


def is_running(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "ZX"


def test_without_binaries_the_user_is_told_how_to_get_them(tmp_path: Path):
    with pytest.raises(BinariesMissing, match="make cluster-build"):
        controlplane.find_binaries({"KUBEBUILDER_ASSETS": str(tmp_path)})
