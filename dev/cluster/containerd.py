"""Asks the containerd of a local cluster, with its own client; called by the local cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from dev.cluster.errors import ClusterError, NotHealthy
from dev.cluster.node import ENVIRONMENT
from dev.cluster.processes import Records


class Containerd:
    """Entered by its mount namespace; `images` is a file that remembers what was loaded."""

    def __init__(self, images: Path, records: Records) -> None:
        self.images = images
        self.records = records

    def answers(self) -> bool:
        """Whether it serves requests."""
        return self._ctr("version").returncode == 0

    def has_image(self, reference: str, image_id: str) -> bool:
        """Whether `load_image` brought this very image in, and it is still there."""
        if self._loaded().get(reference) != image_id:
            return False
        listed = self._ctr("images", "ls", "-q", f"name=={reference}")
        return listed.stdout.decode().strip() == reference

    def load_image(self, reference: str, image_id: str, archive: bytes | Path) -> None:
        """Imports an image archive (docker's or OCI's) that holds `reference`."""
        done = self._ctr("images", "import", "-", archive=archive)
        if done.returncode != 0:
            raise ClusterError(f"{reference} cannot be imported: {done.stderr.decode().strip()}")
        self.images.write_text(json.dumps({**self._loaded(), reference: image_id}, indent=2))

    def _loaded(self) -> dict[str, str]:
        loaded: dict[str, str] = (
            json.loads(self.images.read_text()) if self.images.is_file() else {}
        )
        return loaded

    def _ctr(
        self, *arguments: str, archive: bytes | Path = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs the client beside containerd; `archive` becomes its standard input."""
        record = self.records.all().get("containerd")
        if record is None or not record.is_alive():
            raise NotHealthy("the local cluster does not run: run `make cluster-up` first.")
        argv = [
            "nsenter", f"--mount=/proc/{record.pid}/ns/mnt", "ctr",
            "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io", *arguments,
        ]  # fmt: skip
        if isinstance(archive, bytes):
            return subprocess.run(
                argv, input=archive, capture_output=True, env=ENVIRONMENT, check=False
            )
        with archive.open("rb") as stream:
            return subprocess.run(
                argv, stdin=stream, capture_output=True, env=ENVIRONMENT, check=False
            )
