"""Requests to the API server: JSON there and back, errors by status, each call told of.

`Cluster` is made of it. The `kubernetes` package's asyncio client does log-in, TLS and transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client

from model_operator.clients.fence import Fence
from model_operator.errors import ApiError, ApiUnreachable, Conflict, Gone, NotFound, NotLeading

Body = dict[str, Any]
CallObserver = Callable[[str, str, str, float], None]
"""Hears of each call: its verb, kind, code (`unreachable` where there was no answer), seconds."""

REQUEST_TIMEOUT_SECONDS = 10
JSON = "application/json"
_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "apply": "PATCH",
    "patch": "PATCH",
    "delete": "DELETE",
}
_ERRORS: Mapping[int, type[ApiError]] = {404: NotFound, 409: Conflict, 410: Gone}


class Transport:
    """One connection pool to one API server; with a fence, nothing is written that it forbids."""

    def __init__(
        self,
        api_client: client.ApiClient,
        observe: CallObserver | None,
        fence: Fence | None = None,
    ) -> None:
        self._client = api_client
        self._observe = observe
        self._fence = fence

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def json(
        self,
        verb: str,
        kind: str,
        target: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Body:
        """The object that is answered."""
        content = await self.read(verb, kind, target, query or {}, body, content_type)
        return json_object(content, f"{_METHODS[verb]} {target}")

    async def read(
        self,
        verb: str,
        kind: str,
        target: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        at_most: int | None = None,
    ) -> bytes:
        """What is answered, as it came; ApiUnreachable where that is more bytes than `at_most`.

        Raises NotLeading where the fence is closed to a write, or closes before it is answered.
        """
        method = _METHODS[verb]
        with self._fenced(method, target) as seconds, self._measured(verb, kind) as call:
            if self._fence and method != "GET":
                # The API server gives up then, too: what it had to put off, it does not do later.
                query = {**query, "timeout": f"{math.ceil(seconds * 1000)}ms"}
            response = await self._request(
                method, target, query, body, content_type, accept, seconds=seconds
            )
            try:
                if at_most is None:
                    content = await response.read()
                else:
                    content = await read_at_most(response, at_most)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ApiUnreachable(f"{method} {target}: {words_of(error)}") from error
            call.code = str(response.status)
        return content

    async def events(
        self,
        kind: str,
        target: str,
        query: Mapping[str, str],
        accept: str,
        silence: float,
        opened: Callable[[], None],
    ) -> AsyncIterator[Body]:
        """The events of a watch; see `Cluster.watch`."""
        limits = aiohttp.ClientTimeout(total=None, sock_read=silence)
        with self._measured("watch", kind) as call:
            response = await self._request("GET", target, query, accept=accept, limits=limits)
            call.code = str(response.status)
        try:
            opened()
            async for line in response.content:
                event = _event(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    code = status.get("code", 500)
                    raise _ERRORS.get(code, ApiError)(code, status.get("message", ""))
                yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiUnreachable(f"the watch of {kind} broke: {words_of(error)}") from error
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        target: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        *,
        limits: aiohttp.ClientTimeout | None = None,
        seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> aiohttp.ClientResponse:
        """The response with its body still to be read; errors by status as typed exceptions."""
        headers = {"Accept": accept, "Content-Type": content_type}
        for setting in (await self._client.configuration.auth_settings()).values():
            headers[setting["key"]] = setting["value"]
        pairs = urlencode({key: value for key, value in query.items() if value})
        url = f"{self._client.configuration.host}{target}" + (f"?{pairs}" if pairs else "")
        limit = limits or aiohttp.ClientTimeout(total=seconds)
        try:
            # A watch has no limit of its own for the beginning of the answer.
            async with asyncio.timeout(seconds):
                answer = await self._client.rest_client.request(
                    method, url, headers=headers, body=body, _request_timeout=limit
                )
                response = cast("aiohttp.ClientResponse", answer.response)
                if response.status < 400:
                    return response
                raise await _error(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{method} {target}: {words_of(error)}") from error

    @contextlib.contextmanager
    def _fenced(self, method: str, target: str) -> Iterator[float]:
        """For how long the answer may take. A write that the fence cuts off ends as NotLeading."""
        fence = self._fence
        if fence is None or method == "GET":
            yield REQUEST_TIMEOUT_SECONDS
            return
        with fence.passing(f"{method} {target}") as left:
            try:
                yield min(REQUEST_TIMEOUT_SECONDS, left)
            except (ApiError, ApiUnreachable) as error:
                if fence.seconds_left:
                    raise
                raise NotLeading(f"{method} {target}: the lead was lost meanwhile") from error

    @contextlib.contextmanager
    def _measured(self, verb: str, kind: str) -> Iterator[_Call]:
        """Tells the observer of a call; one that was given up (cancelled) is not told of."""
        call, started = _Call(), time.monotonic()
        try:
            yield call
        except ApiError as error:
            call.code = str(error.status)
            raise
        except ApiUnreachable:
            call.code = "unreachable"
            raise
        finally:
            if self._observe is not None and call.code:
                self._observe(verb, kind, call.code, time.monotonic() - started)


@dataclass
class _Call:
    code: str = ""


def last_check(fence: Fence) -> aiohttp.TraceConfig:
    """Asks the fence once more as a request's first bytes go to its connection.

    Until then it may have waited for one, or the process was stopped. Headers go with the body,
    and every write has one.
    """

    async def check(
        _session: aiohttp.ClientSession,
        _context: object,
        chunk: aiohttp.TraceRequestChunkSentParams,
    ) -> None:
        fence.check(f"{chunk.method} {chunk.url.path}")

    config = aiohttp.TraceConfig()
    config.on_request_chunk_sent.append(check)
    return config


def json_object(content: bytes, what: str) -> Body:
    """The JSON object that an answer holds."""
    try:
        body = json.loads(content)
    except ValueError as error:
        raise ApiUnreachable(f"{what}: the answer is not JSON: {words_of(error)}") from error
    if not isinstance(body, dict):
        raise ApiUnreachable(f"{what}: the answer is not an object")
    return body


def _event(line: bytes) -> Body:
    """One line of a watch. Raises ValueError when it is cut off or not an event."""
    event = json.loads(line)
    if not isinstance(event, dict) or not {"type", "object"} <= event.keys():
        raise ValueError("a line is not an event")
    return event


async def read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body. Raises aiohttp.ClientPayloadError when it is longer than `limit` bytes."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        content += chunk
        if len(content) > limit:
            response.close()
            raise aiohttp.ClientPayloadError(f"the answer is longer than {limit} bytes")
    return bytes(content)


async def _error(response: aiohttp.ClientResponse) -> ApiError:
    text = await response.text()
    try:
        message = json.loads(text).get("message", text)
    except (ValueError, AttributeError):
        message = text[:500]
    wait = response.headers.get("Retry-After", "")
    kind = _ERRORS.get(response.status, ApiError)
    return kind(response.status, message, retry_after=float(wait) if wait.isdigit() else None)


def words_of(error: Exception) -> str:
    """What an error says. Never its repr: aiohttp's shows the request's headers, the token too."""
    if isinstance(error, aiohttp.ClientHttpProxyError):  # whose words have the proxy's password
        return f"the proxy on the way answers with status {error.status}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
