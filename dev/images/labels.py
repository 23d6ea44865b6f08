"""What every image says of itself: the release, the commit and the repository that it is made from.

The Dockerfiles take them as arguments of the build. Called by the image builder and by publishing.
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version() -> str:
    """The version in pyproject.toml: the default tag, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def revision() -> str:
    """The commit's hash; "unknown" where neither a pipeline nor git says it."""
    if told := os.environ.get("GITHUB_SHA"):
        return told
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def build_arguments() -> list[str]:
    """VERSION and REVISION, and SOURCE where a pipeline says which repository it builds."""
    values = {"VERSION": version(), "REVISION": revision()}
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        values["SOURCE"] = f"{server}/{repository}"
    return [word for name in values for word in ("--build-arg", f"{name}={values[name]}")]
