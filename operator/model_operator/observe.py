"""Gathers everything that one decision is made from. Reads only, and always fresh ones.

The first of the two modules that do I/O; the other is `apply`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from model_operator import (
    api,
    autoscaling,
    budgets,
    child_names,
    diagnosis,
    fallback,
    naming,
    resolver,
    resolving,
    revisions,
    validation,
)
from model_operator.clients import routers as router_agents
from model_operator.clients.children import ChildReader
from model_operator.clients.cluster import Cluster
from model_operator.clients.following import Following
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import PodReader
from model_operator.clients.questions import Questions
from model_operator.clients.registry import Registry
from model_operator.errors import ResolutionError
from model_operator.observed import (
    Defaults,
    Namesake,
    Observed,
    Resolution,
    Resource,
    Unverified,
)
from model_operator.rollout import comparison
from model_operator.router_answer import RouterAnswer
from model_operator.timestamps import parse_time
from model_operator.traffic import gateway_api, providers

PATIENCE = timedelta(seconds=15)
_BESIDE = ("ConfigMap", "HTTPRoute", budgets.KIND, autoscaling.KIND)
_CHILDREN = ("Deployment", "ControllerRevision", "Service", "ConfigMap")

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Sources:
    """All that is read from."""

    cluster: Cluster
    children: ChildReader
    registry: Registry
    following: Following
    questions: Questions[resolving.Found]
    measurer: Measurer
    pods: PodReader
    defaults: Defaults


async def observe(sources: Sources, namespace: str, name: str, now: datetime) -> Observed | None:
    """The world around one ModelDeployment; None when it does not exist or is being deleted."""
    cluster, key = sources.cluster, (namespace, name)
    budget_api = await cluster.served_version(budgets.KIND)
    kinds = (*_CHILDREN, *([budgets.KIND] if budget_api else []))
    endpoint = {"Service": name}
    found, endpoints, (pods, _) = await asyncio.gather(
        asyncio.gather(
            *(sources.children.read(kind, key, also=endpoint.get(kind)) for kind in kinds)
        ),
        cluster.get("Endpoints", namespace, name),
        # Whether a pod is ready, and how many there are, decides what gets requests.
        cluster.list("Pod", namespace, naming.owned_by_selector(name)),
    )
    children: list[Body] = list(itertools.chain.from_iterable(found))
    # Last: what went with its resource must not be taken for lost.
    body = await cluster.get(api.KIND, namespace, name)
    if body is None or "deletionTimestamp" in body["metadata"]:
        sources.following.forget(key)
        sources.questions.forget(key)
        sources.measurer.forget(key)
        return None
    resource = read_resource(body)
    histories = found[kinds.index("ControllerRevision")]
    resolution = await resolving.resolve(
        resource, sources.registry, sources.following, sources.questions, histories
    )
    slow = rollout_is_slow(resource, now)
    routers = [pod for pod in pods if providers.is_router(resource, pod)]
    beside, served = await _of_provider(cluster, resource, children)
    jobs = await _jobs(cluster, resource, resolution, pods)
    children += [*beside, *jobs]
    with_children = partial(
        assemble,
        probe_answers=await _probe_answers(cluster, namespace, pods) if slow else {},
        resource=resource,
        defaults=sources.defaults,
        resolution=resolution,
        pods=pods,
        endpoints=endpoints,
        router_answers=await router_agents.ask(sources.pods, key, routers),
        served={budgets.KIND: budget_api, **served},
    )
    observed = with_children(children=children)
    if namesakes := await _namesakes(sources.children, observed, children, (*kinds, resolver.KIND)):
        observed = with_children(children=[*children, *namesakes])
    return await _measured(sources.measurer, observed, now)


async def _of_provider(
    cluster: Cluster, resource: Resource, children: Iterable[Body]
) -> tuple[list[Body], dict[str, str | None]]:
    """What is not listed with the other children, since few resources have any of it; and in which
    version the cluster serves each of its kinds.
    """
    traffic = resource.spec.traffic.provider if resource.spec else "Service"
    services = any(
        child["kind"] == "Service" and revisions.is_id(naming.revision_of(resource.name, child))
        for child in children
    )
    wanted = [("HTTPRoute", resource.name)] * gateway_api.must_be_read(traffic, services)
    wanted += [(autoscaling.KIND, resource.name)] * autoscaling.must_be_read(resource)
    found, served = [], {}
    for kind, name in wanted:
        served[kind] = await cluster.served_version(kind)
        if served[kind]:
            found.append(await cluster.get(kind, resource.namespace, name))
    return [body for body in found if body is not None], served


async def _jobs(
    cluster: Cluster,
    resource: Resource,
    resolution: Resolution | Unverified | ResolutionError | None,
    pods: Iterable[Body],
) -> Sequence[Body]:
    """The Jobs that compute digests; not asked for where there can be none, as usually."""
    if not resolver.must_be_read(resource, resolution, pods):
        return []
    selector = naming.owned_by_selector(resource.name)
    found, _ = await cluster.list(resolver.KIND, resource.namespace, selector)
    return found


async def _measured(measurer: Measurer, observed: Observed, now: datetime) -> Observed:
    """The same world with what was measured of the rollout that is under way."""
    resource = observed.resource
    compared = comparison.compared(resource.spec, resource.status) if resource.spec else None
    if compared is None:
        measurer.forget(resource.key)
        return observed
    measurement = await measurer.measure(
        resource,
        observed.pods,
        canary=compared.canary,
        stable=compared.stable,
        step_started_at=parse_time(resource.status.step_started_at),
        last_judged_at=parse_time(resource.status.analysed_at),
        now=now,
    )
    return replace(observed, measurement=measurement, measurement_due=measurer.due(resource))


def assemble(
    *,
    resource: Resource,
    defaults: Defaults,
    resolution: Resolution | Unverified | ResolutionError | None,
    children: Iterable[Body],
    pods: Iterable[Body],
    endpoints: Body | None,
    probe_answers: Mapping[str, str] | None = None,
    router_answers: Mapping[str, RouterAnswer] | None = None,
    served: Mapping[str, str | None] | None = None,
) -> Observed:
    """Sorts what was read into one observation. Pure.

    Servers and routers that have ended are left out: they hold nothing, and may lie about for long.
    """
    pods = tuple(pods)
    living = [pod for pod in pods if not diagnosis.has_ended(pod)]
    kinds: dict[str, list[Body]] = defaultdict(list)
    taken = []
    for body in children:
        owner = _controller(body)
        if owner is not None and owner["uid"] == resource.uid:
            kinds[body["kind"]].append(body)
        else:
            taken.append(_namesake(body, owner, resource))
    records = [
        revisions.from_controller_revision(body, naming.revision_of(resource.name, body))
        for body in kinds["ControllerRevision"]
        if "data" in body
    ]
    deployments, others = _of_revisions(resource, kinds["Deployment"])
    services, beside = _of_revisions(resource, kinds["Service"])
    others += [body for body in beside if not _is_endpoint(body, resource.name)]
    unverified = resolution if isinstance(resolution, Unverified) else None
    observed = Observed(
        resource=resource,
        defaults=defaults,
        resolution=None if isinstance(resolution, Unverified) else resolution,
        unverified=unverified,
        jobs=tuple(kinds[resolver.KIND]),
        resolver_pods=tuple(pod for pod in pods if resolver.is_resolver(resource.name, pod)),
        records={record.revision: record for record in records},
        deployments=deployments,
        pods=_by_revision(living),
        service=next((body for body in beside if _is_endpoint(body, resource.name)), None),
        revision_services=services,
        http_route=next(iter(kinds["HTTPRoute"]), None),
        gateway_api=(served or {}).get("HTTPRoute"),
        budget_api=(served or {}).get(budgets.KIND),
        autoscaling_api=(served or {}).get(autoscaling.KIND),
        router_pods=tuple(pod for pod in living if providers.is_router(resource, pod)),
        router_answers=router_answers or {},
        others={
            (body["kind"], body["metadata"]["name"]): body
            for body in [
                *others,
                *services.values(),
                *(body for kind in _BESIDE for body in kinds[kind]),
            ]
        },
        endpoint_pods=_endpoint_pods(endpoints),
        probe_answers=probe_answers or {},
        namesakes=tuple(taken),
    )
    return resolver.settled(observed)


def read_resource(body: Body) -> Resource:
    """The ModelDeployment, validated. Status that cannot be read counts as lost."""
    metadata = body["metadata"]
    invalid = validation.refusal(body)
    spec = None if invalid else api.ModelDeploymentSpec.model_validate(body["spec"])
    try:
        status = api.ModelDeploymentStatus.model_validate(
            # A later release may have written more; an earlier one must go on with it.
            body.get("status") or {},
            extra="ignore",
        )
    except ValidationError:
        status = api.ModelDeploymentStatus()
    if spec is None:
        spec = fallback.valid_part(body.get("spec") or {}, status)
    return Resource(
        name=metadata["name"],
        namespace=metadata["namespace"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        body=body,
        spec=spec,
        invalid=invalid,
        status=status,
    )


def rollout_is_slow(resource: Resource, now: datetime) -> bool:
    """Whether a step has been under way for so long that the pods' probes are asked about."""
    started_at = parse_time(resource.status.step_started_at)
    return started_at is not None and now - started_at >= PATIENCE


async def _probe_answers(
    cluster: Cluster, namespace: str, pods: Iterable[Body]
) -> Mapping[str, str]:
    """What the kubelet last heard from the probes of the pods that run without being ready."""
    uids = {pod["metadata"]["uid"] for pod in pods if diagnosis.runs_unready(pod)}
    if not uids:
        return {}
    events, _ = await cluster.list(
        "Event", namespace, fields="involvedObject.kind=Pod,reason=Unhealthy"
    )
    told = sorted(events, key=lambda event: str(event.get("lastTimestamp") or ""))
    return {
        event["involvedObject"]["uid"]: event.get("message", "")
        for event in told
        if event["involvedObject"].get("uid") in uids
    }


async def _namesakes(
    reader: ChildReader, observed: Observed, read: Iterable[Body], kinds: Container[str]
) -> Sequence[Body]:
    """What has the name of a child and was not read yet: it lacks our labels, or is so new that no
    watch has told of it.
    """
    known = {(body["kind"], body["metadata"]["name"]) for body in read}
    unread = [
        (kind, name)
        for kind, name in child_names.may_be_written(observed)
        if kind in kinds and (kind, name) not in known
    ]
    return await reader.named(observed.resource.namespace, unread)


def _is_endpoint(body: Body, name: str) -> bool:
    return (body["kind"], body["metadata"]["name"]) == ("Service", name)


def _of_revisions(resource: Resource, bodies: Iterable[Body]) -> tuple[dict[str, Body], list[Body]]:
    """Those that are named after a revision, by it, and the others."""
    named, others = {}, []
    for body in bodies:
        revision = naming.revision_of(resource.name, body)
        if revisions.is_id(revision):
            named[revision] = body
        else:
            others.append(body)
    return named, others


def _controller(body: Body) -> Body | None:
    references: Iterable[Body] = body["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def _namesake(body: Body, owner: Body | None, resource: Resource) -> Namesake:
    predecessor = owner is not None and (owner["kind"], owner["name"]) == (
        api.KIND,
        resource.name,
    )
    return Namesake(body["kind"], body["metadata"]["name"], predecessor=predecessor)


def _by_revision(pods: Iterable[Body]) -> dict[str, tuple[Body, ...]]:
    grouped: dict[str, list[Body]] = defaultdict(list)
    for pod in pods:
        if revision := pod["metadata"]["labels"].get(naming.REVISION_LABEL):
            grouped[revision].append(pod)
    return {revision: tuple(members) for revision, members in grouped.items()}


def _endpoint_pods(endpoints: Body | None) -> frozenset[str] | None:
    if endpoints is None:
        return None
    return frozenset(
        address["targetRef"]["name"]
        for subset in endpoints.get("subsets") or ()
        for address in subset.get("addresses") or ()
        if address.get("targetRef")
    )
