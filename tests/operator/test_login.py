"""Logging in: which proxy is on the way to the API server, and that it is looked up once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from aiohttp import web

from model_operator.clients import login
from model_operator.clients.cluster import Cluster, logged_in
from tests.operator.loopback import serving

NOBODY = "http://127.0.0.1:1"
pytestmark = pytest.mark.usefixtures("without_proxies")


def kubeconfig(folder: Path, server: str, **cluster: str) -> str:
    """A kubeconfig's path."""
    file = folder / "kubeconfig"
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {}}],
    }
    file.write_text(yaml.safe_dump(content))
    return str(file)


async def cluster_by(path: str) -> Cluster:
    return logged_in(await login.log_in(path))


async def not_found(request: web.BaseRequest) -> web.Response:
    return web.json_response({"kind": "Status", "message": request.raw_path}, status=404)


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.2"}, "http://proxy:3128"),
    ],
)
async def test_the_proxy_is_that_of_the_environment_unless_it_excepts_the_server(
    environment, proxy, tmp_path, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configuration = await login.log_in(kubeconfig(tmp_path, "https://10.0.0.1:6443"))
    assert configuration.proxy == proxy


async def test_a_proxy_that_the_kubeconfig_names_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://another:3128")
    path = kubeconfig(tmp_path, "https://10.0.0.1:6443", **{"proxy-url": "http://proxy:3128"})
    assert (await login.log_in(path)).proxy == "http://proxy:3128"


async def test_requests_go_through_the_proxy_that_the_environment_named(tmp_path, monkeypatch):
    asked: list[str] = []

    async def proxy(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        return await not_found(request)

    async with serving(proxy) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        cluster = await cluster_by(kubeconfig(tmp_path, NOBODY))
        try:
            assert await cluster.get("Service", "vision", "cats-dogs") is None
        finally:
            await cluster.close()
    assert asked == [f"{NOBODY}/api/v1/namespaces/vision/services/cats-dogs"]


async def test_no_request_looks_for_a_proxy_again(tmp_path, monkeypatch):
    async with serving(not_found) as url:
        cluster = await cluster_by(kubeconfig(tmp_path, url))
        monkeypatch.setenv("HTTP_PROXY", NOBODY)
        try:
            assert await cluster.get("Service", "vision", "cats-dogs") is None
        finally:
            await cluster.close()
