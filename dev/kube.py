"""Runs kubectl and helm against one cluster. Used by the demo and the end-to-end tests."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import tools


class CommandFailed(Exception):
    """A command ended with an error; the text has its own words."""


class NotInTime(Exception):
    """A condition did not come true within its deadline."""


@dataclass(frozen=True)
class Kube:
    """One cluster, by its kubeconfig."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints.

        Raises:
            CommandFailed: it ended with an error.

        """
        return _run([str(tools.kubectl()), "--kubeconfig", str(self.kubeconfig), *arguments], stdin)

    def apply(self, body: Mapping[str, Any] | str) -> str:
        """Applies a body, or a manifest's text."""
        text = body if isinstance(body, str) else json.dumps(body)
        return self.kubectl("apply", "-f", "-", stdin=text)

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them."""
        body: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return body

    def helm(self, *arguments: str) -> str:
        """What helm prints."""
        return _run([str(tools.helm()), "--kubeconfig", str(self.kubeconfig), *arguments], None)

    @contextlib.contextmanager
    def port_forward(self, namespace: str, target: str, port: int, local: int = 0) -> Iterator[str]:
        """A URL on this machine's loopback that reaches `port` of a Service or pod."""
        command = [
            *(str(tools.kubectl()), "--kubeconfig", str(self.kubeconfig), "-n", namespace),
            *("port-forward", target, f"{local or ''}:{port}"),
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                match = re.search(r"127\.0\.0\.1:(\d+)", line)
                if match is None:
                    raise CommandFailed(f"kubectl port-forward {target}: {line.strip()}")
                # It says a line for each connection, and would stop when nobody reads them.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield f"http://127.0.0.1:{match[1]}"
            finally:
                process.terminate()


def wait_until(check: Callable[[], bool], what: str, seconds: float) -> None:
    """Asks every half second until `check` holds.

    Raises:
        NotInTime: it did not within `seconds`.

    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


def _run(command: list[str], stdin: str | None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()
        raise CommandFailed(f"{Path(command[0]).name} {' '.join(command[3:7])} ...: {words}")
    return done.stdout
