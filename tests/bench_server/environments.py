"""A virtual environment for each contender, made once and kept outside of the repository.

What is installed is named by version here and in pyproject.toml; the folder's name carries a digest
of that, so another list is another environment. `campaign` asks for them before it measures.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.images import pip_settings
from dev.setup import torch_that_pip_finds

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cv-factory" / "bench"
INSTALL_SECONDS = 1800
COMPUTING = ("ncnn", "numpy", "onnxruntime", "openvino", "pillow", "safetensors", "simplejpeg")
"""What decodes and computes: of the same version in every environment."""


class CannotInstall(Exception):
    """An environment could not be made; the sentence has the installer's last words."""


@dataclass(frozen=True)
class Environment:
    """What a contender needs beside torch, and whether this project's engine is to run in it."""

    name: str
    requirements: tuple[str, ...] = ()
    holds_the_server: bool = False

    def lines(self) -> list[str]:
        """All that is installed after torch, as pip takes it."""
        needed = list(self.requirements)
        if self.holds_the_server:
            needed += server_requirements()
        return needed

    @property
    def folder(self) -> Path:
        """Where it is; another list of requirements is another folder."""
        said = "\n".join(
            [sys.version, torch_requirement(), *self.lines(), *self.constraints(), *self._own()]
        )
        return CACHE / f"{self.name}-{hashlib.sha256(said.encode()).hexdigest()[:10]}"

    def _own(self) -> list[str]:
        """This checkout, so that what is measured is what stands in it."""
        return ["--editable", str(ROOT)] if self.holds_the_server else []

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_ready(self) -> bool:
        """Whether it was made to its end."""
        return self._mark.exists()

    @property
    def _mark(self) -> Path:
        return self.folder / ".ready"

    def constraints(self) -> list[str]:
        """This project's locked versions: of everything, or of what computes, for a peer."""
        locked = dict(_locked())
        wanted = COMPUTING if self.requirements else locked
        return [line for name, line in locked.items() if name in wanted]

    def make(self) -> None:
        """Install everything. Raises CannotInstall."""
        if self.is_ready:
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(self.folder)])
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(self.constraints()) + "\n")
            uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet"]
            named = ["--python", str(self.python), "--constraint", str(constraints)]
            _run([*uv, *named, *_cpu_torch(), *self.lines()])
            if self.holds_the_server:
                _run([*uv, "--python", str(self.python), "--no-deps", *self._own()])
        self._mark.touch()


def _cpu_torch() -> list[str]:
    """What makes uv install torch's CPU build: see `dev.setup.install_torch` for the ways to it.

    Where pip is needed to find it, the wheel is kept, and uv links its files instead of copying.
    """
    wanted = torch_requirement()
    index = os.environ.get("TORCH_INDEX_URL")
    if sys.platform != "linux":
        return [wanted]
    if not index and "+cpu" not in torch_that_pip_finds():
        return ["--torch-backend=cpu", wanted]
    wheels = CACHE / "wheels"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
    _run([*pip, *(["--index-url", index] if index else []), wanted])
    name, version = wanted.split("==")
    return [str(wheel) for wheel in wheels.glob(f"{name}-{version}*.whl")]


def torch_requirement() -> str:
    """The version that this project is pinned to; every contender computes with it."""
    return (ROOT / "requirements" / "torch.txt").read_text().split()[0]


def server_requirements() -> list[str]:
    """What the server and all of its engines need, by pyproject.toml; torch comes first, apart."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    found = [
        line
        for name, lines in extras.items()
        if name == "server" or name.startswith("server-")
        for line in lines
    ]
    own = ("torch==", f"{project['name']}[")
    return [line for line in found if not line.startswith(own)]


def _locked() -> Iterator[tuple[str, str]]:
    """Each package of the development lock, with its version; marked ones are left to pip."""
    for line in (ROOT / "requirements" / "dev.txt").read_text().splitlines():
        if found := re.fullmatch(r"([a-z0-9._-]+)==(\S+) \\", line):
            yield found[1], f"{found[1]}=={found[2]}"


def _run(command: list[str]) -> None:
    environment = dict(os.environ)
    if url := pip_settings.read((sys.executable,)).index_url:
        environment.setdefault("UV_DEFAULT_INDEX", url)
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"not installed within {INSTALL_SECONDS} s") from error
    if done.returncode:
        raise CannotInstall(" ".join((done.stderr or done.stdout).split()[-60:]))
