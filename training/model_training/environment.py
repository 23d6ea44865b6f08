"""What a run was made with besides data and settings: packages, machine and the git commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

import torch

PACKAGES: Final = ("cv-factory", "mlflow", "numpy", "pillow", "safetensors", "torch", "torchvision")
GIT_SECONDS: Final = 10


def environment() -> dict[str, str]:
    """Names and versions, as plain text; what is absent is left out."""
    known = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": str(len(os.sched_getaffinity(0))),
        "processor_features": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.cuda.is_available():
        known["gpu"] = torch.cuda.get_device_name()
    for package in PACKAGES:
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return known


def requirements() -> str:
    """Every installed package with its version, one a line, as pip takes it."""
    found = {
        f"{one.metadata['Name']}=={one.version}"
        for one in metadata.distributions()
        if one.metadata["Name"]
    }
    return "\n".join(sorted(found, key=str.lower)) + "\n"


def git_commit(folder: Path) -> str | None:
    """The commit that the folder's checkout is at, `-dirty` when files differ; None without git."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=GIT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
