"""Reads one path of one pod: by its address, or through the API server where that is elsewhere.

`measuring` reads `/metrics` with it, and the router's provider what its agents have applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol
from weakref import WeakValueDictionary

import aiohttp
from kubernetes.aio import client

from model_operator.clients.transport import CallObserver, Transport, read_at_most, words_of
from model_operator.clients.view import Key
from model_operator.errors import ApiError, ApiUnreachable, PodUnreachable

MOST_BYTES = 4 * 1024 * 1024
"""Of one answer. A model server's metrics are 80 kB, and 400 bytes more for each class."""
AT_ONCE = 8
"""Pods of one resource that are read at a time: those that hang must not keep others' waiting."""
AT_ONCE_IN_ALL = 32
"""Pods that are read at a time by the whole process, which bounds what their answers take."""

Access = Literal["auto", "direct", "proxy"]


class PodReader(Protocol):
    """One GET of one pod."""

    async def get(
        self,
        key: Key,
        pod_name: str,
        pod_ip: str,
        port: int,
        path: str,
        timeout: float,  # noqa: ASYNC109 - each kind of reading has a patience of its own
    ) -> bytes:
        """The body of a 2xx answer. `key` is the namespace and the name of the resource whose pod
        it is.

        `timeout` is in seconds, from the moment at which it is this reading's turn: a pod that
        hangs must not make others look as if they did.

        Raises:
            PodUnreachable: no such answer in time, or a too large one; the sentence says which.

        """
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


def reader(
    access: Access,
    configuration: client.Configuration,
    observe: CallObserver | None = None,
    environment: Mapping[str, str] = os.environ,
) -> PodReader:
    """The way that a setting asks for; `auto` is by address inside a cluster, else the proxy.

    `configuration` is the API server's, as `login.log_in` gives it. To be called in a loop.
    """
    inside = "KUBERNETES_SERVICE_HOST" in environment
    if access == "direct" or (access == "auto" and inside):
        return DirectPodReader()
    return ProxyPodReader(Transport(client.ApiClient(configuration), observe))


class Slots:
    """Who may read now: each resource has so many readings at a time, and so has the process."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE_IN_ALL)
        self._own: WeakValueDictionary[Key, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def of(self, key: Key) -> AsyncIterator[None]:
        """Waits for a turn of the resource's own first, so that it never waits with more."""
        own = self._own.setdefault(key, asyncio.Semaphore(AT_ONCE))
        async with own, self._all:
            yield


class DirectPodReader:
    """By the pod's own address."""

    def __init__(self) -> None:
        # Another pod may have the address by the next time, so no connection is kept.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )
        self._slots = Slots()

    async def get(
        self,
        key: Key,
        pod_name: str,
        pod_ip: str,
        port: int,
        path: str,
        timeout: float,  # noqa: ASYNC109
    ) -> bytes:
        """See `PodReader`."""
        host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
        where = f"pod {pod_name} ({host}:{port}{path})"
        try:
            async with (
                self._slots.of(key),
                asyncio.timeout(timeout),
                self._session.get(f"http://{host}:{port}{path}", allow_redirects=False) as response,
            ):
                if not 200 <= response.status < 300:
                    raise PodUnreachable(f"{where} answered with status {response.status}")
                return await read_at_most(response, MOST_BYTES)
        except TimeoutError as error:
            raise PodUnreachable(f"{where} did not answer within {timeout:g} s") from error
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise PodUnreachable(f"{where}: {words_of(error)}") from error

    async def close(self) -> None:
        """See `PodReader`."""
        await self._session.close()


class ProxyPodReader:
    """Through the API server's proxy, which needs the permission `get` of `pods/proxy`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._slots = Slots()

    async def get(
        self,
        key: Key,
        pod_name: str,
        pod_ip: str,  # noqa: ARG002 - the other way needs it
        port: int,
        path: str,
        timeout: float,  # noqa: ASYNC109
    ) -> bytes:
        """See `PodReader`."""
        target = f"/api/v1/namespaces/{key[0]}/pods/{pod_name}:{port}/proxy{path}"
        where = f"pod {pod_name} (port {port}, {path}) through the API server"
        try:
            async with self._slots.of(key), asyncio.timeout(timeout):
                return await self._transport.read(
                    "get", "Pod", target, {}, accept="*/*", at_most=MOST_BYTES
                )
        except TimeoutError as error:
            raise PodUnreachable(f"{where} did not answer within {timeout:g} s") from error
        except ApiError as error:
            raise PodUnreachable(
                f"{where} was answered with status {error.status}: {error.message[:200]}"
            ) from error
        except ApiUnreachable as error:
            raise PodUnreachable(f"{where}: {error}") from error

    async def close(self) -> None:
        """See `PodReader`."""
        await self._transport.close()
