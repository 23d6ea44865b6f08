"""Waiting until the API server serves a CustomResourceDefinition."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

SECONDS = 30


def wait_until_served(
    kubectl: Callable[..., subprocess.CompletedProcess[str]], *definitions: str
) -> None:
    """`kubectl` is called with arguments, and must not raise where kubectl fails.

    `kubectl wait` ends with an error, too, where it sees a definition before the API server has
    written its first conditions.
    """
    deadline = time.monotonic() + SECONDS
    names = [f"crd/{name}" for name in definitions]
    while (done := kubectl("wait", "--for=condition=Established", *names)).returncode:
        assert time.monotonic() < deadline, f"not served within {SECONDS} s: {done.stderr}"
        time.sleep(0.1)
