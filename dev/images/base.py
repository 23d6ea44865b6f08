"""The base image: the Dockerfiles' own with docker and podman, one made from Debian with buildah.

Called by the image builder. The one made here has the same shape as python:3.11-slim: Debian 12
with python3, its venv module and CA certificates.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from dev.cluster import debian
from dev.images.engines import Engine
from dev.images.errors import BuildFailed
from dev.images.folder import folder
from dev.progress import step

RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
# Nothing in an image reads these.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man",
             "usr/share/locale", "usr/share/info", "var/log")  # fmt: skip
_DOCKERFILE = 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n'


def tag() -> str:
    """Names the base by all that decides what is in it."""
    recipe = repr((RELEASE, PACKAGES, _LEFT_OUT, _DOCKERFILE))
    return f"localhost/cv-factory-base:{hashlib.sha256(recipe.encode()).hexdigest()[:10]}"


def build_arguments(engine: Engine) -> list[str]:
    """BASE_IMAGE for the build: as the user has set it, else the Dockerfiles' own with docker and
    podman, else the one made here, which needs no registry.
    """
    if named := os.environ.get("BASE_IMAGE"):
        return ["--build-arg", f"BASE_IMAGE={named}"]
    if engine.name != "buildah":
        return []
    if not engine.image_id(tag()):
        _make(engine)
    return ["--build-arg", f"BASE_IMAGE={tag()}", "--pull=never"]


def _make(engine: Engine) -> None:
    """Makes the base with debootstrap and gives it to the engine."""
    if os.geteuid() != 0 or not debian.codename():
        raise BuildFailed(
            "a base image can only be made as root on Debian: set BASE_IMAGE to an image with "
            "python3 (3.11) and venv, for example python:3.11-slim-bookworm."
        )
    debian.install({"debootstrap": "debootstrap"})
    with (
        step("making a base image with debootstrap", 50),
        tempfile.TemporaryDirectory(prefix="base-", dir=folder()) as scratch,
    ):
        root, context = Path(scratch) / "root", Path(scratch) / "context"
        context.mkdir()
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(root),
             debian.mirror(RELEASE))  # fmt: skip
        for name in _LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir()
        _run("tar", "--numeric-owner", "--one-file-system", "-C", str(root),
             "-cf", str(context / "root.tar"), ".")  # fmt: skip
        (context / "Dockerfile").write_text(_DOCKERFILE)
        engine.build(context / "Dockerfile", context, tag(), [])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = " / ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise BuildFailed(f"{command[0]} failed for the base image: {words}")
