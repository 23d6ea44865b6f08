"""The writes that make the children what they should be. Pure; asked by `decide`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_operator import autoscaling, budgets, canonical, naming, resolver, resources
from model_operator.observed import Observed
from model_operator.plan import Delete, Replacement, Scale, Touch
from model_operator.revisions import RevisionRecord
from model_operator.rollout.view import Step
from model_operator.route import Route
from model_operator.traffic import providers, router, side_services
from model_operator.traffic.provider import Provider

Body = Mapping[str, Any]

SELECTOR = ("spec", "selector")
POD_SPEC = ("spec", "template", "spec")


@dataclass(frozen=True)
class Children:
    """The writes of one pass; nothing for children that are what they should be."""

    observed: Observed
    records: Mapping[str, RevisionRecord]
    target: RevisionRecord | None
    serving: str | None
    step: Step | None
    provider: Provider
    route: Route | None
    """How requests shall be divided."""
    replicas: int
    """How many pods a revision that serves everybody has to have."""
    now: datetime

    def applies(self) -> Iterator[Body]:
        """Records first, then Deployments and the budgets of those that will serve, then the
        endpoint: a rollout's commit. The autoscaler follows it. A Job that computes a digest waits
        for nothing.
        """
        job = resolver.wanted(self.observed, self.now)
        if job is not None and self._may_write(job):
            yield job
        for record in self._wanted_records():
            frozen = self.observed.records.get(record.revision)
            history = resources.controller_revision(self.observed.resource, record)
            if self._may_write(history) and (frozen is None or frozen.number != record.number):
                yield history
        serve = [*self._budgets(), *self._beside(), *self._traffic(), *self._autoscaler()]
        for body, live in [*self._deployments(), *serve]:
            if self._may_write(body) and not _is_unchanged(body, live):
                yield _on_what_was_seen(body, live)

    def replacements(self) -> Iterator[Replacement]:
        """Pod templates and selectors in which somebody else has set something. An apply could not
        remove it.
        """
        yield from self._selectors()
        for body, live in self._deployments():
            pod_spec = body["spec"]["template"]["spec"]
            if live is None or not self._may_write(body):
                continue
            if canonical.others_own(pod_spec, live, naming.MANAGER, POD_SPEC):
                metadata = live["metadata"]
                yield Replacement(
                    "Deployment", metadata["name"], metadata["resourceVersion"], POD_SPEC, pod_spec
                )

    def _selectors(self) -> Iterator[Replacement]:
        for body, live in [*self._beside(), *self._traffic()]:
            if live is None or not self._may_write(body) or not _has_foreign_labels(body, live):
                continue
            metadata, selector = live["metadata"], body["spec"]["selector"]
            yield Replacement(
                "Service", metadata["name"], metadata["resourceVersion"], SELECTOR, selector
            )

    def scales(self, applies: Iterable[Body]) -> Iterator[Scale]:
        """Replica counts that differ, after `applies` of the same pass. A Deployment that it
        creates has one pod.
        """
        applied = {body["metadata"]["name"] for body in applies if body["kind"] == "Deployment"}
        autoscaler = next((body for body, _ in self._autoscaler()), None)
        autoscaled = autoscaling.sized(self.observed, autoscaler)
        for revision, replicas in self._wanted_replicas().items():
            deployment = self.observed.deployments.get(revision)
            if deployment is None and revision not in self.records:
                continue
            current = deployment["spec"].get("replicas", 1) if deployment else 1
            if current == replicas:
                continue
            name = naming.revision_child(self.observed.resource.name, revision)
            if not self._may_write({"kind": "Deployment", "metadata": {"name": name}}):
                continue
            if name == autoscaled and current and replicas:
                continue
            metadata = deployment["metadata"] if deployment else {}
            version = None if name in applied else metadata.get("resourceVersion")
            yield Scale(name, replicas, uid=metadata.get("uid"), resource_version=version)

    def touches(self) -> Iterator[Touch]:
        """Pods that have not been told of what is mounted in them: routes, mirrors."""
        yield from router.touches(self.observed, self.now)
        if self.step is not None:
            yield from side_services.touches(self.observed, self.step, self.serving)

    def deletes(self, *, blocked: bool) -> Iterator[Delete]:
        """What is not used any more; with something in the way only what would go on working."""
        yield from resolver.deletes(self.observed, self.now)
        yield from self._deletes_beside()
        yield from self._deletes_of_budgets()
        yield from self._deletes_of_autoscaler()
        if not blocked:
            yield from self._deletes_of_providers()
            yield from self._deletes_of_retired()

    def _deletes_beside(self) -> Iterator[Delete]:
        if self.step is None:
            return
        unused = side_services.unused(self.observed, self.step, self.serving, self.now)
        yield from self._deletes_by_name(unused)

    def _deletes_of_budgets(self) -> Iterator[Delete]:
        if self.step is not None:
            kept = [body for body, _ in self._budgets()]
            yield from self._deletes_by_name(budgets.unused(self.observed, kept))

    def _deletes_of_providers(self) -> Iterator[Delete]:
        if self.step is not None:
            yield from self._deletes_by_name(providers.obsolete(self.observed))

    def _deletes_of_autoscaler(self) -> Iterator[Delete]:
        if self.step is not None and autoscaling.is_left_over(self.observed):
            yield from self._deletes_by_name([(autoscaling.KIND, self.observed.resource.name)])

    def _deletes_by_name(self, keys: Iterable[tuple[str, str]]) -> Iterator[Delete]:
        for kind, name in keys:
            live = self.observed.child(kind, name)
            if live and "deletionTimestamp" not in live["metadata"]:
                yield Delete(kind, name, live["metadata"]["uid"])

    def _deletes_of_retired(self) -> Iterator[Delete]:
        """Retired revisions beyond revisionHistoryLimit, the oldest first; never one with pods.
        One whose record was lost is of no use to anybody.
        """
        spec = self.observed.resource.spec
        if spec is None or self.target is None:
            return
        kept = {self.target.revision, self.serving}
        retired = sorted(
            (record for record in self.observed.records.values() if record.revision not in kept),
            key=lambda record: record.number,
        )
        beyond = [r.revision for r in retired[: max(0, len(retired) - spec.revision_history_limit)]]
        lost = [r for r in self.observed.deployments if r not in self.records and r not in kept]
        for revision in [*lost, *beyond]:
            yield from self._deletes_of(revision)

    def _deletes_of(self, revision: str) -> Iterator[Delete]:
        deployment = self.observed.deployments.get(revision)
        if self.observed.pods.get(revision) or (
            deployment and deployment["spec"].get("replicas", 1)
        ):
            return
        name = naming.revision_child(self.observed.resource.name, revision)
        if deployment:
            yield Delete("Deployment", name, deployment["metadata"]["uid"])
        if record := self.observed.records.get(revision):
            yield Delete("ControllerRevision", name, record.uid)

    def _wanted_records(self) -> list[RevisionRecord]:
        """Every revision that has a Deployment, and those that must have one."""
        wanted = dict.fromkeys(r for r in self.observed.deployments if r in self.records)
        if (
            self.serving
            and self.serving in self.records
            and (self.step is None or self.serving in self.step.replicas)
        ):
            wanted[self.serving] = None
        if self.target and self.step and self.target.revision in self.step.replicas:
            wanted[self.target.revision] = None
        return [
            self.target
            if self.target and self.target.revision == revision
            else self.records[revision]
            for revision in wanted
        ]

    def _deployments(self) -> Iterator[tuple[Body, Body | None]]:
        for record in self._wanted_records():
            body = resources.deployment(self.observed.resource, record)
            yield body, self.observed.deployments.get(record.revision)

    def _wanted_replicas(self) -> Mapping[str, int]:
        """By the strategy; undecided, the serving revision keeps the size that is asked for."""
        if self.step:
            return self.step.replicas
        spec = self.observed.resource.spec
        return {self.serving: self.replicas} if self.serving and spec else {}

    def _traffic(self) -> Iterator[tuple[Body, Body | None]]:
        """What the provider needs, in its order."""
        if self.route is None:
            return
        for body in self.provider.objects(self.observed, self.route):
            yield body, self.observed.child(body["kind"], body["metadata"]["name"])

    def _budgets(self) -> Iterator[tuple[Body, Body | None]]:
        for body in budgets.wanted(self.observed, self.step, self.route):
            yield body, self.observed.child(budgets.KIND, body["metadata"]["name"])

    def _beside(self) -> Iterator[tuple[Body, Body | None]]:
        if self.step is None:
            return
        for body in side_services.wanted(self.observed, self.step, self.serving, self.now):
            yield body, self.observed.child(body["kind"], body["metadata"]["name"])

    def _autoscaler(self) -> Iterator[tuple[Body, Body | None]]:
        body = autoscaling.wanted(self.observed, self.step, self.serving, self.replicas, self.now)
        if body is not None:
            yield body, self.observed.child(autoscaling.KIND, self.observed.resource.name)

    def _may_write(self, body: Body) -> bool:
        """What has a name that is taken is left alone, and so is what was just refused."""
        taken = {(namesake.kind, namesake.name) for namesake in self.observed.namesakes}
        refused = {(refusal.kind, refusal.name) for refusal in self.observed.refusals}
        return (body["kind"], body["metadata"]["name"]) not in taken | refused


def _on_what_was_seen(body: Body, live: Body | None) -> Body:
    """The body, to be applied only to the very object that it was compared with."""
    if live is None:
        return body
    seen = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
    return {**body, "metadata": {**body["metadata"], **seen}}


def _is_unchanged(wanted: Body, live: Body | None) -> bool:
    if live is None or not canonical.is_subset(wanted, live):
        return False
    if canonical.owns_more(wanted, live, naming.MANAGER):
        return False
    if wanted["kind"] != "Service" or _has_foreign_labels(wanted, live):
        return True
    return bool(wanted["spec"].get("selector") == live["spec"].get("selector"))


def _has_foreign_labels(wanted: Body, live: Body) -> bool:
    """Whether a Service selects by what is wanted, and by labels that somebody else has added."""
    if wanted["kind"] != "Service" or not canonical.is_subset(wanted, live):
        return False
    selector = wanted["spec"]["selector"]
    return canonical.others_own(selector, live, naming.MANAGER, SELECTOR)
