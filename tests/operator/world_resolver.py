"""The Jobs of the small world: what the Job controller and the kubelet do with resolver Jobs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from model_operator import resolver
from model_operator.timestamps import format_time

Body = dict[str, Any]


def digest_at(uri: str) -> str:
    """The digest of what stands at an address, unless somebody says otherwise."""
    return hashlib.sha256(uri.encode()).hexdigest()


def said(sha256: str, uri: str = "") -> str:
    """What the fetching container says of a digest."""
    return json.dumps({"uri": uri, "sha256": sha256, "bytes": 7720, "files": 2})


def uri_of(job: Body) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command: list[str] = container["command"]
    return command[command.index("--uri") + 1]


class WorldResolver:
    """Ends Jobs, one look after they were made."""

    def __init__(self) -> None:
        self.pods: dict[str, Body] = {}
        self.made: list[str] = []
        """The URIs of all Jobs, in the order in which they were made."""
        self.ends: Callable[[str], tuple[int, str] | None] = lambda uri: (
            0,
            said(digest_at(uri), uri),
        )
        """By URI, the exit status and the last words of the container; None: it goes on."""

    def play(self, objects: dict[tuple[str, str], Body], now: datetime) -> bool:
        """Makes the pods of the Jobs among the objects; True if anything has changed."""
        jobs = {name: body for (kind, name), body in objects.items() if kind == resolver.KIND}
        gone = self.pods.keys() - jobs.keys()
        for name in gone:
            del self.pods[name]
        changed = [self._play(name, job, now) for name, job in jobs.items()]
        return bool(gone) or any(changed)

    def _play(self, name: str, job: Body, now: datetime) -> bool:
        if name not in self.pods:
            self.made.append(uri_of(job))
            self.pods[name] = _pod(name, job, {"running": {}})
            return True
        ended = None if "status" in job else self.ends(uri_of(job))
        if ended is None:
            return False
        code, words = ended
        self.pods[name] = _pod(name, job, {"terminated": {"exitCode": code, "message": words}})
        kind = "Failed" if code else "Complete"
        condition = {"type": kind, "status": "True", "lastTransitionTime": format_time(now)}
        job["status"] = {"conditions": [condition]}
        return True


def _pod(name: str, job: Body, state: Body) -> Body:
    owner = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{name}-x",
            "uid": f"uid-{name}",
            "labels": dict(job["spec"]["template"]["metadata"]["labels"]),
            "ownerReferences": [owner],
        },
        "status": {
            "phase": "Running" if "running" in state else "Succeeded",
            "conditions": [{"type": "Ready", "status": "True" if "running" in state else "False"}],
            "containerStatuses": [{"name": "fetch", "image": "example/server:1", "state": state}],
        },
    }
