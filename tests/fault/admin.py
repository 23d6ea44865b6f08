"""The tests' own way to the API server, past the proxy and as an administrator: plain dicts.

It shares nothing with the operator's client, so a fault of that one cannot hide itself.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohappyeyeballs import AddrInfoType
from kubernetes.aio import client, config

from tests.deadlines import within

Body = dict[str, Any]
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT = aiohttp.ClientTimeout(total=60)
FAREWELL_SECONDS = 10.0


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Admin:
    """One connection pool, made by `async with Admin(kubeconfig)`."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.url = ""
        self.session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        configuration = client.Configuration()
        await config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
        self.url = configuration.host
        connector = aiohttp.TCPConnector(ssl=context, limit=0, socket_factory=self._socket)
        self.session = aiohttp.ClientSession(
            connector=connector,
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await within(FAREWELL_SECONDS, self._sockets_are_closed())

    def _socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    async def _sockets_are_closed(self) -> None:
        """TLS takes leave of a broken off stream, and may take longer than its session to close."""
        while any(kept.fileno() >= 0 for kept in self._sockets):  # noqa: ASYNC110 - tells nobody
            await asyncio.sleep(0.001)

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        """The answer's body. Raises Refused."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        async with self.session.request(
            method, f"{self.url}{path}", params=query, data=data, headers=headers, timeout=TIMEOUT
        ) as answer:
            found: Body = json.loads(await answer.read())
            if answer.status >= 400:
                raise Refused(answer.status, str(found.get("message")))
            return found

    async def get(self, path: str) -> Body | None:
        """One object, or None."""
        try:
            return await self.call("GET", path)
        except Refused as refusal:
            if refusal.code == 404:
                return None
            raise

    async def items(self, path: str, selector: str = "") -> list[Body]:
        """The objects of a collection."""
        query = {"labelSelector": selector} if selector else None
        found: list[Body] = (await self.call("GET", path, query=query)).get("items") or []
        return found

    async def raw(self, path: str, selector: str) -> bytes:
        """A list as the API server writes it."""
        query = {"labelSelector": selector} if selector else None
        async with self.session.get(f"{self.url}{path}", params=query, timeout=TIMEOUT) as answer:
            return await answer.read()

    async def apply(self, path: str, body: Mapping[str, Any], manager: str = "test") -> Body:
        """Server-side apply, by force."""
        query = {"fieldManager": manager, "force": "true"}
        return await self.call("PATCH", path, body, query=query, content_type=APPLY)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Body:
        """A merge patch."""
        return await self.call("PATCH", path, body, content_type=MERGE)

    async def path_of_budgets(self, namespace: str) -> str:
        """Where the PodDisruptionBudgets are, in the version that is served."""
        served = [v for v in ("v1", "v1beta1") if await self.get(f"/apis/policy/{v}")]
        return f"/apis/policy/{served[0]}/namespaces/{namespace}/poddisruptionbudgets"

    async def watch(self, path: str, version: str) -> AsyncIterator[Body]:
        """The events of a collection until the server closes the stream."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": "300"}
        limits = aiohttp.ClientTimeout(total=None)
        async with self.session.get(f"{self.url}{path}", params=query, timeout=limits) as answer:
            pending = b""
            async for chunk in answer.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)
