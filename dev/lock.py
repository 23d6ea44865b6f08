"""Writes the locks under `requirements/`: `make lock` runs it, `make verify` checks them.

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("operator", "server", "training", "dev")
CHOSEN_BY_THE_MACHINE = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEADER = "# Written by `make lock` from pyproject.toml, extra [{extra}]. Do not edit.\n"


def without_torch_builds(lock: str) -> str:
    """Drops the requirement blocks (name, hashes) of torch and its accelerator packages."""
    blocks = re.split(r"(?m)^(?=\S)", lock)
    return "".join(block for block in blocks if not CHOSEN_BY_THE_MACHINE.match(block))


def compile_lock(extra: str, *, previous: str, upgrade: bool) -> str:
    """Resolves one extra; keeps the versions of `previous` unless `upgrade` is set."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / f"{extra}.txt"
        output.write_text(previous)
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml"),
            *("--extra", extra, "--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-emit-index-url", "--no-annotate", "--no-header", "--quiet"),
            *("--output-file", str(output)),
            *(["--upgrade"] if upgrade else []),
        ]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return HEADER.format(extra=extra) + without_torch_builds(output.read_text())


def main() -> int:
    """Writes the locks, or with `--check` says which are stale (exit status 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which locks are stale")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args()
    stale = []
    for extra in LOCKS:
        path = ROOT / "requirements" / f"{extra}.txt"
        previous = path.read_text() if path.exists() else ""
        fresh = compile_lock(extra, previous=previous, upgrade=arguments.upgrade)
        if fresh != previous:
            stale.append(path.name)
            if not arguments.check:
                path.write_text(fresh)
    if stale and arguments.check:
        print(f"stale locks: {', '.join(stale)}; run `make lock`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
