"""The client of the Kubernetes API: on a real API server, and on servers that are not well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from model_operator import api, naming
from model_operator.clients import cluster as cluster_module
from model_operator.clients import transport
from model_operator.clients.cluster import Cluster
from model_operator.errors import ApiError, ApiUnreachable, Conflict, Gone, NotFound
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.loopback import cluster_of

DEADLINE_SECONDS = 30


def service(namespace: str, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
    }


# --- which version of a kind is served --------------------------------------------------------


def serving_only(served: dict[str, list[str]], paths: list[str]):
    """An API server with these kinds by group and version; keeps the paths that it was asked."""

    async def handler(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        if request.path in served:
            resources = [{"kind": kind} for kind in served[request.path]]
            return web.json_response({"kind": "APIResourceList", "resources": resources})
        return web.json_response({"kind": "Status", "message": "not here"}, status=404)

    return handler


GATEWAYS = "/apis/gateway.networking.k8s.io"


@pytest.mark.parametrize(
    ("served", "version"),
    [
        ({"v1": ["Gateway", "HTTPRoute"], "v1beta1": ["HTTPRoute"]}, "v1"),
        ({"v1beta1": ["HTTPRoute"]}, "v1beta1"),
        ({"v1": ["Gateway"], "v1beta1": ["HTTPRoute"]}, "v1beta1"),
        ({"v1": ["Gateway"]}, None),
        ({"v1alpha2": ["HTTPRoute"]}, None),
        ({}, None),
    ],
)
async def test_the_best_version_that_is_served_and_known_is_the_one_that_is_used(served, version):
    paths: list[str] = []
    handler = serving_only({f"{GATEWAYS}/{v}": kinds for v, kinds in served.items()}, paths)
    async with cluster_of(handler) as cluster:
        assert await cluster.served_version("HTTPRoute") == version
        del paths[:]
        assert await cluster.served_version("HTTPRoute") == version
        assert paths == []
        await cluster.get("HTTPRoute", "vision", "cats-dogs")
    used = version or "v1"
    assert paths == [f"{GATEWAYS}/{used}/namespaces/vision/httproutes/cats-dogs"]


@pytest.mark.parametrize(("before", "after"), [(None, "v1"), ("v1beta1", "v1"), ("v1", None)])
async def test_what_is_served_is_not_believed_for_ever(before, after, monkeypatch):
    monkeypatch.setattr(cluster_module, "SERVED_SECONDS", 0)
    monkeypatch.setattr(cluster_module, "NOT_SERVED_SECONDS", 0)
    served = {f"{GATEWAYS}/{before}": ["HTTPRoute"]}
    async with cluster_of(serving_only(served, [])) as cluster:
        assert await cluster.served_version("HTTPRoute") == before
        served.clear()
        served[f"{GATEWAYS}/{after}"] = ["HTTPRoute"]
        assert await cluster.served_version("HTTPRoute") == after


async def test_an_apply_goes_to_the_version_that_the_body_is_of():
    paths: list[str] = []
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "HTTPRoute",
        "metadata": {"name": "cats-dogs", "namespace": "vision"},
    }
    async with cluster_of(serving_only({}, paths)) as cluster:
        with pytest.raises(NotFound):
            await cluster.apply(body)
    assert paths == [f"{GATEWAYS}/v1beta1/namespaces/vision/httproutes/cats-dogs"]


# --- a real API server -----------------------------------------------------------------------


@pytest.mark.api
async def test_a_list_of_several_pages_is_whole_and_its_items_say_what_they_are(
    cluster: Cluster, namespace: str, monkeypatch
):
    monkeypatch.setattr(cluster_module, "PAGE_SIZE", 2)
    names = [f"s-{number}" for number in range(5)]
    for name in names:
        await cluster.apply(service(namespace, name, {"page": "yes"}))
    await cluster.apply(service(namespace, "another"))
    items, version = await cluster.list("Service", namespace, "page=yes")
    assert [item["metadata"]["name"] for item in items] == names
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "Service")}
    assert version


@pytest.mark.api
async def test_what_does_not_exist_is_none_to_get_not_found_to_change_and_gone_to_delete(
    cluster: Cluster, namespace: str
):
    assert await cluster.get("Service", namespace, "nobody") is None
    with pytest.raises(NotFound, match='"nobody" not found'):
        await cluster.scale(namespace, "nobody", 1)
    await cluster.delete("Service", namespace, "nobody", "some-uid")


@pytest.mark.api
async def test_a_body_that_the_api_server_refuses_is_an_error_with_its_status_and_its_words(
    cluster: Cluster, namespace: str
):
    wrong = service(namespace, "wrong")
    wrong["spec"]["ports"][0]["port"] = 0
    with pytest.raises(ApiError, match=r"spec\.ports\[0\]\.port") as raised:
        await cluster.apply(wrong)
    assert raised.value.status == 422


@pytest.mark.api
async def test_a_status_over_a_resource_that_has_changed_is_a_conflict(
    cluster: Cluster, namespace: str, kubectl: Kubectl
):
    body = make_model_deployment().build()
    body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
    kubectl("apply", "-f", "-", stdin=body)
    stale = await cluster.get(api.KIND, namespace, "cats-dogs")
    assert stale
    kubectl("annotate", "md", "cats-dogs", "-n", namespace, "changed=yes")
    with pytest.raises(Conflict):
        await cluster.put_status({**stale, "status": {"message": "stale"}})
    fresh = await cluster.get(api.KIND, namespace, "cats-dogs")
    assert fresh
    assert "status" not in fresh
    written = await cluster.put_status({**fresh, "status": {"message": "fresh"}})
    assert written["status"]["message"] == "fresh"


@pytest.mark.api
async def test_a_delete_by_uid_takes_what_was_seen_and_not_what_was_made_anew(
    cluster: Cluster, namespace: str
):
    seen = (await cluster.apply(service(namespace, "s")))["metadata"]["uid"]
    await cluster.delete("Service", namespace, "s", seen)
    anew = (await cluster.apply(service(namespace, "s")))["metadata"]["uid"]
    with pytest.raises(Conflict):
        await cluster.delete("Service", namespace, "s", seen)
    left = await cluster.get("Service", namespace, "s")
    assert left
    assert left["metadata"]["uid"] == anew


def deployment(namespace: str, name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "c", "image": "example/nothing:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def replicas_of(cluster: Cluster, namespace: str, name: str) -> int:
    body = await cluster.get("Deployment", namespace, name)
    assert body
    replicas: int = body["spec"]["replicas"]
    return replicas


@pytest.mark.api
async def test_a_deployment_is_scaled_only_while_it_is_the_one_that_was_seen(
    cluster: Cluster, namespace: str
):
    seen = (await cluster.apply(deployment(namespace, "d")))["metadata"]
    with pytest.raises(Conflict):
        await cluster.scale(namespace, "d", 2, uid="a predecessor's")
    assert await replicas_of(cluster, namespace, "d") == 1
    await cluster.scale(namespace, "d", 3, uid=seen["uid"])
    assert await replicas_of(cluster, namespace, "d") == 3
    with pytest.raises(Conflict):
        await cluster.scale(namespace, "d", 4, seen["uid"], seen["resourceVersion"])
    assert await replicas_of(cluster, namespace, "d") == 3
    await cluster.scale(namespace, "d", 5)
    assert await replicas_of(cluster, namespace, "d") == 5


@pytest.mark.api
@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_an_apply_to_another_object_or_state_than_was_seen_is_a_conflict(
    cluster: Cluster, namespace: str, field: str
):
    first = (await cluster.apply(service(namespace, "s")))["metadata"]
    if field == "uid":
        await cluster.delete("Service", namespace, "s", first["uid"])
    present = (await cluster.apply(service(namespace, "s", {"changed": "yes"})))["metadata"]
    stale, fresh = (service(namespace, "s", {"late": "yes"}) for _ in range(2))
    stale["metadata"][field] = first[field]
    with pytest.raises(Conflict):
        await cluster.apply(stale)
    fresh["metadata"][field] = present[field]
    assert (await cluster.apply(fresh))["metadata"]["labels"] == {"late": "yes"}


@pytest.mark.api
async def test_an_apply_that_names_a_uid_makes_nothing_where_nothing_is(
    cluster: Cluster, namespace: str
):
    seen = (await cluster.apply(service(namespace, "s")))["metadata"]["uid"]
    await cluster.delete("Service", namespace, "s", seen)
    late = service(namespace, "s")
    late["metadata"]["uid"] = seen
    with pytest.raises(Conflict):
        await cluster.apply(late)
    assert await cluster.get("Service", namespace, "s") is None


@pytest.mark.api
async def test_a_list_holds_only_what_the_field_selector_matches(cluster: Cluster, namespace: str):
    for name in ("one", "two"):
        await cluster.apply(service(namespace, name))
    items, _ = await cluster.list("Service", namespace, fields="metadata.name=two")
    assert [item["metadata"]["name"] for item in items] == ["two"]


@pytest.mark.api
async def test_a_watch_tells_of_changes_even_of_very_large_objects_until_the_server_closes_it(
    cluster: Cluster, namespace: str, monkeypatch
):
    monkeypatch.setattr(cluster_module, "WATCH_SECONDS", 2)
    _, version = await cluster.list("ControllerRevision", namespace)
    large = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {"name": "large", "namespace": namespace},
        "revision": 1,
        "data": {"text": "x" * 1_000_000},
    }
    uid = (await cluster.apply(large))["metadata"]["uid"]
    await cluster.delete("ControllerRevision", namespace, "large", uid)
    stream = cluster.watch("ControllerRevision", namespace, "", version)
    async with asyncio.timeout(DEADLINE_SECONDS):
        heard = [event async for event in stream if event["type"] != "BOOKMARK"]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in heard] == [
        ("ADDED", "large"),
        ("DELETED", "large"),
    ]


@pytest.mark.api
async def test_a_watch_from_a_version_that_is_no_longer_kept_is_gone(
    cluster: Cluster,
):
    # Nothing of a kind is kept from before its definition was installed.
    with pytest.raises(Gone):
        await anext(cluster.watch(api.KIND, None, "", "1"))


# --- servers that are not well ---------------------------------------------------------------


def status(code: int, message: str = "no") -> str:
    return json.dumps({"kind": "Status", "code": code, "message": message})


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (404, status(404), NotFound),
        (409, status(409), Conflict),
        (410, status(410), Gone),
        (403, status(403), ApiError),
        (503, "<html>no", ApiError),
        (500, '["no"]', ApiError),
    ],
)
async def test_an_error_status_is_a_typed_error_with_the_servers_words(code, body, kind):
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=code, text=body, headers={"Retry-After": "7"})

    async with cluster_of(handler) as cluster:
        with pytest.raises(ApiError, match="no") as raised:
            await cluster.scale("vision", "d", 1)
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.retry_after) == (code, 7)


async def test_a_server_on_whose_port_nobody_listens_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    configuration = client.Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    cluster = Cluster(client.ApiClient(configuration))
    with pytest.raises(ApiUnreachable, match="GET /api/v1/pods"):
        await cluster.list("Pod", None)
    await cluster.close()


@pytest.mark.parametrize("body", ["<html>welcome</html>", "", '{"half":'])
async def test_an_answer_that_is_not_json_is_no_answer(body):
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=body)

    async with cluster_of(handler) as cluster:
        with pytest.raises(ApiUnreachable, match="GET /api/v1/pods"):
            await cluster.list("Pod", None)


async def test_a_request_that_gets_no_answer_is_given_up(monkeypatch):
    monkeypatch.setattr(transport, "REQUEST_TIMEOUT_SECONDS", 0.1)

    async def handler(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with cluster_of(handler) as cluster:
        async with asyncio.timeout(DEADLINE_SECONDS / 2):
            with pytest.raises(ApiUnreachable):
                await cluster.get("Pod", "vision", "p")


@contextlib.asynccontextmanager
async def watch_of(*lines: str, then: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """A watch whose server sends these lines and then is silent, breaks or ends."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line.encode())
        if then == "silent":
            await asyncio.Event().wait()
        if then == "broken" and request.transport:
            request.transport.abort()
        return response

    async with cluster_of(handler) as cluster:
        yield cluster.watch("Pod", None, naming.MANAGED_SELECTOR, "5")


BOOKMARK = json.dumps({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}}) + "\n"


@pytest.mark.parametrize("then", ["silent", "broken"])
async def test_a_watch_that_falls_silent_or_breaks_is_unreachable(then, monkeypatch):
    monkeypatch.setattr(cluster_module, "SILENCE_SECONDS", 0.2)
    async with watch_of(BOOKMARK, then=then) as stream:
        assert (await anext(stream))["type"] == "BOOKMARK"
        async with asyncio.timeout(DEADLINE_SECONDS / 2):
            with pytest.raises(ApiUnreachable, match="the watch of Pod broke"):
                await anext(stream)


@pytest.mark.parametrize("line", ['{"type": "ADDED", "obj', "<html>welcome</html>\n", "[]\n"])
async def test_a_watch_that_sends_half_a_line_or_nonsense_is_unreachable(line):
    async with watch_of(line, then="end") as stream:
        with pytest.raises(ApiUnreachable, match="the watch of Pod broke"):
            await anext(stream)


@pytest.mark.parametrize(("code", "kind"), [(410, Gone), (500, ApiError)])
async def test_an_error_within_a_watch_is_a_typed_error(code, kind):
    error = json.dumps({"type": "ERROR", "object": json.loads(status(code, "too old"))}) + "\n"
    async with watch_of(error, then="silent") as stream:
        with pytest.raises(ApiError, match="too old") as raised:
            await anext(stream)
    assert type(raised.value) is kind


async def test_a_watch_asks_for_bookmarks_and_only_for_what_the_selector_matches():
    asked = {}

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.update(request.query)
        return web.Response()

    async with cluster_of(handler) as cluster:
        assert [e async for e in cluster.watch("Pod", None, naming.MANAGED_SELECTOR, "5")] == []
    assert asked["allowWatchBookmarks"] == "true"
    assert asked["labelSelector"] == naming.MANAGED_SELECTOR
    assert asked["resourceVersion"] == "5"
