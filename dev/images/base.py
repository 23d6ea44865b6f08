"""The base image: the Dockerfiles' own where a registry can be reached, else one made from Debian.

Called by the image builder. The one made here has the same shape as python:3.11-slim: Debian 12
with python3, its venv module and CA certificates.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from dev.cluster import debian
from dev.images.engines import Engine
from dev.images.errors import BuildFailed
from dev.images.folder import folder
from dev.progress import step

RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
REGISTRY = "https://registry-1.docker.io/v2/"
REGISTRY_TIMEOUT = 4.0  # seconds
# Nothing in an image reads these.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man",
             "usr/share/locale", "usr/share/info", "var/log")  # fmt: skip
_DOCKERFILE = 'FROM scratch\nADD root.tar /\nENV LANG=C.UTF-8\nCMD ["python3"]\n'


def tag() -> str:
    """Names the base by all that decides what is in it."""
    recipe = repr((RELEASE, PACKAGES, _LEFT_OUT, _DOCKERFILE))
    return f"localhost/cv-factory-base:{hashlib.sha256(recipe.encode()).hexdigest()[:10]}"


def build_arguments(engine: Engine) -> list[str]:
    """BASE_IMAGE for the build: as the user has set it, else none, else the one made here."""
    if named := os.environ.get("BASE_IMAGE"):
        return ["--build-arg", f"BASE_IMAGE={named}"]
    if not engine.image_id(tag()) and registry_answers():
        return []
    if not engine.image_id(tag()):
        _make(engine)
    never = [] if engine.name == "docker" else ["--pull=never"]
    return ["--build-arg", f"BASE_IMAGE={tag()}", *never]


def registry_answers(url: str = REGISTRY) -> bool:
    """Whether the registry of the default base can be reached (401, log in first, is an answer)."""
    try:
        with urllib.request.urlopen(url, timeout=REGISTRY_TIMEOUT):
            return True
    except urllib.error.HTTPError as answer:
        return answer.code == 401 and "Docker-Distribution-Api-Version" in answer.headers
    except OSError:
        return False


def _make(engine: Engine) -> None:
    """Makes the base with debootstrap and gives it to the engine."""
    if os.geteuid() != 0 or not debian.codename():
        raise BuildFailed(
            "no registry can be reached for the base image, and one can only be made as root on "
            "Debian: set BASE_IMAGE to an image with python3 (3.11) and venv that you have."
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
