"""An API server on the loopback, for what a real one refuses to do there: its proxy to Services
leads to no loopback address. It asks for the token of the kubeconfig, as a real one does.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.operator.loopback import serving

TOKEN = "a-token"
MODEL = "/apis/cvfactory.dev/v1alpha1/namespaces/vision/modeldeployments/cats-dogs"
SERVICE = "/api/v1/namespaces/vision/services/cats-dogs"
PROXY = "/api/v1/namespaces/vision/services/cats-dogs:http/proxy"


@contextlib.asynccontextmanager
async def api_server(
    folder: Path, resource: dict[str, Any], service: dict[str, Any], behind: str | None
) -> AsyncIterator[str]:
    """The path of a kubeconfig; the Service's pods answer at `behind`, or there are none."""
    async with aiohttp.ClientSession() as pods:

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return web.json_response({"message": "Unauthorized"}, status=401)
            if request.path in (MODEL, SERVICE):
                return web.json_response(resource if request.path == MODEL else service)
            if not request.path.startswith(PROXY) or behind is None:
                words = f'no endpoints available for service "{request.path}"'
                return web.json_response({"message": words}, status=503)
            path = request.path.removeprefix(PROXY)
            async with pods.request(
                request.method,
                f"{behind}{path}",
                data=await request.read(),
                headers={"Content-Type": request.headers.get("Content-Type", "")},
            ) as answered:
                kind = {"Content-Type": answered.headers["Content-Type"]}
                body = await answered.read()
                return web.Response(status=answered.status, body=body, headers=kind)

        async with serving(answer) as url:
            yield kubeconfig_to(url, folder)


def kubeconfig_to(url: str, folder: Path) -> str:
    """The path of a kubeconfig that leads to an API server."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        "current-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u, namespace: vision}}]\n"
        f"users: [{{name: u, user: {{token: {TOKEN}}}}}]\n"
        f"clusters: [{{name: c, cluster: {{server: '{url}'}}}}]\n"
    )
    return str(kubeconfig)
