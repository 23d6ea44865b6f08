"""The images alone: what they serve and say without any cluster."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.images import engines, size
from dev.images.__main__ import IMAGES
from dev.images.labels import version
from dev.kube import wait_until
from tests.e2e.model import Registry

pytestmark = pytest.mark.e2e

USER = "65532:65532"
ENTRY = {
    "operator": ["model-operator"],
    "server": ["model-serve"],
    "router": ["python3", "-m", "model_router"],
}
"""What each image runs; buildah has to be told."""


@contextmanager
def container(image: str, *arguments: str, mounts: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """The command line that runs an image on the host's network, as the engine has it."""
    engine = engines.choose()
    reference = f"{IMAGES[image].repository}:{version()}"
    volumes = [f"--volume={mount}" for mount in mounts]
    if engine.name != "buildah":
        options = ["--rm", "--network=host", "--read-only", "--tmpfs=/tmp", *volumes]
        yield [*engine.command, "run", *options, reference, *arguments]
        return
    run = [*engine.command, "from", "--pull=never", reference]
    name = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    try:
        options = ["--isolation=chroot", f"--user={USER}", *volumes]
        yield [*engine.command, "run", *options, name, "--", *ENTRY[image], *arguments]
    finally:
        subprocess.run([*engine.command, "rm", name], capture_output=True, check=True)


@pytest.mark.parametrize("image", ENTRY)
def test_an_image_prints_its_version(image: str):
    with container(image, "--version") as command:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert version() in done.stdout


def test_the_operators_image_is_as_small_as_it_must_be():
    reference = f"{IMAGES['operator'].repository}:{version()}"
    assert size.compressed_megabytes(engines.choose(), reference) <= 150


def test_the_server_image_alone_serves_an_artifact(registry: Registry):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    mount = f"{registry.artifacts[0]}:/model:ro"
    with (
        container("server", "--port", str(port), mounts=(mount,)) as command,
        subprocess.Popen(command, stdout=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until(lambda: _answers(f"{url}/ready"), "the server is ready", 60)
            picture = min((registry.pictures / "cat").glob("*.jpg"))
            assert _predict(url, picture) in ("cat", "dog")
        finally:
            subprocess.run(["pkill", "-INT", "-P", str(process.pid)], check=False)
            process.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def _predict(url: str, picture: Path) -> str:
    request = urllib.request.Request(
        f"{url}/predict", picture.read_bytes(), {"Content-Type": "image/jpeg"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["label"]
