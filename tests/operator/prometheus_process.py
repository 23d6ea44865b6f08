"""A real Prometheus process on the loopback, which scrapes what a test names."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import debian
from dev.setup import can_install_debian_packages

DEADLINE_SECONDS = 60.0


def program(name: str = "prometheus") -> str:
    """Its path, or promtool's: from Debian's package where this process may install that; elsewhere
    it must be there.
    """
    if shutil.which(name) is None and can_install_debian_packages():
        debian.install({"prometheus": name})
    if found := shutil.which(name):
        return found
    words = f"there is no {name} here: install it (Debian: apt-get install prometheus)"
    if os.environ.get("CI") == "true":
        raise AssertionError(words)
    pytest.skip(words)


@contextlib.contextmanager
def prometheus_process(
    folder: Path, *targets: str, configuration: dict[str, Any] | None = None
) -> Iterator[str]:
    """Its URL, until the block ends; it scrapes the targets (host:port) five times a second, or
    does what the configuration says. What is in `folder/data` already it knows.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    job = {"job_name": "pods", "static_configs": [{"targets": list(targets)}]}
    settings = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "scrape_configs": [job],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration or settings))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                program(),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer,
        ):
            if answer.status == 200:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=0.1)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()[-3000:]}")
