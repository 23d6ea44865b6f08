"""Gathers everything that one decision is made from. Reads only, and always fresh ones.

The first of the two modules that do I/O; the other is `apply`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from model_operator import api, naming, revisions
from model_operator.clients.cluster import Cluster
from model_operator.clients.registry import Registry
from model_operator.errors import ResolutionError
from model_operator.observed import Defaults, Namesake, Observed, Resolution, Resource
from model_operator.revisions import ResolvedModel

Body = Mapping[str, Any]


async def observe(
    cluster: Cluster, registry: Registry, defaults: Defaults, namespace: str, name: str
) -> Observed | None:
    """The world around one ModelDeployment; None when it does not exist or is being deleted."""
    body = await cluster.get(api.KIND, namespace, name)
    if body is None or "deletionTimestamp" in body["metadata"]:
        return None
    resource = read_resource(body)
    selector = naming.owned_by_selector(name)
    (deployments, _), (histories, _), (pods, _), service, endpoints = await asyncio.gather(
        cluster.list("Deployment", namespace, selector),
        cluster.list("ControllerRevision", namespace, selector),
        cluster.list("Pod", namespace, selector),
        cluster.get("Service", namespace, name),
        cluster.get("Endpoints", namespace, name),
    )
    resolution = await resolve(resource, registry)
    namesakes = await _namesakes(cluster, resource, resolution, [*deployments, *histories])
    return assemble(
        resource=resource,
        defaults=defaults,
        resolution=resolution,
        children=[*deployments, *histories, *namesakes, *([service] if service else [])],
        pods=pods,
        endpoints=endpoints,
    )


def assemble(
    *,
    resource: Resource,
    defaults: Defaults,
    resolution: Resolution | ResolutionError | None,
    children: Iterable[Body],
    pods: Iterable[Body],
    endpoints: Body | None,
) -> Observed:
    """Sorts what was read into one observation. Pure."""
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
    return Observed(
        resource=resource,
        defaults=defaults,
        resolution=resolution,
        records={record.revision: record for record in records},
        deployments={naming.revision_of(resource.name, body): body for body in kinds["Deployment"]},
        pods=_by_revision(pods),
        service=next(iter(kinds["Service"]), None),
        endpoint_pods=_endpoint_pods(endpoints),
        namesakes=tuple(taken),
    )


def read_resource(body: Body) -> Resource:
    """The ModelDeployment, validated. Status that cannot be read counts as lost."""
    metadata = body["metadata"]
    spec, invalid = None, None
    try:
        spec = api.ModelDeploymentSpec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        invalid = in_one_sentence(error)
    if len(metadata["name"]) > api.NAME_MAX_LENGTH:
        spec, invalid = None, f"metadata.name is longer than {api.NAME_MAX_LENGTH} characters"
    try:
        status = api.ModelDeploymentStatus.model_validate(body.get("status") or {})
    except ValidationError:
        status = api.ModelDeploymentStatus()
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


def in_one_sentence(error: ValidationError) -> str:
    """The first thing that is wrong, by the field's path, and how many more there are."""
    errors = error.errors()
    field = ".".join(["spec", *(str(part) for part in errors[0]["loc"])])
    words = errors[0]["msg"].removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{field}: {words}{more}"


async def resolve(resource: Resource, registry: Registry) -> Resolution | ResolutionError | None:
    """Asks the registry only when spec.model is not what was resolved last."""
    if resource.spec is None:
        return None
    requested, recorded = resource.spec.model, resource.status.model
    if recorded is not None and recorded.requested == requested:
        model = ResolvedModel(recorded.resolved_uri, recorded.version, recorded.sha256)
        return Resolution(requested, model)
    try:
        return Resolution(requested, await registry.resolve(requested))
    except ResolutionError as error:
        return error


async def _namesakes(
    cluster: Cluster,
    resource: Resource,
    resolution: Resolution | ResolutionError | None,
    listed: Iterable[Body],
) -> list[Body]:
    """What has the name of a child of the wanted or the stable revision, and lacks our labels."""
    if not isinstance(resolution, Resolution):
        return []
    wanted = {revisions.revision_id(resolution.model.sha256, resource.server)}
    if resource.status.stable is not None:
        wanted.add(resource.status.stable.revision)
    known = {(body["kind"], body["metadata"]["name"]) for body in listed}
    found = [
        await cluster.get(kind, resource.namespace, name)
        for name in sorted(naming.revision_child(resource.name, revision) for revision in wanted)
        for kind in ("ControllerRevision", "Deployment")
        if (kind, name) not in known
    ]
    return [body for body in found if body is not None]


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
