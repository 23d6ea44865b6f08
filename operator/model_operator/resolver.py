"""Which resolver Job there has to be, and what the last one means: for sources of which nobody has
registered the digest. Pure; `observe` asks what a Job has said, `decide` whether one is to be made,
tried again or removed.

A Job is named after what it was made from and counts its attempts, so a pass can be repeated. A
failed one stays until the next attempt is made, and that one carries its words: what people read
does not change with every attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from model_operator import diagnosis, naming, reasons, resolver_job, sources
from model_operator.errors import ResolutionError, ResolutionPending, ResolutionRefused
from model_operator.observed import Observed, Resolution, Resource, Unverified
from model_operator.plan import Delete
from model_operator.resolver_job import KIND, Outcome
from model_operator.revisions import ResolvedModel
from model_operator.timestamps import parse_time

__all__ = [
    "KIND",
    "deletes",
    "is_resolver",
    "look_again",
    "must_be_read",
    "name_to_be_written",
    "recorded",
    "settled",
    "wanted",
]

Body = Mapping[str, Any]
Answer = Resolution | Unverified | ResolutionError | None

FIRST_PAUSE = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(seconds=600)
SOONEST = timedelta(seconds=1)
_WAITING = (reasons.RESOLVING, reasons.SOURCE_UNREACHABLE)
"""Nobody has to act: it is computed, or tried again."""


def is_resolver(name: str, pod: Body) -> bool:
    """Whether a pod is of a resolver Job of the resource with this name."""
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return naming.resolver_labels(name).items() <= labels.items()


def must_be_read(resource: Resource, answer: Answer, pods: Iterable[Body]) -> bool:
    """Whether there may be Jobs: one is needed, or was, by the record or by its pods."""
    needed = isinstance(answer, Unverified) or resource.status.resolver_job is not None
    return needed or any(is_resolver(resource.name, pod) for pod in pods)


def settled(observed: Observed) -> Observed:
    """The same world, with what the Job has said of the source as the answer."""
    unverified = observed.unverified
    if unverified is None:
        return observed
    found = _found(observed, unverified)
    answer: Resolution | ResolutionError
    if isinstance(found, ResolvedModel):
        answer = Resolution(unverified.requested, found)
    elif unverified.known is not None:
        answer = unverified.known.unanswered(found, asked=unverified.asked is not None)
    else:
        answer = found
    return replace(observed, resolution=answer)


def wanted(observed: Observed, now: datetime) -> Body | None:
    """The Job that has to be made now; None when there is one at work, or none is needed."""
    unverified = observed.unverified
    if unverified is None:
        return None
    newest = _newest(observed, unverified)
    before = None
    if newest is not None:
        ended = _outcome(observed, unverified, newest)
        if ended is None or ended.digest or now < _due(newest, ended, now):
            return None
        before = ended.reason, ended.words
    attempt = _next_attempt(observed, unverified)
    body = resolver_job.build(observed.resource, unverified, observed.defaults, attempt, before)
    refused = {(refusal.kind, refusal.name) for refusal in observed.refusals}
    return None if (KIND, body["metadata"]["name"]) in refused else body


def deletes(observed: Observed, now: datetime) -> list[Delete]:
    """Every Job that has said what it can. What it said is in status by then."""
    if observed.awaits_registry:
        return []  # what it answers may be what one of them computes
    newest = _newest(observed, observed.unverified) if observed.unverified else None
    kept = None if newest is None or wanted(observed, now) else newest["metadata"]["uid"]
    return [
        Delete(KIND, job["metadata"]["name"], job["metadata"]["uid"])
        for job in observed.jobs
        if job["metadata"]["uid"] != kept and not resolver_job.is_ending(job)
    ]


def recorded(observed: Observed, now: datetime) -> str | None:
    """The name of the Job that there is after this pass, for status."""
    if observed.awaits_registry:
        return observed.resource.status.resolver_job
    if observed.unverified is None:
        return None
    made = wanted(observed, now) or _newest(observed, observed.unverified)
    return None if made is None else str(made["metadata"]["name"])


def name_to_be_written(observed: Observed) -> str | None:
    """The name of the next Job, should one be made."""
    unverified = observed.unverified
    if unverified is None:
        return None
    source = _source(observed, unverified)
    return resolver_job.name(observed.resource, source, _next_attempt(observed, unverified))


def look_again(observed: Observed, now: datetime) -> timedelta | None:
    """When a failed Job is tried again."""
    unverified = observed.unverified
    newest = _newest(observed, unverified) if unverified else None
    if unverified is None or newest is None:
        return None
    ended = _outcome(observed, unverified, newest)
    if ended is None or ended.digest:
        return None
    return max(SOONEST, _due(newest, ended, now) - now)


def _found(observed: Observed, unverified: Unverified) -> ResolvedModel | ResolutionError:
    """What the newest Job says: a digest, or why there is none."""
    uri = sources.shown(unverified.source.uri)
    computing = f"the digest of {uri} is being computed by a Job"
    newest = _newest(observed, unverified)
    if newest is None:
        return ResolutionPending(reasons.RESOLVING, computing)
    if (ended := _outcome(observed, unverified, newest)) is not None:
        if ended.digest:
            return unverified.source.with_digest(ended.digest)
        return _error(ended.reason, ended.words)
    if (before := resolver_job.before(newest)) is not None:
        return _error(*before)
    return ResolutionPending(reasons.RESOLVING, computing + _trouble(observed, newest))


def _error(reason: str, words: str) -> ResolutionError:
    kind = ResolutionPending if reason in _WAITING else ResolutionRefused
    return kind(reason, words)


def _trouble(observed: Observed, job: Body) -> str:
    """Why its pod does not run. Of an image that cannot be pulled no more than that, for
    Kubernetes' words about it change all the time.
    """
    pods = resolver_job.pods_of(job, observed.resolver_pods)
    trouble = diagnosis.diagnose(pods, None, {})
    if trouble is None:
        return ""
    short = trouble.reason == reasons.IMAGE_PULL_FAILED
    return f": {trouble.message.partition(' (')[0] if short else trouble.message}"


def _outcome(observed: Observed, unverified: Unverified, job: Body) -> Outcome | None:
    return resolver_job.outcome(job, observed.resolver_pods, unverified.source.uri)


def _due(job: Body, ended: Outcome, now: datetime) -> datetime:
    """When a failed Job is tried again: twice as late each time."""
    pause: timedelta = FIRST_PAUSE * 2 ** min(resolver_job.attempt_of(job) - 1, 10)
    return (parse_time(ended.ended_at) or now) + min(pause, LONGEST_PAUSE)


def _source(observed: Observed, unverified: Unverified) -> str:
    return resolver_job.source_hash(observed.resource, unverified, observed.defaults)


def _attempts(observed: Observed, unverified: Unverified) -> list[Body]:
    """Every Job for what is asked for now."""
    source = _source(observed, unverified)
    return [job for job in observed.jobs if resolver_job.source_of(job) == source]


def _newest(observed: Observed, unverified: Unverified) -> Body | None:
    """The last of them, those that somebody deletes apart."""
    alive = [job for job in _attempts(observed, unverified) if not resolver_job.is_ending(job)]
    return max(alive, key=resolver_job.attempt_of, default=None)


def _next_attempt(observed: Observed, unverified: Unverified) -> int:
    attempts = map(resolver_job.attempt_of, _attempts(observed, unverified))
    return 1 + max(attempts, default=0)
