"""The Kubernetes API, as this operator uses it: plain dicts, server-side apply, typed errors.

Nothing is retried in here: a pass that fails is made again from fresh reads.
"""

from __future__ import annotations

import contextlib
import copy
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubernetes.aio import client

from model_operator import api, naming
from model_operator.clients.fence import Fence
from model_operator.clients.login import log_in
from model_operator.clients.transport import (
    JSON,
    Body,
    CallObserver,
    Transport,
    json_object,
    last_check,
)
from model_operator.errors import ApiError, ApiUnreachable, Conflict, NotFound

PAGE_SIZE = 500
WATCH_SECONDS = 300
"""How long the server keeps a watch open before it is renewed."""
SILENCE_SECONDS = 70
"""A watch that says nothing for so long is taken for dead (bookmarks come every minute)."""

_METADATA_ONLY = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_GROUPS = {
    "Pod": ("api/v1", "pods"),
    "Service": ("api/v1", "services"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Endpoints": ("api/v1", "endpoints"),
    "Event": ("api/v1", "events"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "Job": ("apis/batch/v1", "jobs"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    api.KIND: (f"apis/{api.API_VERSION}", api.PLURAL),
}
_EARLIER: Mapping[str, tuple[str, ...]] = {
    "HorizontalPodAutoscaler": ("v2beta2",),
    "HTTPRoute": ("v1beta1",),
    "PodDisruptionBudget": ("v1beta1",),
}
"""Versions in which some clusters serve a kind instead, the best first."""
SERVED_SECONDS = 300
"""How long it is believed in which version a kind is served."""
NOT_SERVED_SECONDS = 20
"""How long it is believed that a kind is not served at all: somebody may be installing it."""
_OTHER_UID = re.compile(r"metadata\.uid: .*field is immutable")
"""How an API server as old as 1.20 answers an apply whose uid is not that of the object."""


@dataclass(frozen=True)
class MetadataPage:
    """Some of a kind's objects, their metadata only."""

    items: list[Body]
    """What `metadata` holds of each."""
    version: str
    """The list's resourceVersion."""
    cpu_seconds: float
    """What reading the page took."""


def path(
    kind: str,
    namespace: str | None,
    name: str | None = None,
    sub: str | None = None,
    version: str | None = None,
) -> str:
    """The path of a kind's collection or of one object; `version` instead of the usual one.

    >>> path("Deployment", "vision", "cats", "scale")
    '/apis/apps/v1/namespaces/vision/deployments/cats/scale'
    >>> path("Pod", None)
    '/api/v1/pods'
    >>> path("HTTPRoute", "vision", version="v1beta1")
    '/apis/gateway.networking.k8s.io/v1beta1/namespaces/vision/httproutes'
    """
    group, plural = _GROUPS[kind]
    if version:
        group = f"{group.rpartition('/')[0]}/{version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(part for part in (f"/{group}{scope}/{plural}", name, sub) if part)


async def connect(kubeconfig: str | None = None, observe: CallObserver | None = None) -> Cluster:
    """A connection pool, logged in."""
    return logged_in(await log_in(kubeconfig), observe)


def logged_in(
    configuration: client.Configuration,
    observe: CallObserver | None = None,
    fence: Fence | None = None,
) -> Cluster:
    """A connection pool of somebody who is logged in already; writes go through the fence."""
    if fence is not None:
        configuration = copy.copy(configuration)
        configuration.trace_configs = [last_check(fence)]
    return Cluster(client.ApiClient(configuration), observe, fence)


class Cluster:
    """One connection pool to one API server."""

    def __init__(
        self,
        api_client: client.ApiClient,
        observe: CallObserver | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._transport = Transport(api_client, observe, fence)
        self._served: dict[str, tuple[str | None, float]] = {}
        """By kind, the version that is served, and until when that is believed."""

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    async def served_version(self, kind: str) -> str | None:
        """The best version of a kind that the API server has, of those that this client knows;
        None when it has none. From then on the kind is read and deleted in that version.
        """
        known, until = self._served.get(kind, (None, -math.inf))
        if time.monotonic() < until:
            return known
        version = await self._discover(kind)
        believed = SERVED_SECONDS if version else NOT_SERVED_SECONDS
        self._served[kind] = (version, time.monotonic() + believed)
        return version

    async def _discover(self, kind: str) -> str | None:
        group, _, usual = _GROUPS[kind][0].rpartition("/")
        for version in (usual, *_EARLIER.get(kind, ())):
            try:
                found = await self._transport.json("get", "APIResourceList", f"/{group}/{version}")
            except NotFound:
                continue
            if any(resource["kind"] == kind for resource in found.get("resources") or ()):
                return version
        return None

    def _path(
        self, kind: str, namespace: str | None, name: str | None = None, sub: str | None = None
    ) -> str:
        version, _ = self._served.get(kind, (None, 0.0))
        return path(kind, namespace, name, sub, version)

    async def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object, or None when it does not exist."""
        try:
            return await self._transport.json("get", kind, self._path(kind, namespace, name))
        except NotFound:
            return None

    async def list(
        self, kind: str, namespace: str | None, selector: str = "", fields: str = ""
    ) -> tuple[list[Body], str]:
        """All objects that the label and field selectors match, and the list's resourceVersion."""
        items: list[Body] = []
        version = ""
        async for page, version in self.pages(kind, namespace, selector, fields):  # noqa: B007
            items += page
        return items, version

    async def pages(
        self,
        kind: str,
        namespace: str | None,
        selector: str = "",
        fields: str = "",
        size: int = PAGE_SIZE,
    ) -> AsyncIterator[tuple[Sequence[Body], str]]:
        """The same page by page, for whoever keeps little of each object."""
        query = {"limit": str(size), "labelSelector": selector, "fieldSelector": fields}
        while True:
            page = await self._transport.json("list", kind, self._path(kind, namespace), query)
            # The items of a list do not say what they are.
            identity = {"apiVersion": page["apiVersion"], "kind": kind}
            items = [{**identity, **item} for item in page.get("items") or ()]
            yield items, page["metadata"]["resourceVersion"]
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    async def metadata(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[MetadataPage]:
        """The metadata of all objects that the label selector matches, page by page. Of a kind
        that the API server does not have: one page of nothing, without a version.
        """
        if kind in _EARLIER and await self.served_version(kind) is None:
            yield MetadataPage([], "", 0.0)
            return
        query = {"limit": str(PAGE_SIZE), "labelSelector": selector}
        while True:
            content = await self._transport.read(
                "list",
                kind,
                self._path(kind, namespace),
                query,
                accept=_METADATA_ONLY.format("List"),
            )
            started = time.thread_time()
            page = json_object(content, f"the list of {kind}")
            items = [item["metadata"] for item in page.get("items") or ()]
            version = page["metadata"]["resourceVersion"]
            yield MetadataPage(items, version, time.thread_time() - started)
            if not (token := page["metadata"].get("continue")):
                return
            query["continue"] = token

    async def answers(self, kind: str, namespace: str | None) -> bool:
        """Whether the API server, asked for one object of a kind, gives a list."""
        try:
            await self._transport.json("list", kind, self._path(kind, namespace), {"limit": "1"})
        except (ApiError, ApiUnreachable):
            return False
        return True

    async def watch(
        self,
        kind: str,
        namespace: str | None,
        selector: str,
        resource_version: str,
        opened: Callable[[], None] = lambda: None,
        *,
        metadata_only: bool = False,
    ) -> AsyncIterator[Body]:
        """Events as the API server sends them, bookmarks included, until it closes the stream.

        `opened` is called as soon as the API server has agreed to the watch.

        Raises:
            Gone: the resourceVersion is too old; list again.
            ApiUnreachable: the stream broke, fell silent or is not one of events.

        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        accept = _METADATA_ONLY.format("") if metadata_only else JSON
        target = self._path(kind, namespace)
        async for event in self._transport.events(
            kind, target, query, accept, SILENCE_SECONDS, opened
        ):
            yield event

    async def apply(self, body: Mapping[str, Any]) -> Body:
        """Server-side apply; takes over fields that others have changed.

        Raises:
            Conflict: `metadata` carries a uid or a resourceVersion, and it is not the object's.

        """
        metadata = body["metadata"]
        query = {"fieldManager": naming.MANAGER, "force": "true"}
        version = body["apiVersion"].rpartition("/")[2]
        target = path(body["kind"], metadata["namespace"], metadata["name"], version=version)
        try:
            return await self._transport.json(
                "apply", body["kind"], target, query, body, "application/apply-patch+yaml"
            )
        except ApiError as error:
            if error.status == 422 and _OTHER_UID.search(error.message):
                raise Conflict(409, error.message) from error
            raise

    async def scale(
        self,
        namespace: str,
        deployment: str,
        replicas: int,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> None:
        """Sets a Deployment's replica count through its scale subresource.

        Raises:
            Conflict: a uid or a resourceVersion is given, and it is not the Deployment's.

        """
        seen = {"uid": uid, "resourceVersion": resource_version}
        await self._transport.json(
            "patch",
            "Scale",
            self._path("Deployment", namespace, deployment, "scale"),
            {"fieldManager": naming.SCALE_MANAGER},
            {
                "metadata": {key: value for key, value in seen.items() if value},
                "spec": {"replicas": replicas},
            },
            "application/merge-patch+json",
        )

    async def annotate_pod(
        self, namespace: str, pod: str, uid: str, annotations: Mapping[str, str]
    ) -> None:
        """Sets annotations of the pod with this uid; one that is gone is fine."""
        with contextlib.suppress(NotFound, Conflict):
            await self._transport.json(
                "patch",
                "Pod",
                path("Pod", namespace, pod),
                {"fieldManager": naming.MANAGER},
                {"metadata": {"uid": uid, "annotations": dict(annotations)}},
                "application/merge-patch+json",
            )

    async def replace(
        self,
        kind: str,
        namespace: str,
        name: str,
        member: Sequence[str],
        value: object,
        resource_version: str,
    ) -> None:
        """Sets one member of an object to exactly `value`, whoever else has set something in it.

        Raises:
            Conflict: the object has changed since `resource_version`.

        """
        changes: Any = [
            {"op": "replace", "path": f"/{'/'.join(member)}", "value": value},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        ]
        await self._transport.json(
            "patch",
            kind,
            self._path(kind, namespace, name),
            {"fieldManager": naming.MANAGER},
            changes,
            "application/json-patch+json",
        )

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Deletes the object with this uid, and its dependants behind it; gone is fine."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._transport.json(
                "delete", kind, self._path(kind, namespace, name), {}, options
            )
        except NotFound:
            return

    async def put_status(self, body: Mapping[str, Any]) -> Body:
        """Replaces the status of a ModelDeployment as it was read.

        Raises:
            Conflict: it has changed since.

        """
        metadata = body["metadata"]
        target = self._path(api.KIND, metadata["namespace"], metadata["name"], "status")
        return await self._transport.json(
            "update", api.KIND, target, {"fieldManager": naming.MANAGER}, body
        )

    async def create(self, body: Mapping[str, Any]) -> Body:
        """Creates an object that is never changed again, such as an Event."""
        target = self._path(body["kind"], body["metadata"]["namespace"])
        return await self._transport.json(
            "create", body["kind"], target, {"fieldManager": naming.MANAGER}, body
        )
