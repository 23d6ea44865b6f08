"""Writes the locks: `make lock` runs it, and `make lock CHECK=1` only says which are stale.

Each lock names every package of one environment with the hashes of its files. torch and the
CUDA packages that its default build pulls in stay out: which build of torch is wanted (CPU, one
of the CUDA versions) is the choice of the machine, so `requirements/torch.txt` pins the version
alone and is installed first, without its dependencies; those that every build shares are locked.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHOSEN_BY_THE_MACHINE = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
)

# What `mlflow server` with SQLite and local files never imports: 430 MB.
NOT_FOR_THE_MLFLOW_SERVER = (
    *("pyarrow", "scipy", "scikit-learn", "joblib", "threadpoolctl", "narwhals", "matplotlib"),
    *("contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing", "skops"),
    *("prettytable", "docker"),
)


@dataclass(frozen=True)
class Lock:
    """One lock and what it is resolved from. Paths are relative to the repository's root."""

    path: str
    source: str
    """pyproject.toml, or a file of requirements."""
    options: tuple[str, ...] = ()

    def header(self) -> str:
        """Its first line."""
        return f"# Written by `make lock` from {self.source}. Do not edit.\n"


LOCKS = (
    *(
        Lock(f"requirements/{extra}.txt", "pyproject.toml", ("--extra", extra))
        for extra in ("operator", "server", "training", "dev")
    ),
    Lock(
        "dev/mlflow/requirements.txt",
        "dev/mlflow/requirements.in",
        (
            *("--constraint", "requirements/training.txt"),
            *(word for name in NOT_FOR_THE_MLFLOW_SERVER for word in ("--no-emit-package", name)),
        ),
    ),
)


def without_torch_builds(lock: str) -> str:
    """Drops the requirement blocks (name, hashes) of torch and its accelerator packages."""
    blocks = re.split(r"(?m)^(?=\S)", lock)
    return "".join(block for block in blocks if not CHOSEN_BY_THE_MACHINE.match(block))


def resolve(lock: Lock, *, previous: str, upgrade: bool) -> str:
    """The lock's new text; keeps the versions of `previous` unless `upgrade` is set."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        output.write_text(previous)
        command = [sys.executable, "-m", "uv", "pip", "compile", lock.source, *OPTIONS]
        command += [*lock.options, "--output-file", str(output), *(["--upgrade"] * upgrade)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return lock.header() + without_torch_builds(output.read_text())


def main() -> int:
    """Writes the locks, or with `--check` says which are stale (exit status 1)."""
    parser = argparse.ArgumentParser(description="Write the locks.")
    parser.add_argument("--check", action="store_true", help="only say which locks are stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    stale = []
    for lock in LOCKS:
        path = ROOT / lock.path
        previous = path.read_text() if path.exists() else ""
        fresh = resolve(lock, previous=previous, upgrade=arguments.upgrade)
        if fresh != previous:
            stale.append(lock.path)
            if not arguments.check:
                path.write_text(fresh)
    if stale and arguments.check:
        print(f"stale: {', '.join(stale)}; run `make lock`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
