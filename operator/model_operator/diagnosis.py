"""Why pods do not become ready, in the containers' own words. Pure; asked by `decide`.

The exit statuses 3 (bytes do not match, artifact refused) and 4 (no such model) are the model
server's contract: with them waiting does not help.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from model_operator import reasons
from model_operator.rollout.view import Trouble
from model_operator.timestamps import parse_time
from model_operator.wording import MOST_CHARACTERS, one_line

Body = Mapping[str, Any]

_IMAGE_REASONS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
}
_CREATE_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
CUT_BYTES = 2040
"""A termination message of at least so many was cut off at its beginning."""
LOOP_RESTARTS = 3
"""A container that has failed so often since its pod was made is not going to stay up."""
_PERMANENT_EXITS = {3: reasons.MODEL_REFUSED, 4: reasons.MODEL_MISSING}


def is_ready(pod: Body) -> bool:
    """Whether a pod is ready and not being deleted."""
    return not is_terminating(pod) and _condition(pod, "Ready").get("status") == "True"


def is_terminating(pod: Body) -> bool:
    """Whether a pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def has_ended(pod: Body) -> bool:
    """Whether a pod's containers will never run again: it was evicted, or no node would have it.

    Nobody deletes such a pod for long, not even a ReplicaSet of no pods.
    """
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def runs_unready(pod: Body) -> bool:
    """Whether a pod's containers all run and it is not ready: only its probes can say why."""
    status = pod.get("status", {})
    return (
        status.get("phase") == "Running"
        and not is_ready(pod)
        and not is_terminating(pod)
        and all("running" in c.get("state", {}) for c in status.get("containerStatuses", ()))
    )


def diagnose(
    pods: Iterable[Body], deployment: Body | None, probe_answers: Mapping[str, str]
) -> Trouble | None:
    """The worst trouble of the pods that are not ready; permanent trouble first.

    `probe_answers` are by the pods' uids.
    """
    waiting = sorted(
        (pod for pod in pods if not is_ready(pod) and not is_terminating(pod)),
        key=lambda pod: str(pod["metadata"]["name"]),
    )
    troubles = [trouble for pod in waiting for trouble in _troubles(pod, probe_answers)]
    if not waiting and deployment is not None:
        troubles = list(_refused_pods(deployment))
    return next((t for t in troubles if t.permanent), troubles[0] if troubles else None)


def crash_loop(pods: Iterable[Body], since: datetime | None) -> Trouble | None:
    """The trouble of a pod that has ended so often that the next start will not help, whether it
    is ready in between or not, and that ended last after `since`.
    """
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", ()):
            waits = container.get("state", {}).get("waiting", {})
            often = container.get("restartCount", 0) >= LOOP_RESTARTS
            ended = parse_time(_last_end(container).get("finishedAt"))
            often = often and not (since and ended and ended < since)
            if is_terminating(pod) or not (often or waits.get("reason") == "CrashLoopBackOff"):
                continue
            trouble = _container_trouble({**container, "state": waits and {"waiting": waits}})
            if trouble is not None:
                return replace(trouble, looping=True)
    return None


def _troubles(pod: Body, probe_answers: Mapping[str, str]) -> Iterator[Trouble]:
    status = pod.get("status", {})
    for container in [
        *status.get("initContainerStatuses", ()),
        *status.get("containerStatuses", ()),
    ]:
        if trouble := _container_trouble(container):
            yield trouble
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        yield Trouble(reasons.UNSCHEDULABLE, scheduled.get("message", "no node takes the pod"))
    if answer := probe_answers.get(pod["metadata"].get("uid", "")):
        yield Trouble(reasons.NOT_READY, f"the server runs but is not ready: {one_line(answer)}")


def _container_trouble(container: Body) -> Trouble | None:
    state = container.get("state", {})
    waiting = state.get("waiting", {})
    reason, detail = waiting.get("reason"), waiting.get("message", "")
    if reason in _IMAGE_REASONS:
        image = container.get("image", "")
        return Trouble(
            reasons.IMAGE_PULL_FAILED,
            f'the image "{image}" cannot be pulled ({reason}): {one_line(detail)}',
            vague=reason == "ImagePullBackOff",
        )
    if reason in _CREATE_REASONS:
        return Trouble(
            reasons.CONTAINER_NOT_STARTED,
            f"container {container['name']} cannot start ({reason}): {one_line(detail)}",
        )
    ended = _last_end(container)
    if not ended or ended.get("exitCode") == 0:
        return None
    code = ended["exitCode"]
    words = _last_words(ended.get("message") or "") or ended.get("reason") or "no message"
    return Trouble(
        _PERMANENT_EXITS.get(code, reasons.CONTAINER_CRASHED),
        f"container {container['name']} ended with exit status {code}: {words}",
        permanent=code in _PERMANENT_EXITS,
    )


def _refused_pods(deployment: Body) -> Iterator[Trouble]:
    for condition in deployment.get("status", {}).get("conditions", ()):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield Trouble(
                reasons.PODS_REFUSED,
                f"pods cannot be created: {one_line(condition.get('message', ''))}",
            )


def _condition(pod: Body, kind: str) -> Body:
    conditions = pod.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), {})


def _last_end(container: Body) -> Body:
    """How the container ended last; empty when it never has."""
    state = container.get("state", {})
    ended: Body = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    return ended


def _last_words(message: str) -> str:
    """Of a container that left no message of its own Kubernetes gives the last 2,048 bytes of its
    log: what it said last counts, whole lines, without those of its requests.
    """
    lines = message.splitlines()
    if len(message.encode()) >= CUT_BYTES and len(lines) > 1:
        del lines[0]
    telling = [line for line in lines if '"event": "request"' not in line] or lines[-1:]
    words = ""
    for line in reversed(telling):
        longer = f"{line.strip()} {words}".strip()
        if words and len(longer) > MOST_CHARACTERS:
            break
        words = longer
    return one_line(words)
