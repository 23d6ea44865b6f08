"""A small client of MLflow's REST API, for the Registry and the Tracker.

A dozen endpoints are all that the operator needs, and MLflow's own client would add 38 MB to the
process and block its event loop. https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp

from model_operator.clients.fence import Fence
from model_operator.clients.proxies import proxy_of
from model_operator.clients.transport import last_check, read_at_most, words_of
from model_operator.errors import (
    MlflowLoginRefused,
    MlflowRefused,
    MlflowUnreachable,
    NotLeading,
    NotMlflow,
)
from model_operator.settings import Settings

TIMEOUT_SECONDS = 10
ANSWER_MAX_BYTES = 1024 * 1024
"""A version with all its tags is far below."""
DOES_NOT_EXIST = "RESOURCE_DOES_NOT_EXIST"
"""MLflow's code for what it does not have."""
EXISTS = "RESOURCE_ALREADY_EXISTS"
"""MLflow's code for what it has already."""

Body = Mapping[str, Any]


class MlflowClient:
    """One MLflow server.

    Every call returns the JSON object that was answered. Errors, all with one sentence that names
    the address: MlflowUnreachable, NotMlflow, MlflowLoginRefused, MlflowRefused.
    """

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str] | None = None,
        fence: Fence | None = None,
    ) -> None:
        """With a fence nothing is written that it forbids, and no write is waited for longer; such
        a call raises NotLeading.
        """
        self.address = address
        self._headers = dict(headers or {})
        self._fence = fence
        self._proxy = proxy_of(address)

    async def get(self, endpoint: str, query: Mapping[str, str]) -> Body:
        """Asks."""
        return await self._call("GET", endpoint, params=dict(query))

    async def post(self, endpoint: str, body: Body) -> Body:
        """Creates or changes."""
        return await self._call("POST", endpoint, json=dict(body))

    async def delete(self, endpoint: str, body: Body) -> Body:
        """Removes."""
        return await self._call("DELETE", endpoint, json=dict(body))

    async def _call(self, method: str, endpoint: str, **content: Any) -> Body:
        url = f"{self.address.rstrip('/')}/api/2.0/mlflow/{endpoint}"
        writes = method != "GET"
        with self._fenced(f"{method} {endpoint}", writes=writes) as seconds:
            try:
                async with (
                    aiohttp.ClientSession(
                        headers=self._headers,
                        timeout=aiohttp.ClientTimeout(total=seconds),
                        trace_configs=[last_check(self._fence)] if self._fence and writes else None,
                    ) as session,
                    # A redirect could lead to what nobody has allowed, and makes a question of a
                    # write.
                    session.request(
                        method, url, allow_redirects=False, proxy=self._proxy, **content
                    ) as response,
                ):
                    status = response.status
                    answered = _json(await read_at_most(response, ANSWER_MAX_BYTES))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                words = f"the registry at {self.address} cannot be reached: {_words(error)}"
                raise MlflowUnreachable(words) from error
        return self._checked(status, answered)

    @contextlib.contextmanager
    def _fenced(self, what: str, *, writes: bool) -> Iterator[float]:
        """For how long the answer may take. A write that the fence cuts off ends as NotLeading."""
        if self._fence is None or not writes:
            yield TIMEOUT_SECONDS
            return
        with self._fence.passing(what) as left:
            try:
                yield min(TIMEOUT_SECONDS, left)
            except MlflowUnreachable as error:
                if self._fence.seconds_left:
                    raise
                raise NotLeading(f"{what}: the lead was lost meanwhile") from error

    def _checked(self, status: int, body: Body | None) -> Body:
        if 300 <= status < 400:
            words = f"the registry at {self.address} redirects to another address (status {status})"
            raise MlflowUnreachable(f"{words}, which is not followed: name that address")
        if status in (401, 403):
            raise MlflowLoginRefused(self.address, status)
        if status in (400, 404) and body is not None and "error_code" in body:
            raise MlflowRefused(self.address, str(body["error_code"]), str(body.get("message", "")))
        # A proxy in front of the registry has its own 404, and that says nothing of the model.
        if status in (400, 404) or (status < 400 and body is None):
            raise NotMlflow(self.address, status)
        if body is None or not 200 <= status < 300:
            words = f"the registry at {self.address} answers with status {status}"
            raise MlflowUnreachable(words)
        return body


def headers_of(settings: Settings) -> dict[str, str]:
    """The operator's own credentials."""
    if settings.tracking_token:
        return {"Authorization": f"Bearer {settings.tracking_token}"}
    if settings.tracking_username:
        login = f"{settings.tracking_username}:{settings.tracking_password or ''}"
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return {}


def _json(content: bytes) -> Body | None:
    """The object that `content` holds; None when it is anything else, such as a page of HTML."""
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return body if isinstance(body, Mapping) else None


def _words(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else words_of(error)
