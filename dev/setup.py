"""Makes the virtual environment from the locks: `make setup`, and every target that needs it.

Runs with the system's own Python, before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
READY = VENV / ".ready"
OLDEST = (3, 11)


class SetupError(Exception):
    """The environment cannot be made; says what to do."""


def can_install_debian_packages() -> bool:
    """Whether this process may use apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def make_venv() -> None:
    """Creates `.venv`, with Debian's package for it where that is missing."""
    if (VENV / "bin/pip").exists():
        return
    command = [sys.executable, "-m", "venv", str(VENV)]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return
    if not can_install_debian_packages():
        raise SetupError("Python has no venv module: install it (Debian: apt install python3-venv)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-y", "-q", "python3-venv"]):
        subprocess.run(
            ["apt-get", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL
        )
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run(command, check=True)


def install(*arguments: str) -> None:
    """Installs without resolving anything: the locks name every package."""
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", *arguments], cwd=ROOT, check=True)


def main() -> int:
    """Makes the environment; one line per step with its time."""
    steps = (
        ("virtual environment", make_venv),
        ("torch", lambda: install("-r", "requirements/torch.txt")),
        ("packages", lambda: install("--require-hashes", "-r", "requirements/dev.txt")),
        ("this project", lambda: install("--editable", ".")),
    )
    if sys.version_info < OLDEST:
        sys.stderr.write("Python 3.11 or later is needed: name it with `make PYTHON=... ...`\n")
        return 1
    try:
        for name, step in steps:
            print(f"setup: {name} ...", end="", flush=True)
            started = time.monotonic()
            step()
            print(f" {time.monotonic() - started:.0f} s", flush=True)
    except SetupError as error:
        sys.stderr.write(f"\nsetup: {error}\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"\nsetup: {' '.join(error.cmd)} ended with status {error.returncode}\n")
        return 1
    READY.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
