"""What a pass reads, from an API server on which others are at work meanwhile."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

from aiohttp import web

from model_operator.clients.children import ChildReader
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.questions import Questions
from model_operator.clients.registry import MlflowRegistry
from model_operator.clients.view import View
from model_operator.observe import Sources, observe
from model_operator.observed import Defaults
from model_operator.settings import Settings
from tests.operator.builders import make_model_deployment
from tests.operator.loopback import cluster_of
from tests.operator.reconciling import follows_nothing


async def test_what_went_with_its_resource_is_not_taken_for_lost():
    """Deleted between two reads: whoever saw the resource first would make its children anew."""
    resource, gone = make_model_deployment().build(), False

    async def answer(request: web.BaseRequest) -> web.Response:
        nonlocal gone
        if "modeldeployments" in request.path:
            body = {"code": 404, "message": "not found"} if gone else resource
            return web.Response(body=json.dumps(body), status=404 if gone else 200)
        gone = True
        if request.path.endswith("/cats-dogs"):
            return web.Response(body=json.dumps({"message": "not found"}), status=404)
        empty = {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
        return web.Response(body=json.dumps(empty))

    registry = MlflowRegistry(Settings(server_image="example/server:1"))
    defaults = Defaults(server_image="example/server:1", tracking_uri=None)
    async with cluster_of(answer) as cluster, contextlib.AsyncExitStack() as stack:
        now = datetime.now(UTC)
        reader = DirectPodReader()
        stack.push_async_callback(reader.close)
        measurer = Measurer(reader, Prometheus(None))
        sources = Sources(
            cluster=cluster,
            children=ChildReader(cluster),
            registry=registry,
            following=follows_nothing(),
            questions=Questions(lambda key: None),
            measurer=measurer,
            pods=reader,
            defaults=defaults,
        )
        found = await observe(sources, "vision", "cats-dogs", now)
        assert found is None


async def test_a_pass_asks_for_the_children_that_the_views_know_and_lists_only_pods():
    asked: list[str] = []
    held = {
        "Deployment": "deployments/cats-dogs-1111111111",
        "ControllerRevision": "controllerrevisions/cats-dogs-1111111111",
        "Service": "services/cats-dogs",
        "ConfigMap": None,
    }

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path.split("/vision/")[-1])
        empty = {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
        found = empty if request.path.endswith("/pods") else {"code": 404, "message": "not found"}
        return web.Response(body=json.dumps(found), status=200 if found is empty else 404)

    async with cluster_of(answer) as cluster, contextlib.AsyncExitStack() as stack:
        views = [View(kind, None, lambda key: None) for kind in held]
        for view in views:
            view.replace({})
            if name := held[view.kind]:
                view.wrote(("vision", "cats-dogs"), name.partition("/")[2])
        pods = DirectPodReader()
        stack.push_async_callback(pods.close)
        sources = Sources(
            cluster=cluster,
            children=ChildReader(cluster, views),
            registry=MlflowRegistry(Settings(server_image="example/server:1")),
            following=follows_nothing(),
            questions=Questions(lambda key: None),
            measurer=Measurer(pods, Prometheus(None)),
            pods=pods,
            defaults=Defaults(server_image="example/server:1", tracking_uri=None),
        )
        assert await observe(sources, "vision", "cats-dogs", datetime.now(UTC)) is None
    named = [name for name in held.values() if name]
    others = ["endpoints/cats-dogs", "services/cats-dogs", "pods", "modeldeployments/cats-dogs"]
    told = sorted(path for path in asked if not path.startswith("/apis"))
    assert told == sorted({*named, *others})


async def test_a_child_that_a_list_has_told_of_is_not_asked_for_again():
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path.split("/vision/")[-1])
        items = [{"metadata": {"name": "cats-dogs"}}]
        body = {"apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
        return web.Response(body=json.dumps(body))

    async with cluster_of(answer) as cluster:
        children = ChildReader(cluster)
        found = await children.read("Service", ("vision", "cats-dogs"), also="cats-dogs")
        assert [body["metadata"]["name"] for body in found] == ["cats-dogs"]
        await children.read("Service", ("vision", "cats-dogs"), also="unlabelled")
    assert asked == ["services", "services", "services/unlabelled"]
