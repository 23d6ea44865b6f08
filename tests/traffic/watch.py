"""What a ModelDeployment's status said, and when: one `kubectl get --watch` for each.

Scenes wait on it; `judgement` reads from its history which version may have answered when.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from dev import tools
from dev.kube import Kube, NotInTime

Body = dict[str, Any]
Check = Callable[[Body], bool]


@dataclass
class History:
    """The weights that status showed, by version of the model."""

    moments: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    """From when on (seconds since 1970) which weights were shown; only changes."""
    versions: dict[str, str] = field(default_factory=dict)
    """The version of each revision that was ever stable or canary."""

    def add(self, body: Body, now: float) -> None:
        """Takes note of one status."""
        status = body.get("status", {})
        for role in ("stable", "canary"):
            if told := status.get(role):
                self.versions[told["revision"]] = str(told.get("version"))
        weights: dict[str, int] = {}
        for entry in status.get("traffic") or ():
            version = self.versions.get(entry["revision"], "unknown")
            weights[version] = weights.get(version, 0) + int(entry["weight"])
        if not self.moments or self.moments[-1][1] != weights:
            self.moments.append((now, weights))

    def spans(self, version: str) -> list[tuple[float, float]]:
        """From when to when the version had a weight; one that has it still ends never."""
        found: list[tuple[float, float]] = []
        since: float | None = None
        for moment, weights in self.moments:
            if weights.get(version, 0) > 0:
                since = moment if since is None else since
            elif since is not None:
                found.append((since, moment))
                since = None
        return found if since is None else [*found, (since, float("inf"))]


class Watch:
    """Follows one ModelDeployment until it is closed."""

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self._command = [
            *(str(tools.kubectl()), "--kubeconfig", str(kube.kubeconfig), "-n", namespace),
            *("get", "modeldeployment", name, "--watch", "-o", "json"),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.body: Body = {}
        self.history = History()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def until(self, check: Check, what: str, seconds: float) -> Body:
        """Waits until a status passes `check`; returns that resource.

        Raises:
            NotInTime: none did within `seconds`; the sentence has the last status.

        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (self.body and check(self.body)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise NotInTime(f"not within {seconds:.0f} s: {what}; {summary(self.body)}")
                self._changed.wait(left)
            return self.body

    def close(self) -> None:
        """Ends the watch."""
        self._closed = True
        if self._process:
            self._process.terminate()
        self._thread.join(10)

    def _follow(self) -> None:
        while not self._closed:
            with subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process:
                self._process = process
                assert process.stdout is not None
                for body in _documents(process.stdout):
                    with self._changed:
                        self.body = body
                        self.history.add(body, time.time())
                        self._changed.notify_all()


def _documents(stream: IO[str]) -> Iterator[Body]:
    """The JSON objects that kubectl writes one after the other, each ended by a line `}`."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if line == "}\n":
            yield json.loads("".join(lines))
            lines.clear()


def summary(body: Body) -> str:
    """One line of what status says."""
    status = body.get("status", {})
    told = [
        f"{condition['type']}={condition['status']}/{condition['reason']}"
        for condition in status.get("conditions", ())
        if condition["type"] in ("Available", "Ready", "Stalled")
    ]
    weights = {entry["revision"]: entry["weight"] for entry in status.get("traffic") or ()}
    return f"{status.get('phase')}: {status.get('message')} ({', '.join(told)}; weights {weights})"
