"""Asks a Prometheus server for one number. `measuring` calls it for metrics with a query.

Whatever it answers, nothing is raised: a number, or a sentence that says why there is none.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import aiohttp

from model_operator.clients.proxies import proxy_of
from model_operator.clients.transport import read_at_most, words_of
from model_operator.measurement import QueryResult

TIMEOUT_SECONDS = 2.0
MOST_BYTES = 256 * 1024


class Prometheus:
    """The server that CV_FACTORY_PROMETHEUS_URL names, if any."""

    def __init__(self, url: str | None, timeout: float = TIMEOUT_SECONDS) -> None:
        self._url = f"{url.rstrip('/')}/api/v1/query" if url else None
        self._proxy = proxy_of(self._url) if self._url else None
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def query(self, expression: str) -> QueryResult:
        """The one number that an expression has as its result now."""
        if self._url is None:
            return QueryResult(
                missing="no Prometheus is known: set CV_FACTORY_PROMETHEUS_URL of the operator"
            )
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(
                    self._url,
                    data={"query": expression},
                    allow_redirects=False,
                    proxy=self._proxy,
                ) as response,
            ):
                content = await read_at_most(response, MOST_BYTES)
        except TimeoutError:
            return QueryResult(missing=f"Prometheus did not answer within {self._timeout:g} s")
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return QueryResult(missing=f"Prometheus cannot be reached: {words_of(error)}")
        return read_answer(response.status, content)

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()


def read_answer(status: int, content: bytes) -> QueryResult:
    """What an answer of the query API means."""
    try:
        body = json.loads(content)
        if body["status"] != "success":
            refused = f"{body['errorType']}: {body['error']}"[:300]
            return QueryResult(missing=f"Prometheus refused the query: {refused}")
        return _number(body["data"]["resultType"], body["data"]["result"])
    except (ValueError, KeyError, TypeError, IndexError):
        return QueryResult(
            missing=f"what answers with status {status} at CV_FACTORY_PROMETHEUS_URL is not the "
            "query API of a Prometheus"
        )


def _number(kind: str, result: Any) -> QueryResult:
    if kind == "vector" and not result:
        return QueryResult(missing="the query found no series")
    if kind == "vector" and len(result) > 1:
        return QueryResult(
            missing=f"the query's result has {len(result)} series: it must be one number, so "
            "aggregate it, for example with sum()"
        )
    if kind not in ("vector", "scalar"):
        return QueryResult(missing=f"the query's result is a {kind}: it must be one number")
    pair = result[0]["value"] if kind == "vector" else result
    value = float(pair[1])
    if math.isnan(value):
        return QueryResult(missing="the query's result is NaN, as of a ratio without requests")
    return QueryResult(value)
