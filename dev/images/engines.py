"""The programs that build images: docker, podman or buildah, the first one that works.

Called by the image builder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import debian
from dev.images.errors import BuildFailed, ImageError, NoEngine
from dev.images.folder import folder

BUILDAH_PACKAGES = {"buildah": "buildah"}


@dataclass(frozen=True, slots=True)
class Engine:
    """One of them, with the words that every call of it begins with."""

    name: str
    command: tuple[str, ...]
    build_words: tuple[str, ...]  # of every build
    mounts: bool  # whether a build can mount the host's directories

    def build(self, dockerfile: Path, context: Path, tag: str, arguments: Sequence[str]) -> None:
        """Builds an image; raises BuildFailed with the build's last words."""
        log = folder("logs") / f"{tag.replace('/', '_').replace(':', '_')}.log"
        words = [*self.command, *self.build_words, "-f", str(dockerfile), "-t", tag]
        with log.open("wb") as output:
            done = subprocess.run(
                [*words, *arguments, str(context)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            tail = " / ".join(log.read_text(errors="replace").splitlines()[-4:])
            raise BuildFailed(f"{dockerfile.name} could not be built: {tail} (all of it: {log})")

    def image_id(self, tag: str) -> str:
        """The image's id; empty when there is no such image."""
        words = {
            "docker": ["image", "inspect", "--format", "{{.Id}}"],
            "podman": ["image", "inspect", "--format", "{{.Id}}"],
            "buildah": ["inspect", "--type", "image", "--format", "{{.FromImageID}}"],
        }[self.name]
        asked = subprocess.run(
            [*self.command, *words, tag], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() if asked.returncode == 0 else ""

    def save(self, tag: str, archive: Path) -> None:
        """Writes the image to an archive that clusters can import, not compressed."""
        words = {
            "docker": ["save", "--output", str(archive), tag],
            "podman": ["save", "--format", "docker-archive", "--output", str(archive), tag],
            "buildah": ["push", "--quiet", tag, f"docker-archive:{archive}:{tag}"],
        }[self.name]
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ImageError(f"{tag} could not be saved: {done.stderr.strip()}")


def docker() -> Engine:
    """Docker; its builds cannot mount anything of the host."""
    return Engine("docker", ("docker",), ("build", "--network=host"), mounts=False)


def podman() -> Engine:
    """Podman."""
    return Engine("podman", ("podman",), ("build", "--layers", "--network=host"), mounts=True)


def buildah() -> Engine:
    """Buildah without any daemon, its images in our cache, its steps isolated by chroot."""
    storage = folder() / "storage"
    command = ("buildah", f"--root={storage}", f"--runroot={storage}-run")
    words = ("build", "--isolation=chroot", "--layers", "--network=host", "--format=docker")
    return Engine("buildah", command, words, mounts=True)


def choose() -> Engine:
    """The first that works; buildah is installed for it on Debian, as root. Raises NoEngine."""
    for engine in (docker(), podman()):
        if shutil.which(engine.name):
            asked = subprocess.run([engine.name, "info"], capture_output=True, check=False)
            if asked.returncode == 0:
                return engine
    if not shutil.which("buildah") and debian.codename() and os.geteuid() == 0:
        debian.install(BUILDAH_PACKAGES)
    if shutil.which("buildah"):
        return buildah()
    raise NoEngine(
        "No image can be built here: install Docker, podman or buildah and see that it works "
        "(`docker info`)."
    )
