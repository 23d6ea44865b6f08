"""Whether the server's image serves: a model made on the spot, and every endpoint asked.

python3 -m dev.image_check --image ghcr.io/cv-factory/model-server:TAG     # needs Docker
python3 -m dev.image_check --url http://127.0.0.1:8000                     # what serves already
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SECONDS = 60
"""How long a container may take until it is ready."""


class CheckFailed(Exception):
    """An endpoint does not answer as it should; the words say which."""


def make_model(folder: Path) -> Path:
    """A SimpleCNN of drawn pictures; the artifact's folder, with one picture beside it."""
    train = [str(Path(sys.executable).parent / "model-train")]
    data, artifact = folder / "raw", folder / "artifact"
    for words in (
        ["prepare", "--synthetic", "40", "--out", str(data)],
        ["train", "--data", str(data), "--out", str(artifact), "--name", "cats-dogs",
         "--epochs", "1"],
    ):  # fmt: skip
        subprocess.run([*train, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    picture = next((data / "cat").iterdir())
    (folder / "cat.jpg").write_bytes(picture.read_bytes())
    return artifact


@contextlib.contextmanager
def container(image: str, artifact: Path, port: int) -> Iterator[str]:
    """The URL of the image's server, as its security context has it in a cluster."""
    command = [
        *("docker", "run", "--detach", "--rm", "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--publish", f"127.0.0.1:{port}:8000", "--volume", f"{artifact}:/model:ro", image),
        *("--artifact", "/model"),
    ]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run(["docker", "stop", name], check=False, stdout=subprocess.DEVNULL)


def check(url: str, picture: bytes) -> str:
    """Asks /health, /ready, /predict, /metrics and /docs; one sentence.

    Raises:
        CheckFailed: one of them does not answer as it should.

    """
    _until_ready(url)
    _get(f"{url}/health")
    found = json.loads(_get(f"{url}/predict", picture))
    if found.get("label") not in found.get("probabilities", {}):
        raise CheckFailed(f"/predict answers without a label: {found}")
    metrics = _get(f"{url}/metrics").decode()
    counted = [line for line in metrics.splitlines() if line.startswith("prediction_class_total{")]
    if not any(f'class="{found["label"]}"' in line for line in counted):
        raise CheckFailed(f"/metrics does not count the class {found['label']}")
    if b"<html" not in _get(f"{url}/docs").lower():
        raise CheckFailed("/docs is no page")
    return f"{url}: {found['label']} {found['confidence']:.2f}, and every endpoint answers"


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            _get(f"{url}/ready")
        except CheckFailed as problem:
            if time.monotonic() > deadline:
                raise CheckFailed(f"not ready within {SECONDS} s: {problem}") from problem
            time.sleep(0.5)
        else:
            return


def _get(url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "image/jpeg"} if body else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError) as problem:
        raise CheckFailed(f"{url}: {problem}") from problem
    return content


def main(arguments: list[str]) -> int:
    """Prints one line; 1 where an endpoint does not answer as it should."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.image_check", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image")
    what.add_argument("--url")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        artifact = make_model(Path(folder))
        picture = (Path(folder) / "cat.jpg").read_bytes()
        serves = (
            container(chosen.image, artifact, chosen.port)
            if chosen.image
            else contextlib.nullcontext(chosen.url)
        )
        try:
            with serves as url:
                print(check(url, picture))
        except CheckFailed as problem:
            print(f"image-check: {problem}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
