"""Running `model_server.fetch` in the tests: its environment, its exit status, its last words."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from model_server.fetch import main

ABSENT = "0" * 64


class Fetching:
    """The fetching container's environment, and the command in it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out = folder / "model"
        self._message = folder / "message"
        self._monkeypatch = monkeypatch
        for name in os.environ:
            if name.startswith(("AWS_", "MLFLOW_", "FETCH_")) or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        self.set(
            HOME=folder,
            TERMINATION_MESSAGE_PATH=self._message,
            FETCH_ALLOW_HTTP="true",
            FETCH_RETRIES="1",
            FETCH_RETRY_DELAY_SECONDS="0",
            FETCH_READ_TIMEOUT_SECONDS="20",
            MLFLOW_DISABLE_TELEMETRY="true",
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="1",
            MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="0",
            AWS_EC2_METADATA_DISABLED="true",
            AWS_DEFAULT_REGION="us-east-1",
        )

    def set(self, **environment: Any) -> None:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, str(value))

    def unset(self, *names: str) -> None:
        for name in names:
            self._monkeypatch.delenv(name)

    def __call__(self, uri: str, sha256: str = ABSENT) -> int:
        """The exit status of a fetch into `self.out`."""
        return main(["--uri", uri, "--sha256", sha256, "--out", str(self.out)])

    def resolve(self, uri: str) -> int:
        """The exit status of a resolving fetch."""
        return main(["--uri", uri, "--resolve"])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same as a real process."""
        return subprocess.Popen(
            [sys.executable, "-m", "model_server.fetch", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def message(self) -> str:
        """The termination message: one line."""
        text = self._message.read_text()
        assert len(text.splitlines()) == 1
        return text

    @property
    def resolved(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.message)
        return found

    @property
    def left(self) -> list[Path]:
        """What a fetch left in `self.out`."""
        return list(self.out.iterdir()) if self.out.exists() else []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def tar_of(
    folder: Path, inside: str = "", mode: str = "w:gz", more: Iterable[tarfile.TarInfo] = ()
) -> bytes:
    """`folder` as a tar, its files at the top or in the folder `inside`."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname=inside or ".")
        for member in more:
            tar.addfile(member, BytesIO(bytes(member.size)))
    return buffer.getvalue()


def zip_of(folder: Path, inside: str = "") -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path(inside) / path.relative_to(folder))
    return buffer.getvalue()
