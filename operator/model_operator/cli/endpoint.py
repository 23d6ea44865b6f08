"""Where a model answers, and one request to it: what `smoke` and `load` are pointed at."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from model_operator.cli.errors import UsageError


@dataclass(frozen=True)
class Endpoint:
    """An address, and what it takes to be let in there."""

    url: str
    """Without a slash at its end; paths such as /predict follow it."""
    words: str
    """How it is reached, for people."""
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    """For https: whom to trust, and who to be."""
    http_proxy: str | None = None
    """What the way to the API server leads through."""

    @classmethod
    def at(cls, url: str) -> Endpoint:
        """The endpoint that `--url` names.

        Raises:
            UsageError: it is not an address of HTTP.

        """
        try:
            parts = urlsplit(url)
            _ = parts.port  # not a number: ValueError
        except ValueError as error:
            raise UsageError(f"--url {url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--url {url}: write http://HOST:PORT or https://HOST")
        base = url.rstrip("/").removesuffix("/predict")
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        return cls(base, f"at {base}", tls=tls)


@dataclass(frozen=True)
class Answer:
    """What was answered to one request."""

    status: int
    body: bytes


async def request(
    client: aiohttp.ClientSession,
    endpoint: Endpoint,
    path: str,
    *,
    seconds: float,
    picture: bytes | None = None,
) -> Answer:
    """Asks once: GET, or POST with a PNG picture.

    Raises:
        aiohttp.ClientError, TimeoutError: there was no answer.

    """
    method = "POST" if picture is not None else "GET"
    more = {"Content-Type": "image/png"} if picture is not None else {}
    async with (
        asyncio.timeout(seconds),
        client.request(
            method,
            f"{endpoint.url}{path}",
            data=picture,
            headers={**endpoint.headers, **more},
            ssl=endpoint.tls or True,
            proxy=endpoint.http_proxy,
            allow_redirects=False,
        ) as response,
    ):
        return Answer(response.status, await response.read())
