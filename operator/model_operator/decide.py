"""The decision: one pure, total function from what was observed to what is done.

No I/O, no clock, no randomness: the same observation at the same time gives the same plan.
`reconcile` calls it; the chain below is its table of contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from model_operator import api, canonical, diagnosis, naming, reasons, resources, revisions, status
from model_operator.errors import ResolutionDelayed, ResolutionError
from model_operator.observed import Observed, Resolution
from model_operator.plan import Delete, Event, Plan, Scale
from model_operator.revisions import ResolvedModel, RevisionRecord
from model_operator.rollout import standard
from model_operator.rollout.view import Size, Step, Trouble, View
from model_operator.status import Facts, Verdict
from model_operator.timestamps import parse_time
from model_operator.traffic import service

PREDECESSOR_POLL = timedelta(seconds=2)


def decide(observed: Observed, now: datetime) -> Plan:
    """What one pass over one ModelDeployment does."""
    model, model_resolved = settle_model(observed)
    records = known_records(observed, model)
    obstacle = find_obstacle(observed, model_resolved)
    target = target_record(observed, model, records)
    serving = records.get(serving_revision(observed) or "")
    sizes = observed_sizes(observed)
    confirmed = serving is not None and service.is_confirmed(observed, serving.revision)
    step = next_step(observed, target, serving, sizes, confirmed, now) if not obstacle else None
    facts = Facts(
        observed=observed,
        now=now,
        model=model,
        model_resolved=model_resolved,
        target=target,
        serving=serving,
        serving_confirmed=confirmed,
        reachable_pods=service.reachable_pods(observed, serving.revision) if serving else 0,
        sizes=sizes,
        step=step,
        obstacle=obstacle,
    )
    new_status = status.build(facts)
    children = Children(observed, records, target, serving, step)
    return Plan(
        applies=tuple(body for body in children.applies() if may_write(observed, body)),
        scales=tuple(children.scales()),
        deletes=tuple(children.deletes()) if obstacle is None else (),
        status=new_status if new_status != last_status(observed) else None,
        events=tuple(Event(*t) for t in status.transitions(observed.resource.status, new_status)),
        requeue_after=requeue_after(observed, step),
        back_off=isinstance(observed.resolution, ResolutionDelayed) or observed.refusal is not None,
    )


def settle_model(observed: Observed) -> tuple[api.ModelStatus | None, Verdict]:
    """What spec.model stands for. Once resolved, it stays so until spec.model changes."""
    recorded = observed.resource.status.model
    match observed.resolution:
        case Resolution(requested, model):
            resolved = api.ModelStatus(
                requested=requested,
                resolved_uri=model.uri,
                version=model.version,
                sha256=model.sha256,
            )
            words = f"{requested.uri} is version {model.version}, sha256 {model.sha256}"
            return resolved, Verdict(True, reasons.RESOLVED, words)
        case ResolutionError() as error:
            return recorded, Verdict(False, error.reason, error.message)
        case _:
            words = observed.resource.invalid or "spec.model was not looked at"
            return recorded, Verdict(False, reasons.INVALID_SPEC, words)


def known_records(
    observed: Observed, model: api.ModelStatus | None
) -> Mapping[str, RevisionRecord]:
    """The frozen records, those that were lost and are read off what runs, and the one that
    this pass is about to freeze.
    """
    fresh = new_record(observed, model)
    return {
        **({fresh.revision: fresh} if fresh else {}),
        **{record.revision: record for record in lost_records(observed, model)},
        **observed.records,
    }


def lost_records(observed: Observed, model: api.ModelStatus | None) -> Iterator[RevisionRecord]:
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
            number=next_number(observed),
            model=resolved,
            pod_template=deployment["spec"]["template"],
        )


def next_number(observed: Observed) -> int:
    """The number of the next revision in the history."""
    return 1 + max((record.number for record in observed.records.values()), default=0)


def serving_revision(observed: Observed) -> str | None:
    """The revision that has all requests: the data plane says it, and where the endpoint is gone,
    the last status, as long as that revision still runs.
    """
    named = service.serving_revision(observed.service)
    stable = observed.resource.status.stable
    if named is None and stable is not None and stable.revision in observed.deployments:
        return stable.revision
    return named


def new_record(observed: Observed, model: api.ModelStatus | None) -> RevisionRecord | None:
    """The record of the revision that the spec means, rendered anew; None if it means none."""
    resource = observed.resource
    if model is None or resource.spec is None or model.requested != resource.spec.model:
        return None
    resolved = ResolvedModel(model.resolved_uri, model.version, model.sha256)
    return RevisionRecord(
        revision=revisions.revision_id(model.sha256, resource.server),
        number=next_number(observed),
        model=resolved,
        pod_template=resources.pod_template(resource, resource.spec, resolved, observed.defaults),
    )


def target_record(
    observed: Observed, model: api.ModelStatus | None, records: Mapping[str, RevisionRecord]
) -> RevisionRecord | None:
    """The revision that the spec means, from its record where it has one."""
    fresh = new_record(observed, model)
    return records[fresh.revision] if fresh else None


def find_obstacle(observed: Observed, model_resolved: Verdict) -> Verdict | None:
    """What stands in the way from outside the rollout, the gravest first."""
    if observed.resource.invalid:
        return Verdict(True, reasons.INVALID_SPEC, observed.resource.invalid)
    for namesake in observed.namesakes:
        if namesake.predecessor:
            words = f"waiting for {namesake.kind} {namesake.name} of a deleted resource to go"
            return Verdict(False, reasons.WAITING_FOR_PREDECESSOR, words)
        words = (
            f"{namesake.kind} {namesake.name} exists and belongs to somebody else; "
            "delete or rename it, or rename this resource"
        )
        return Verdict(True, reasons.NAME_CONFLICT, words)
    if observed.refusal:
        refusal = observed.refusal
        words = f"{refusal.kind} {refusal.name} was refused: {refusal.message}"
        return Verdict(True, reasons.INVALID_SPEC, words)
    if not model_resolved.holds and not isinstance(observed.resolution, ResolutionDelayed):
        return Verdict(True, model_resolved.reason, model_resolved.message)
    return None


def may_write(observed: Observed, body: Mapping[str, Any]) -> bool:
    """An object under a name that is taken is left alone, and so is one that was just refused."""
    identity = (body["kind"], body["metadata"]["name"])
    taken = {(namesake.kind, namesake.name) for namesake in observed.namesakes}
    refused = observed.refusal and (observed.refusal.kind, observed.refusal.name)
    return identity not in taken and identity != refused


def observed_sizes(observed: Observed) -> dict[str, Size]:
    """The size of every revision that has a Deployment."""
    sizes = {}
    for revision, deployment in observed.deployments.items():
        ready = sum(diagnosis.is_ready(pod) for pod in observed.pods.get(revision, ()))
        available = deployment.get("status", {}).get("availableReplicas", 0)
        sizes[revision] = Size(
            desired=deployment["spec"].get("replicas", 1),
            ready=ready,
            available=min(ready, available),
        )
    return sizes


def next_step(
    observed: Observed,
    target: RevisionRecord | None,
    serving: RevisionRecord | None,
    sizes: Mapping[str, Size],
    confirmed: bool,  # noqa: FBT001 - one fact among others
    now: datetime,
) -> Step | None:
    """Asks the strategy; None when there is nothing to introduce or keep."""
    spec, recorded = observed.resource.spec, observed.resource.status
    if spec is None or target is None:
        return None
    return standard.advance(
        View(
            target=target.revision,
            serving=serving.revision if serving else None,
            recorded_stable=recorded.stable.revision if recorded.stable else None,
            sizes=sizes,
            replicas=spec.replicas,
            now=now,
            scale_down_delay=timedelta(seconds=spec.strategy.scale_down_delay_seconds),
            progress_deadline=timedelta(seconds=spec.progress_deadline_seconds),
            serving_confirmed=confirmed,
            step_index=recorded.current_step_index,
            step_started_at=parse_time(recorded.step_started_at),
            introduced=recorded.canary.revision if recorded.canary else None,
            failed=recorded.failed_revision,
            trouble=target_trouble(observed, target.revision),
        )
    )


def target_trouble(observed: Observed, revision: str) -> Trouble | None:
    """What the target's pods suffer from; once it has failed, what was recorded then."""
    recorded = observed.resource.status
    failure = recorded.last_failure
    if recorded.failed_revision == revision and failure and failure.revision == revision:
        return Trouble(failure.reason, failure.message, permanent=True)
    return diagnosis.diagnose(observed.pods.get(revision, ()), observed.deployments.get(revision))


def last_status(observed: Observed) -> Mapping[str, Any]:
    """The status as it stands in the API server."""
    body: Mapping[str, Any] = observed.resource.body.get("status") or {}
    return body


def requeue_after(observed: Observed, step: Step | None) -> timedelta | None:
    """When to look again although nothing is heard of."""
    if any(namesake.predecessor for namesake in observed.namesakes):
        return PREDECESSOR_POLL
    return step.requeue_after if step else None


@dataclass(frozen=True)
class Children:
    """The writes that make the children what they should be; nothing for those that are."""

    observed: Observed
    records: Mapping[str, RevisionRecord]
    target: RevisionRecord | None
    serving: RevisionRecord | None
    step: Step | None

    def applies(self) -> Iterator[Mapping[str, Any]]:
        """Records first, then Deployments, then the endpoint: a rollout's commit comes last."""
        resource = self.observed.resource
        wanted = self._wanted_revisions()
        for revision in wanted:
            if revision not in self.observed.records:
                yield resources.controller_revision(resource, self.records[revision])
        for revision in wanted:
            body = resources.deployment(resource, self.records[revision])
            if not _is_unchanged(body, self.observed.deployments.get(revision)):
                yield body
        endpoint = self._endpoint()
        if endpoint and not _is_unchanged(endpoint, self.observed.service):
            yield endpoint

    def scales(self) -> Iterator[Scale]:
        """Replica counts that differ. A Deployment that this pass creates has one pod."""
        for revision, replicas in self._wanted_replicas().items():
            deployment = self.observed.deployments.get(revision)
            current = deployment["spec"].get("replicas", 1) if deployment else 1
            if current != replicas:
                name = naming.revision_child(self.observed.resource.name, revision)
                yield Scale(name, replicas)

    def deletes(self) -> Iterator[Delete]:
        """Retired revisions beyond revisionHistoryLimit, the oldest first; never one with pods."""
        spec = self.observed.resource.spec
        if spec is None or self.target is None:
            return
        kept = {record.revision for record in (self.target, self.serving) if record}
        retired = sorted(
            (record for record in self.observed.records.values() if record.revision not in kept),
            key=lambda record: record.number,
        )
        for record in retired[: max(0, len(retired) - spec.revision_history_limit)]:
            deployment = self.observed.deployments.get(record.revision)
            if self.observed.pods.get(record.revision) or (
                deployment and deployment["spec"].get("replicas", 1)
            ):
                continue
            name = naming.revision_child(self.observed.resource.name, record.revision)
            if deployment:
                yield Delete("Deployment", name, deployment["metadata"]["uid"])
            yield Delete("ControllerRevision", name, record.uid)

    def _wanted_revisions(self) -> list[str]:
        """Every revision that has a Deployment, and those that must have one."""
        wanted = dict.fromkeys(r for r in self.observed.deployments if r in self.records)
        if self.serving:
            wanted[self.serving.revision] = None
        if self.target and self.step and self.step.failed != self.target.revision:
            wanted[self.target.revision] = None
        return list(wanted)

    def _wanted_replicas(self) -> Mapping[str, int]:
        """By the strategy; undecided, the serving revision keeps the size that is asked for."""
        if self.step:
            return self.step.replicas
        spec = self.observed.resource.spec
        return {self.serving.revision: spec.replicas} if self.serving and spec else {}

    def _endpoint(self) -> Mapping[str, Any] | None:
        revision = self.step.serve if self.step else self.serving and self.serving.revision
        return service.service(self.observed.resource, revision) if revision else None


def _is_unchanged(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    if live is None or not canonical.is_subset(wanted, live):
        return False
    if canonical.owns_more(wanted, live, naming.MANAGER):
        return False
    selector = wanted["spec"].get("selector")
    return wanted["kind"] != "Service" or bool(selector == live["spec"].get("selector"))
