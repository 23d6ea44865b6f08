"""Makes the virtual environment from the locks: `make setup`, and every target that needs it.

Runs with the system's own Python, before anything is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
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
    """Installs with pip, without resolving anything: the locks name every package."""
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", *arguments], cwd=ROOT, check=True)


def locked(lock: str, package: str) -> str:
    """The lines of one package in a lock: its version and the hashes of its files."""
    blocks = re.split(r"(?m)^(?=\S)", lock)
    return next(block for block in blocks if block.startswith(f"{package}=="))


def install_lock(lock: Path) -> None:
    """Installs a lock with the uv that it names, which takes a tenth of pip's time; with pip
    where uv cannot reach what pip can.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(locked(lock.read_text(), "uv"))
        requirement.flush()
        install("--require-hashes", "-r", requirement.name)
    if not uv_install("--require-hashes", "-r", str(lock)):
        install("--require-hashes", "-r", str(lock))


def uv_install(*arguments: str) -> bool:
    """Installs with uv from the index that pip uses; False when that did not go well."""
    from dev.images import pip_settings  # noqa: PLC0415 - older Pythons cannot import it

    environment = dict(os.environ)
    if index := pip_settings.read((str(VENV / "bin/python"),)).index_url:
        environment.setdefault("UV_DEFAULT_INDEX", index)
    command = [str(VENV / "bin/uv"), "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--python", str(VENV / "bin/python"), *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def install_torch() -> None:
    """Installs torch's CPU build.

    On Linux the usual index has the build for CUDA, whose libraries are not in the locks. Where
    pip's own settings lead to a CPU build, pip takes it; elsewhere TORCH_INDEX_URL names an index
    of CPU builds, and without it uv knows where the PyTorch project keeps its own.
    """
    requirement = ("-r", "requirements/torch.txt")
    if index := os.environ.get("TORCH_INDEX_URL"):
        install("--index-url", index, *requirement)
    elif sys.platform != "linux" or "+cpu" in torch_that_pip_finds():
        install(*requirement)
    elif not uv_install("--torch-backend=cpu", *requirement):
        raise SetupError(
            "no CPU build of torch was found: set TORCH_INDEX_URL to an index that has it "
            "(the PyTorch project's installation page names one)"
        )


def torch_that_pip_finds() -> str:
    """The version, with its build, that pip would install; empty when it finds none."""
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--dry-run", "--ignore-installed", "--report=-", "-r", "requirements/torch.txt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return ""
    version: str = json.loads(done.stdout)["install"][0]["metadata"]["version"]
    return version


def main() -> int:
    """Makes the environment; one line per step with its time."""
    steps = (
        ("virtual environment", make_venv),
        ("packages", lambda: install_lock(ROOT / "requirements/dev.txt")),
        ("torch", install_torch),
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
