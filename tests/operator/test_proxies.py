"""The proxy on the way to MLflow and to Prometheus, which NO_PROXY may except."""

from __future__ import annotations

import base64
import json

import pytest
from aiohttp import web

from model_operator.clients.mlflow import MlflowClient
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.proxies import proxy_of
from model_operator.errors import MlflowUnreachable
from tests.operator.loopback import serving

ELSEWHERE = "http://registry.invalid:5000"
"""Reached by nobody but a proxy."""
pytestmark = pytest.mark.usefixtures("without_proxies")


def test_a_proxy_may_be_named_without_a_scheme(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")
    assert proxy_of(ELSEWHERE) == "http://proxy:3128"


def test_no_proxy_is_on_the_way_to_what_no_proxy_excepts(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert proxy_of(ELSEWHERE) is None


async def test_the_registry_is_asked_through_the_proxy(monkeypatch):
    asked: list[tuple[str, str | None]] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        asked.append((request.raw_path, request.headers.get("Proxy-Authorization")))
        return web.json_response({"registered_model": {"name": "cats-dogs"}})

    async with serving(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url.replace("://", "://me:secret@"))
        answered = await MlflowClient(ELSEWHERE).get("registered-models/get", {"name": "cats-dogs"})
    assert answered["registered_model"]["name"] == "cats-dogs"
    path = "/api/2.0/mlflow/registered-models/get?name=cats-dogs"
    assert asked == [(f"{ELSEWHERE}{path}", f"Basic {base64.b64encode(b'me:secret').decode()}")]


async def test_a_proxy_that_refuses_is_told_of_without_its_password(monkeypatch):
    async def proxy(request: web.BaseRequest) -> web.Response:
        return web.Response(status=407)

    async with serving(proxy) as url:
        monkeypatch.setenv("HTTPS_PROXY", url.replace("://", "://me:secret@"))
        with pytest.raises(MlflowUnreachable) as raised:
            await MlflowClient("https://registry.invalid").get("registered-models/get", {})
    assert "407" in str(raised.value)
    assert "secret" not in str(raised.value)


async def test_prometheus_is_asked_through_the_proxy(monkeypatch):
    asked: list[str] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        result = {"resultType": "scalar", "result": [0, "0.25"]}
        return web.Response(text=json.dumps({"status": "success", "data": result}))

    async with serving(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        prometheus = Prometheus("http://prometheus.invalid:9090/base", timeout=20)
        try:
            assert (await prometheus.query("x")).value == 0.25
        finally:
            await prometheus.close()
    assert asked == ["http://prometheus.invalid:9090/base/api/v1/query"]
