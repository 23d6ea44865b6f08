"""The command `model-router`, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def model_router(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Plain Python with the one folder that the router's image has."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "model_router", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "router")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_prints_the_projects_version_and_ends():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    done = model_router("--version")
    assert (done.returncode, done.stdout) == (0, f"model-router {project['version']}\n")


def test_an_argument_that_it_does_not_know_is_a_setting_that_is_not_possible():
    done = model_router("--port", "8000")
    assert done.returncode == 2
    assert "--port" in done.stderr
