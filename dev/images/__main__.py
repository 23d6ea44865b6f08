"""The images' command line: `python3 -m dev.images build|load|size [NAME ...] [--tag TAG]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.cluster.choice import choose as choose_cluster
from dev.cluster.errors import ClusterError
from dev.images import base, engines, inputs, labels, pip_settings, size
from dev.images.engines import Engine
from dev.images.errors import BuildFailed, ImageError, TooLarge
from dev.images.folder import folder
from dev.images.labels import version
from dev.progress import duration, say, step

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Image:
    """One image of this repository. Paths are relative to its root; times are in seconds."""

    repository: str
    dockerfile: str
    context: str
    build_estimate: float
    load_estimate: float
    most_megabytes: float | None = None
    """The target of its compressed size."""


IMAGES = {
    "operator": Image("ghcr.io/cv-factory/operator", "Dockerfile.operator", ".", 40, 8, 150),
    "server": Image("ghcr.io/cv-factory/model-server", "Dockerfile.server", ".", 70, 30),
    "router": Image("ghcr.io/cv-factory/model-router", "Dockerfile.router", ".", 40, 8),
    "mlflow": Image("docker.io/cv-factory/mlflow", "dev/mlflow/Dockerfile", "dev/mlflow", 60, 15),
}


def build(names: Sequence[str], tag: str) -> None:
    """Builds these images; layers that did not change come from the engine's cache."""
    engine = engines.choose()
    arguments = base.build_arguments(engine) + _pip_arguments(engine)
    if torch_index := os.environ.get("TORCH_INDEX_URL"):
        arguments += ["--build-arg", f"TORCH_INDEX_URL={torch_index}"]
    for name in names:
        image = IMAGES[name]
        dockerfile = ROOT / image.dockerfile
        if not dockerfile.is_file():
            raise BuildFailed(f"{image.dockerfile} is not there.")
        reference = f"{image.repository}:{tag}"
        made_from = inputs.digest(dockerfile, ROOT / image.context, arguments)
        if _is_built(engine, reference, made_from):
            say(f"- {reference} is built already")
            continue
        with step(f"building {reference} with {engine.name}", image.build_estimate):
            # The commit is no input: an image says the one that it was built from.
            labelled = [*arguments, *labels.build_arguments()]
            engine.build(dockerfile, ROOT / image.context, reference, labelled)
        _built(reference).write_text(json.dumps([made_from, engine.image_id(reference)]))


def _built(reference: str) -> Path:
    """Remembers what the image of this name was made from, and its id."""
    return folder("built") / f"{reference.replace('/', '_')}.json"


def _is_built(engine: Engine, reference: str, made_from: str) -> bool:
    record = _built(reference)
    if not record.is_file():
        return False
    before: list[str] = json.loads(record.read_text())
    return before == [made_from, engine.image_id(reference)]


def _pip_arguments(engine: Engine) -> list[str]:
    settings = pip_settings.read((sys.executable, str(ROOT / ".venv/bin/python")))
    if engine.mounts:
        directory = folder("pip")
        settings.write(directory)
        return settings.build_arguments(directory)
    return ["--build-arg", f"PIP_INDEX_URL={settings.index_url}"] if settings.index_url else []


def _found(engine: Engine, name: str, tag: str) -> tuple[str, str]:
    """The name and the id of an image that is built; raises ImageError where it is not."""
    reference = f"{IMAGES[name].repository}:{tag}"
    if image_id := engine.image_id(reference):
        return reference, image_id
    raise ImageError(f"{reference} is not built: run `python3 -m dev.images build {name}`.")


def load(names: Sequence[str], tag: str) -> None:
    """Brings these images to the cluster's node, unless they are there already."""
    engine, cluster = engines.choose(), choose_cluster()
    for name in names:
        image = IMAGES[name]
        reference, image_id = _found(engine, name, tag)
        if cluster.has_image(reference, image_id):
            say(f"- {reference} is in the cluster already")
            continue
        with (
            step(f"loading {reference} into the cluster", image.load_estimate),
            tempfile.TemporaryDirectory(prefix="image-", dir=folder()) as scratch,
        ):
            archive = Path(scratch) / "image.tar"
            engine.save(reference, archive)
            cluster.load_image(reference, image_id, archive)


def measure(names: Sequence[str], tag: str) -> None:
    """Prints the compressed size of these images; raises TooLarge where one misses its target."""
    engine, missed = engines.choose(), []
    for name in names:
        reference, _ = _found(engine, name, tag)
        megabytes = size.compressed_megabytes(engine, reference)
        most = IMAGES[name].most_megabytes
        say(f"- {size.line(name, megabytes, most)}")
        missed += [name] if most is not None and megabytes > most else []
    if missed:
        raise TooLarge(f"larger than its target: {', '.join(missed)}")


COMMANDS = {"build": build, "load": load, "size": measure}


def main(arguments: list[str]) -> int:
    """Runs one command; an error is one line and status 1."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.images", description=__doc__)
    parser.add_argument("verb", choices=COMMANDS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(IMAGES))
    parser.add_argument("--tag", help="default: the version of pyproject.toml")
    chosen = parser.parse_args(arguments)
    names = chosen.names or list(IMAGES)
    if unknown := sorted(set(names) - set(IMAGES)):
        parser.error(f"unknown image {unknown[0]}: choose from {', '.join(IMAGES)}")
    started = time.monotonic()
    try:
        COMMANDS[chosen.verb](names, chosen.tag or version())
    except (ImageError, ClusterError) as problem:
        print(f"{chosen.verb}: {problem}", file=sys.stderr)
        return 1
    say(f"{chosen.verb} {' '.join(names)}: done in {duration(time.monotonic() - started)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
