"""One resolver Job: what it is made of, and what became of it. Pure; asked by `resolver`.

Its pod runs the fetching container with `--resolve`, in the resource's own namespace and with its
credentials; the digest is the pod's termination message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_operator import api, canonical, fetching, naming, reasons, resources, sources
from model_operator.observed import Defaults, Resource, Unverified
from model_operator.wording import one_line

Body = Mapping[str, Any]

KIND = "Job"
SOURCE = f"{api.GROUP}/source"
"""Annotation: a hash of everything that the Job was made from."""
ATTEMPT = f"{api.GROUP}/attempt"
LAST_REASON = f"{api.GROUP}/last-reason"
LAST_WORDS = f"{api.GROUP}/last-words"
"""Annotations: what became of the attempt before."""
DEADLINE_SECONDS = 900
KEPT_SECONDS = 3600
"""After which Kubernetes removes a Job that the operator has not removed."""
_EXITS = {
    3: reasons.MODEL_REFUSED,
    4: reasons.MODEL_MISSING,
    5: reasons.SOURCE_UNREACHABLE,
}
"""What the model server's fetcher means by its exit statuses."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Outcome:
    """How a Job has ended."""

    digest: str | None
    """What it has computed; None where it has failed."""
    ended_at: str | None
    reason: str = reasons.RESOLVED
    words: str = ""
    """Why it has failed."""


def source_hash(resource: Resource, unverified: Unverified, defaults: Defaults) -> str:
    """What tells Jobs apart. The action resolve asks anew, so its id is a part of it."""
    template = _template(resource, unverified, defaults)
    return canonical.digest({"template": template, "asked": unverified.asked})


def name(resource: Resource, source: str, attempt: int) -> str:
    """The name of one attempt at what has this hash."""
    key = canonical.digest({"source": source, "attempt": attempt})
    return naming.resolver_job(resource.name, key)


def build(
    resource: Resource,
    unverified: Unverified,
    defaults: Defaults,
    attempt: int,
    before: tuple[str, str] | None,
) -> Body:
    """The Job of one attempt; `before` is the reason and the words of the failed one before it."""
    source = source_hash(resource, unverified, defaults)
    told = {SOURCE: source, ATTEMPT: str(attempt)}
    if before is not None:
        told[LAST_REASON], told[LAST_WORDS] = before
    labels = naming.resolver_labels(resource.name)
    metadata = resources.metadata(resource, name(resource, source, attempt), labels)
    return {
        "apiVersion": "batch/v1",
        "kind": KIND,
        "metadata": {**metadata, "annotations": told},
        "spec": {
            "backoffLimit": 0,  # the operator tries again, and tells why meanwhile
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": _template(resource, unverified, defaults),
        },
    }


def _template(resource: Resource, unverified: Unverified, defaults: Defaults) -> Body:
    source = unverified.requested
    server = resource.spec.server if resource.spec else api.ServerSpec()
    arguments = ["--uri", unverified.source.uri, "--resolve"]
    temporary = resources.temporary_mount()
    mounts = [temporary, *fetching.mounts(source)]
    template = {
        "metadata": {"labels": naming.resolver_labels(resource.name)},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                resources.fetch_container(source, server, arguments, mounts, defaults),
            ],
            "volumes": [{"name": temporary["name"], "emptyDir": {}}, *fetching.volumes(source)],
            **resources.pod_settings(server),
        },
    }
    body: Body = canonical.without_nulls(template)
    return body


def source_of(job: Body) -> str:
    """The hash of what a Job was made from."""
    return str(_annotations(job).get(SOURCE, ""))


def attempt_of(job: Body) -> int:
    """Which attempt it is, from 1."""
    said = _annotations(job).get(ATTEMPT, "")
    return int(said) if said.isdecimal() else 1


def before(job: Body) -> tuple[str, str] | None:
    """The reason and the words of the attempt before."""
    told = _annotations(job)
    return (told[LAST_REASON], told.get(LAST_WORDS, "")) if LAST_REASON in told else None


def is_ending(job: Body) -> bool:
    """Whether a Job is being deleted."""
    return "deletionTimestamp" in job["metadata"]


def pods_of(job: Body, pods: Iterable[Body]) -> list[Body]:
    """Those that the Job controls."""
    uid = job["metadata"]["uid"]
    return [
        pod
        for pod in pods
        if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())
    ]


def outcome(job: Body, pods: Iterable[Body], uri: str) -> Outcome | None:
    """How the Job has ended, by its own word and its pods'; None while it is at work."""
    condition = _ending(job)
    if condition is None:
        return None
    ends = list(_ends(pods_of(job, pods)))
    ended_at = condition.get("lastTransitionTime")
    if condition["type"] == "Complete":
        digest = next(filter(None, map(_digest, ends)), None)
        if digest is not None:
            return Outcome(digest, ended_at)
    return Outcome(None, ended_at, *_failure(condition, ends, uri))


def _failure(condition: Body, ends: Iterable[Body], uri: str) -> tuple[str, str]:
    for ended in ends:
        if code := ended.get("exitCode"):
            words = one_line(ended.get("message") or "") or f"exit status {code}"
            return _EXITS.get(code, reasons.RESOLVER_FAILED), words
    why = condition.get("message") or condition.get("reason") or "no reason is told"
    if condition["type"] == "Complete":
        why = "the pod that had it is gone, or left none"
    shown = sources.shown(uri)
    return reasons.RESOLVER_FAILED, f"the digest of {shown} was not computed: {one_line(why)}"


def _ending(job: Body) -> Body | None:
    """The condition by which a Job is over."""
    for condition in job.get("status", {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            found: Body = condition
            return found
    return None


def _ends(pods: Iterable[Body]) -> Iterable[Body]:
    """How the containers of pods have ended."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses") or ():
            if ended := container.get("state", {}).get("terminated"):
                yield ended


def _digest(ended: Body) -> str | None:
    """What a container has left as its termination message, if that is a digest."""
    if ended.get("exitCode") != 0:
        return None
    try:
        said = json.loads(ended.get("message") or "").get("sha256")
    except (ValueError, AttributeError):
        return None
    return said if isinstance(said, str) and _DIGEST.fullmatch(said) else None


def _annotations(job: Body) -> Mapping[str, str]:
    return job["metadata"].get("annotations") or {}
