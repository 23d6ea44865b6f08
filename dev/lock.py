"""Writes the locks: `make lock` runs it, and `make lock CHECK=1` only says which are stale.

`make verify` asks, without any index, whether each lock still fulfils what its source requires.

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
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TORCH = "requirements/torch.txt"
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


# What ncnn fetches its examples with, and a server never imports.
NOT_FOR_NCNN = ("portalocker", "pywin32", "tqdm")


@dataclass(frozen=True)
class Lock:
    """One lock and what it is resolved from. Paths are relative to the repository's root."""

    path: str
    source: str
    """pyproject.toml, or a file of requirements."""
    extra: str = ""
    """Which extra of pyproject.toml."""
    options: tuple[str, ...] = ()

    def header(self) -> str:
        """Its first line."""
        return f"# Written by `make lock` from {self.source}. Do not edit.\n"


TESTED = ("--constraint", "requirements/dev.txt")

LOCKS = (
    *(
        Lock(f"requirements/{extra}.txt", "pyproject.toml", extra)
        for extra in ("operator", "training", "dev", "docs")
    ),
    Lock(
        "requirements/server.txt",
        "pyproject.toml",
        "server-image",
        options=tuple(word for name in NOT_FOR_NCNN for word in ("--no-emit-package", name)),
    ),
    *(
        Lock(f"requirements/{extra}.txt", "pyproject.toml", extra, TESTED)
        for extra in ("cli", "build")
    ),
    Lock(
        "dev/mlflow/requirements.txt",
        "dev/mlflow/requirements.in",
        options=(
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
        command += ["--extra", lock.extra] if lock.extra else []
        command += [*lock.options, "--output-file", str(output), *(["--upgrade"] * upgrade)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return lock.header() + without_torch_builds(output.read_text())


def required(lock: Lock) -> Iterator[Requirement]:
    """What a lock's source asks for: an extra with all that it is made of, or a file's lines."""
    if lock.extra:
        project = tomllib.loads((ROOT / lock.source).read_text())["project"]
        yield from _of_extra(project, lock.extra)
        return
    lines = (
        line.partition("#")[0].strip() for line in (ROOT / lock.source).read_text().splitlines()
    )
    yield from (Requirement(line) for line in lines if line)


def _of_extra(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    for line in project["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == project["name"]:
            for part in sorted(requirement.extras):
                yield from _of_extra(project, part)
        else:
            yield requirement


def pins(text: str) -> dict[str, list[str]]:
    """The versions that a lock names, by package: more than one where markers tell them apart."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def unsatisfied(lock: Lock, text: str) -> list[str]:
    """What its source requires and this text of it does not fulfil."""
    pinned = pins(text) | pins((ROOT / TORCH).read_text())
    return [
        str(requirement)
        for requirement in required(lock)
        if not (versions := pinned.get(canonicalize_name(requirement.name)))
        or not all(requirement.specifier.contains(v, prereleases=True) for v in versions)
    ]


def tell_unsatisfied() -> int:
    """Prints what no lock fulfils; exit status 1 where there is something."""
    broken = {lock.path: unsatisfied(lock, (ROOT / lock.path).read_text()) for lock in LOCKS}
    for path, requirements in broken.items():
        if requirements:
            print(f"{path} does not fulfil {', '.join(requirements)}; run `make lock`")
    return 1 if any(broken.values()) else 0


def main() -> int:
    """Writes the locks, or with `--check` says which are stale (exit status 1)."""
    parser = argparse.ArgumentParser(description="Write the locks.")
    parser.add_argument("--check", action="store_true", help="only say which locks are stale")
    parser.add_argument(
        "--satisfied", action="store_true", help="only say what they do not fulfil; asks no index"
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    if arguments.satisfied:
        return tell_unsatisfied()
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
