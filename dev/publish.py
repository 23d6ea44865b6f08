"""Builds the images for several architectures, pushes them with SBOM and provenance, signs them.

    python3 -m dev.publish push --tag latest --tag 5f3c... --record digests.json
    python3 -m dev.publish sign --record digests.json

Called by continuous integration, which has Docker with Buildx and cosign. It needs no package.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dev.images import labels
from dev.images.__main__ import IMAGES, Image

PUBLISHED = ("operator", "server", "router")
PLATFORMS = ("linux/amd64", "linux/arm64")
DIGEST = "containerimage.digest"
"""What Buildx calls the digest of the list of all architectures in its metadata."""


def push_command(image: Image, tags: Sequence[str], metadata: Path) -> list[str]:
    """One image for all architectures, under all tags, with an SBOM and full provenance."""
    names = [word for tag in tags for word in ("--tag", f"{image.repository}:{tag}")]
    return [
        *("docker", "buildx", "build", "--file", image.dockerfile),
        *("--platform", ",".join(PLATFORMS), *names, *labels.build_arguments()),
        *("--sbom=true", "--provenance=mode=max", "--push"),
        *("--metadata-file", str(metadata), image.context),
    ]


def sign_command(reference: str) -> list[str]:
    """Signs one digest with the identity of the pipeline, of every architecture too."""
    return ["cosign", "sign", "--yes", "--recursive", reference]


def push(tags: Sequence[str], record: Path, *, dry_run: bool) -> None:
    """Builds and pushes all images; `record` then has the digest of each."""
    digests = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in PUBLISHED:
            metadata = Path(scratch) / f"{name}.json"
            _run(push_command(IMAGES[name], tags, metadata), dry_run=dry_run)
            if not dry_run:
                digest = json.loads(metadata.read_text())[DIGEST]
                digests[name] = f"{IMAGES[name].repository}@{digest}"
    if not dry_run:
        record.write_text(json.dumps(digests, indent=2))


def sign(record: Path, *, dry_run: bool) -> None:
    """Signs what was pushed, by digest."""
    digests: dict[str, str] = json.loads(record.read_text())
    for reference in digests.values():
        _run(sign_command(reference), dry_run=dry_run)


def _run(command: list[str], *, dry_run: bool) -> None:
    print(shlex.join(command), flush=True)
    if not dry_run:
        subprocess.run(command, check=True)


def main(arguments: list[str]) -> int:
    """Runs one command; the status of what failed."""
    parser = argparse.ArgumentParser(prog="python3 -m dev.publish", description=__doc__)
    parser.add_argument("verb", choices=("push", "sign"))
    parser.add_argument("--tag", action="append", default=[], help="may be given again")
    parser.add_argument("--record", type=Path, required=True, help="the file with the digests")
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    chosen = parser.parse_args(arguments)
    if chosen.verb == "push" and not chosen.tag:
        parser.error("push needs --tag")
    try:
        if chosen.verb == "push":
            push(chosen.tag, chosen.record, dry_run=chosen.dry_run)
        else:
            sign(chosen.record, dry_run=chosen.dry_run)
    except subprocess.CalledProcessError as failed:
        return failed.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
