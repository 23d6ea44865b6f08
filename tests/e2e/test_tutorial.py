"""The tutorial, run to the letter: the shell blocks of docs/tutorial.md, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dev import tools
from dev.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 1200


def blocks() -> list[str]:
    return BLOCK.findall(PAGE.read_text())


def last(text: str, lines: int = 40) -> list[str]:
    return text.splitlines()[-lines:]


def test_the_page_has_the_whole_way_in_its_blocks():
    text = "".join(blocks())
    verbs = ("model-train register", "md deploy", "md load", "md promote", "md rollback")
    assert [verb for verb in verbs if verb not in text] == []
    others = re.findall(r"^```(?!sh$)(.+)$", PAGE.read_text(), re.MULTILINE)
    assert others == ["console"], "which points the terminal at the cluster, as the page says"


@pytest.mark.e2e
def test_the_tutorial_works_as_it_is_written(stage: Stage, tmp_path: Path):
    shutil.copy(stage.kube.kubeconfig, tmp_path / "kubeconfig")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(tools.kubectl())
    script = "".join(
        f"\necho '# block {number}' >&2\n{text}" for number, text in enumerate(blocks())
    )
    with stage.mlflow() as tracking_uri:
        environment = {
            **os.environ,
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "MLFLOW_TRACKING_URI": tracking_uri,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        finally:
            stage.kube.kubectl("delete", "namespace", "tutorial", "--ignore-not-found")
    said = "\n".join(line for text in (done.stdout, done.stderr) for line in last(text))
    assert done.returncode == 0, said
    assert "5 of 5 passed" in done.stdout, said
    assert "20% of the requests" in done.stdout, said
