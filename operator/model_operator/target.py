"""Which revision the spec means, and what every revision is made of. Pure; asked by `decide`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from model_operator import api, diagnosis, reasons, resources, revisions, sources
from model_operator.errors import ResolutionAwaited, ResolutionDelayed, ResolutionError
from model_operator.observed import Observed, Resolution
from model_operator.revisions import ResolvedModel, RevisionRecord
from model_operator.route import Route
from model_operator.verdict import Verdict

_ADDRESS = re.compile(r"https?://\S+")


def settle_model(observed: Observed) -> tuple[api.ModelStatus | None, Verdict]:
    """What spec.model stands for. Once resolved, it stays so until spec.model changes."""
    recorded = observed.resource.status.model
    match observed.resolution:
        case Resolution(requested, model, unfollowed=unfollowed):
            resolved = api.ModelStatus(
                requested=requested,
                resolved_uri=model.uri,
                version=model.version,
                sha256=model.sha256,
            )
            verdict = _resolved(_what_it_is(requested, model), unfollowed)
            return resolved, _as_told(observed, verdict, unfollowed)
        case ResolutionError() as error:
            return recorded, _as_told(observed, Verdict(False, error.reason, error.message), error)
        case _:
            words = observed.resource.invalid or "spec.model was not looked at"
            return recorded, Verdict(False, reasons.INVALID_SPEC, words)


def _as_told(observed: Observed, verdict: Verdict, error: ResolutionError | None) -> Verdict:
    """What status says of this spec's model stays while a registry is asked again; and a registry
    that is away says so in other words each time, which nobody wants to know: the first ones stay.
    """
    generation = observed.resource.generation
    told = next(
        (
            Verdict(condition.status == "True", condition.reason, condition.message)
            for condition in observed.resource.status.conditions or ()
            if (condition.type, condition.observed_generation)
            == (reasons.MODEL_RESOLVED, generation)
        ),
        None,
    )
    if told is None or isinstance(error, ResolutionAwaited):
        return told or verdict
    away = isinstance(error, ResolutionDelayed) and error.reason == reasons.REGISTRY_UNREACHABLE
    same = (told.holds, told.reason, _address(told)) == (
        verdict.holds,
        verdict.reason,
        _address(verdict),
    )
    return told if away and same else verdict


def _address(verdict: Verdict) -> str | None:
    """Which server a sentence is about."""
    found = _ADDRESS.search(verdict.message)
    return found[0].rstrip(".,:;)") if found else None


def _resolved(what: str, unfollowed: ResolutionError | None) -> Verdict:
    """An alias that cannot be followed for a while takes nothing back; one that names what may not
    be served is another matter.
    """
    if unfollowed is None or isinstance(unfollowed, ResolutionAwaited):
        return Verdict(True, reasons.RESOLVED, what)
    if isinstance(unfollowed, ResolutionDelayed):
        words = f"{what}; whether the alias names another version now is not known"
        return Verdict(True, unfollowed.reason, f"{words}: {unfollowed.message}")
    words = f"{unfollowed.message}; until then: {what}"
    return Verdict(False, unfollowed.reason, words)


def _what_it_is(requested: api.ModelSource, model: ResolvedModel) -> str:
    what = f"version {model.version}" if sources.is_registered(model.uri) else "the artifact"
    return f"{sources.shown(requested.uri)} is {what}, sha256 {model.sha256}"


def wanted_revision(observed: Observed, model: api.ModelStatus | None) -> str | None:
    """The revision that the spec means; None while that is not known."""
    resource = observed.resource
    if resource.invalid or model is None or resource.spec is None:
        return None
    if model.requested != resource.spec.model:
        return None
    return revisions.revision_id(model.sha256, resource.server)


def known_records(
    observed: Observed, model: api.ModelStatus | None
) -> Mapping[str, RevisionRecord]:
    """The frozen records, those that were lost and are read off what runs, and the one that
    this pass is about to freeze.
    """
    fresh = _new_record(observed, model)
    return {
        **({fresh.revision: fresh} if fresh else {}),
        **{record.revision: record for record in _lost_records(observed, model)},
        **observed.records,
    }


def as_newest(record: RevisionRecord, observed: Observed) -> RevisionRecord:
    """The record at the head of the history, where a revision that is wanted again belongs."""
    newest = max((other.number for other in observed.records.values()), default=0)
    return record if record.number >= newest else replace(record, number=newest + 1)


def serving_revision(observed: Observed, route: Route | None) -> str | None:
    """The stable revision: the data plane's route says it, and where there is none, the last
    status, as long as that revision still runs.
    """
    recorded = observed.resource.status
    stable = recorded.stable.revision if recorded.stable else None
    named = route.stable if route else stable
    introduced = recorded.canary.revision if recorded.canary else None
    if stable and named not in (stable, introduced) and not _has_ready_pods(observed, named):
        named = stable  # somebody has moved the endpoint to where nothing answers
    return named if named in observed.deployments or named in observed.records else None


def _has_ready_pods(observed: Observed, revision: str | None) -> bool:
    return any(diagnosis.is_ready(pod) for pod in observed.pods.get(revision or "", ()))


def running_revision(observed: Observed, serving: str | None) -> str | None:
    """Where the rollout that is under way goes, by its record: what counts while it is not known
    what the spec means. Nothing new is started then.
    """
    recorded = observed.resource.status
    introduced = recorded.canary.revision if recorded.canary else None
    under_way = recorded.current_step_index is not None
    if under_way and introduced and introduced != recorded.failed_revision:
        return introduced
    return serving


def _lost_records(observed: Observed, model: api.ModelStatus | None) -> Iterator[RevisionRecord]:
    """Revisions that run without a record: what they were made of is what runs."""
    recorded = observed.resource.status
    known = {r.revision: r for r in (recorded.stable, recorded.canary) if r and r.sha256}
    for revision, deployment in observed.deployments.items():
        if revision in observed.records:
            continue
        if (told := known.get(revision)) and told.resolved_uri and told.version and told.sha256:
            resolved = ResolvedModel(told.resolved_uri, told.version, told.sha256)
        elif model and revisions.revision_id(model.sha256, observed.resource.server) == revision:
            resolved = ResolvedModel(model.resolved_uri, model.version, model.sha256)
        else:
            continue
        yield RevisionRecord(
            revision=revision,
            number=_next_number(observed),
            model=resolved,
            pod_template=deployment["spec"]["template"],
        )


def _next_number(observed: Observed) -> int:
    return 1 + max((record.number for record in observed.records.values()), default=0)


def _new_record(observed: Observed, model: api.ModelStatus | None) -> RevisionRecord | None:
    """The record of the revision that the spec means, rendered anew; None if it means none."""
    resource = observed.resource
    revision = wanted_revision(observed, model)
    if revision is None or model is None or resource.spec is None:
        return None
    resolved = ResolvedModel(model.resolved_uri, model.version, model.sha256)
    return RevisionRecord(
        revision=revision,
        number=_next_number(observed),
        model=resolved,
        pod_template=resources.pod_template(resource, resource.spec, resolved, observed.defaults),
        requested=revisions.as_requested(resource.spec.model),
    )
