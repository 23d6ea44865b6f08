"""What continuous deployment shows before it changes anything, against a real API server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from dev import deploy, tools
from dev.cluster.controlplane import ControlPlane

TAG, NEXT = "5f3c0de", "6a4d1ef"


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
        yield plane


@pytest.mark.api
def test_what_helm_has_installed_differs_in_nothing_and_the_next_release_in_its_images(
    plane: ControlPlane,
):
    assert deploy.diff(TAG).startswith("new: ")
    chart = deploy.chart_arguments(deploy.image_tags(TAG, None))
    install = [str(tools.helm()), "install", *chart, "--create-namespace"]
    subprocess.run(install, check=True, capture_output=True)
    assert deploy.diff(TAG) == ""
    changed = [line for line in deploy.diff(NEXT).splitlines() if line.startswith(("+ ", "- "))]
    assert len([line for line in changed if f":{NEXT}" in line]) == 3
    assert not [line for line in changed if not re.search(f"{TAG}|{NEXT}|generation:", line)]
