"""What a pass reads, from an API server on which others are at work meanwhile."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

from aiohttp import web

from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.registry import MlflowRegistry
from model_operator.observe import observe
from model_operator.observed import Defaults
from model_operator.settings import Settings
from tests.operator.builders import make_model_deployment
from tests.operator.loopback import cluster_of


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
        found = await observe(
            cluster, registry, measurer, reader, defaults, "vision", "cats-dogs", now
        )
        assert found is None
