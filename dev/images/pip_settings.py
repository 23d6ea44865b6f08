"""Carries the host's pip settings into an image's build: a generated pip.conf and read-only mounts.

Called by the image builder. Local directories (wheels, indexes) are mounted under their own path,
so what the settings say stays true inside the build.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTED_AT = "/run/pip"
_COPIED = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "timeout",
    "default-timeout",
    "proxy",
)


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Those of pip's settings that decide where packages come from: (name, value) pairs."""

    values: tuple[tuple[str, str], ...] = ()
    certificates: str = ""  # a bundle on the host

    @staticmethod
    def parse(listing: str) -> PipSettings:
        """The output of `pip config list`; environment wins over files, [install] over [global]."""
        found: dict[str, str] = {}
        for section in ("global.", "install.", ":env:."):
            for line in listing.splitlines():
                name, separator, value = line.partition("=")
                if separator and name.startswith(section):
                    found[name.removeprefix(section)] = str(ast.literal_eval(value))
        values = tuple((name, found[name]) for name in _COPIED if name in found)
        return PipSettings(values, found.get("cert", ""))

    def directories(self) -> list[str]:
        """Local directories that must be mounted for the settings to work."""
        wanted = []
        for name, value in self.values:
            if name in ("index-url", "extra-index-url", "find-links"):
                for place in value.split():
                    path = _local_path(place)
                    # The pages of a local index link to files beside it: ../../files/...
                    is_index = name != "find-links"
                    if path:
                        wanted.append(str(Path(path).parent) if is_index else path)
        return sorted(set(wanted))

    @property
    def index_url(self) -> str:
        """The index to ask instead of PyPI; empty where there is none."""
        return dict(self.values).get("index-url", "")

    def configuration(self) -> str:
        """The pip.conf for the build."""
        lines = ["[global]"]
        if self.certificates:
            lines.append(f"cert = {MOUNTED_AT}/certificates.pem")
        for name, value in self.values:
            lines.append(f"{name} = {' '.join(value.split())}")
        return "\n".join(lines) + "\n"

    def write(self, directory: Path) -> None:
        """Writes what is to be mounted at MOUNTED_AT."""
        (directory / "pip.conf").write_text(self.configuration())
        if self.certificates:
            shutil.copyfile(self.certificates, directory / "certificates.pem")

    def build_arguments(self, directory: Path) -> list[str]:
        """The build's arguments for an engine that can mount: podman, buildah."""
        if not self.values and not self.certificates:
            return []
        mounts = [(str(directory), MOUNTED_AT), *((place, place) for place in self.directories())]
        volumes = [word for a, b in mounts for word in ("--volume", f"{a}:{b}:ro")]
        return ["--build-arg", f"PIP_CONFIG_FILE={MOUNTED_AT}/pip.conf", *volumes]


def _local_path(place: str) -> str:
    if place.startswith("file:"):
        return urllib.parse.unquote(urllib.parse.urlsplit(place).path).rstrip("/")
    return place.rstrip("/") if place.startswith("/") else ""


def read(pythons: Iterable[str] = (sys.executable, ".venv/bin/python")) -> PipSettings:
    """The host's settings, from the first of these pythons that has pip; else none."""
    for python in pythons:
        if not shutil.which(python):
            continue
        done = subprocess.run(
            [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return PipSettings.parse(done.stdout)
    return PipSettings()
