"""Resources as they look at some moments of a release: what the pure parts are tested with."""

from __future__ import annotations

from typing import Any

from model_operator import api, naming
from tests.operator.builders import UID, digest_of

OLD, NEW = "9c1b04aa57", "2a5c629232"
URL = "http://cats-dogs.vision.svc"

CANARY = {
    "type": "Canary",
    "scaleDownDelaySeconds": 30,
    "canary": {
        "steps": [
            {"setWeight": 10},
            {"pause": {"duration": "5m"}},
            {"setWeight": 50},
            {"pause": {}},
        ]
    },
}


def resource(*, generation: int = 7, spec: Any = None, **status: Any) -> dict[str, Any]:
    """A ModelDeployment of version 2 whose status, where there is one, speaks of generation 7."""
    body = {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {
            "name": "cats-dogs",
            "namespace": "vision",
            "uid": UID,
            "generation": generation,
        },
        "spec": {"model": {"uri": "models:/cats-dogs/2"}, "replicas": 3, **(spec or {})},
    }
    if status:
        body["status"] = {"observedGeneration": 7, "url": URL, **status}
    return body


def condition(
    kind: str, status: str, reason: str, message: str = "words", *, generation: int = 7
) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-02T03:00:00Z",
    }


def revision(name: str, version: int, ready: int = 3) -> dict[str, Any]:
    return {
        "revision": name,
        "version": str(version),
        "resolvedUri": f"models:/cats-dogs/{version}",
        "sha256": digest_of(version),
        "readyReplicas": ready,
    }


def model(version: int = 2) -> dict[str, Any]:
    uri = f"models:/cats-dogs/{version}"
    return {
        "requested": {"uri": uri},
        "resolvedUri": uri,
        "version": str(version),
        "sha256": digest_of(version),
    }


def ready() -> dict[str, Any]:
    """Version 2 is live."""
    return resource(
        phase="Healthy",
        message="revision 2a5c629232 serves with 3 of 3 pods ready",
        stable=revision(NEW, 2),
        traffic=[{"revision": NEW, "weight": 100, "actualWeight": 100}],
        model=model(),
        conditions=[
            condition("Available", "True", "Serving"),
            condition("Ready", "True", "Complete", "revision 2a5c629232 serves"),
            condition("ModelResolved", "True", "Resolved"),
            condition("Progressing", "False", "Complete"),
            condition("Stalled", "False", "NotStalled"),
        ],
    )


def canary(*, step: int = 1, asked: int = 10, actual: int | None = 10) -> dict[str, Any]:
    """Version 2 has some of the requests."""
    message = f"revision {NEW} gets {asked}% of the requests"
    confirmed = {} if actual is None else {"actualWeight": actual}
    rest = {} if actual is None else {"actualWeight": 100 - actual}
    return resource(
        spec={"strategy": CANARY},
        phase="Progressing",
        message=message,
        stable=revision(OLD, 1),
        canary=revision(NEW, 2, ready=1),
        traffic=[
            {"revision": OLD, "weight": 100 - asked, **rest},
            {"revision": NEW, "weight": asked, **confirmed},
        ],
        currentStepIndex=step,
        stepStartedAt="2026-01-02T03:00:00Z",
        model=model(),
        analysis=[
            {
                "name": "error-rate",
                "value": 0.002,
                "baseline": 0.001,
                "samples": 312,
                "failures": 0,
                "verdict": "Pass",
            }
        ],
        conditions=[
            condition("Available", "True", "Serving"),
            condition("Ready", "False", "Canary", message),
            condition("ModelResolved", "True", "Resolved"),
            condition("Progressing", "True", "Canary", message),
            condition("Stalled", "False", "NotStalled"),
        ],
    )


def rolled_back() -> dict[str, Any]:
    """Version 2 has failed, version 1 serves."""
    words = f"revision {NEW} was stopped: container server ended with exit status 3: bad bytes"
    return resource(
        phase="Degraded",
        message=words,
        stable=revision(OLD, 1),
        canary=revision(NEW, 2, ready=0),
        failedRevision=NEW,
        traffic=[{"revision": OLD, "weight": 100, "actualWeight": 100}],
        model=model(),
        lastFailure={"revision": NEW, "reason": "ModelRefused", "message": "bad bytes"},
        conditions=[
            condition("Available", "True", "Serving"),
            condition("Ready", "False", "RolledBack", words),
            condition("ModelResolved", "True", "Resolved"),
            condition("Progressing", "False", "RolledBack", words),
            condition("Stalled", "True", "ModelRefused", words),
        ],
    )


def record(name: str, number: int, version: int, *, uid: str = UID) -> dict[str, Any]:
    """A ControllerRevision."""
    return {
        "metadata": {
            "name": naming.revision_child("cats-dogs", name),
            "creationTimestamp": "2026-01-02T03:00:00Z",
            "ownerReferences": [{"uid": uid}],
        },
        "revision": number,
        "data": {
            "resolvedUri": f"models:/cats-dogs/{version}",
            "version": str(version),
            "sha256": digest_of(version),
        },
    }
