"""A reverse proxy between one operator and the API server: records every call, and injects faults.

    async with Proxy(admin, namespace="test-1", account=role.ACCOUNT) as proxy:
        proxy.write_kubeconfig(path)      # for the operator; it needs no credentials of its own
        proxy.add(Death(WriteName("patch services cats-dogs", 1), When.AFTER))

It speaks HTTP/1.1 on the loopback, and to the API server as the operator's service account, so
the operator may do exactly what the chart's role lets it. With a namespace, what the operator
asks of all namespaces is asked of that one: many operators can run on one control plane.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.fault import faults
from tests.fault.admin import Admin
from tests.fault.faults import Fault, When
from tests.fault.paths import Request, parse
from tests.fault.pod_answers import PodAnswers
from tests.fault.record import Record

Body = dict[str, Any]
F = TypeVar("F")

_HOP = frozenset(
    {
        *("connection", "content-length", "host", "transfer-encoding", "authorization"),
        "accept-encoding",  # what is read here is read as it is
    }
)
_UPSTREAM_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)


class Witness(Protocol):
    """Sees what goes through: the invariants."""

    async def before(self, request: Request, body: Body | None) -> None:
        """A write is about to be sent."""
        ...

    def answered(self, request: Request, content: bytes) -> None:
        """A call was answered well; `content` is what the API server said."""
        ...


@dataclass
class Proxy:
    """One listener for one operator; `life` counts the operator's processes."""

    admin: Admin
    account: str | None = None
    """`system:serviceaccount:NAMESPACE:NAME`; None: as the administrator."""
    namespace: str | None = None
    witness: Witness | None = None
    kill: Callable[[], Awaitable[None]] | None = None
    """Ends the operator at once and returns when it is dead."""
    pods: PodAnswers | None = None
    """Answers in the pods' place what is asked of them through the API server."""
    record: Record = field(default_factory=Record)
    injected: list[Fault] = field(default_factory=list)
    life: int = 0
    url: str = ""
    _alive: bool = True
    _interrupt: asyncio.Event = field(default_factory=asyncio.Event)
    """Set and replaced when the faults change, so that open streams look at them again."""

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.clear()
        await self._runner.cleanup()

    def write_kubeconfig(self, path: Path) -> None:
        """A kubeconfig that leads here."""
        body = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
            "current-context": "proxy",
        }
        path.write_text(json.dumps(body))

    def add(self, fault: Fault) -> None:
        """From now on."""
        self.injected.append(fault)
        self._wake()

    def remove(self, fault: Fault) -> None:
        """From now on no more; what a Silence holds breaks off."""
        if isinstance(fault, faults.Silence):
            fault.ended.set()
        self.injected.remove(fault)
        self._wake()

    def clear(self) -> None:
        """Removes every fault."""
        for fault in list(self.injected):
            self.remove(fault)

    def reborn(self) -> None:
        """A new process of the operator takes over."""
        self.life += 1
        self._alive = True

    def _wake(self) -> None:
        self._interrupt.set()
        self._interrupt = asyncio.Event()

    # --- one call ----------------------------------------------------------------------------

    async def _handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        life, content = self.life, await incoming.read()
        request = parse(incoming.method, incoming.path, watch="watch" in incoming.query)
        if self.namespace:
            request = request.within(self.namespace)
        body = json.loads(content) if content and request.writes else None
        if not self._alive:
            return self._hang_up(incoming)
        death = self._death(request)
        if death and death.when is When.BEFORE:
            return await self._die(incoming, death, life, request, content, body, code=0)
        if (instead := await self._instead(incoming, request)) is not None:
            code = instead.status if isinstance(instead, web.Response) else 0
            self.record.add(life, request, code, content, body)
            return instead
        if request.writes and self.witness:
            await self.witness.before(request, body)
        async with self._forward(incoming, request, content) as answer:
            if request.verb == "watch" and answer.status == 200:
                self.record.add(life, request, answer.status, content, body)
                return await self._stream(incoming, request, answer)
            said = await answer.read()
            if death and answer.status < 300:
                return await self._die(incoming, death, life, request, content, body, answer.status)
            self.record.add(life, request, answer.status, content, body)
            if self.witness and answer.status < 300:
                self.witness.answered(request, said)
            return web.Response(body=said, status=answer.status, headers=_passed_on(answer.headers))

    @contextlib.asynccontextmanager
    async def _forward(
        self, incoming: web.BaseRequest, request: Request, content: bytes
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers: CIMultiDict[str] = CIMultiDict(_passed_on(incoming.headers))
        headers["Accept-Encoding"] = "identity"
        if self.account:
            _, _, namespace, _ = self.account.split(":")
            headers.add("Impersonate-User", self.account)
            for group in ("authenticated", "serviceaccounts", f"serviceaccounts:{namespace}"):
                headers.add("Impersonate-Group", f"system:{group}")
        path = request.path if request.plural else incoming.path
        url = f"{self.admin.url}{path}"
        async with self.admin.session.request(
            incoming.method,
            url,
            params=incoming.query,
            data=content or None,
            headers=headers,
            timeout=_UPSTREAM_TIMEOUT,
        ) as answer:
            yield answer

    # --- faults ------------------------------------------------------------------------------

    def _each(self, kind: type[F]) -> list[F]:
        return [fault for fault in self.injected if isinstance(fault, kind)]

    def _death(self, request: Request) -> faults.Death | None:
        deaths = self._each(faults.Death)
        return next((d for d in deaths if d.strikes(request, self.record)), None)

    async def _die(
        self,
        incoming: web.BaseRequest,
        death: faults.Death,
        life: int,
        request: Request,
        content: bytes,
        body: Body | None,
        code: int,
    ) -> web.StreamResponse:
        """Kills first: what was committed is noted, and nothing of it is heard."""
        assert self.kill is not None, "a death needs something to kill"
        self._alive = False
        self.record.add(life, request, code, content, body)
        # The connection breaks with the process, and would cancel this handler.
        await asyncio.shield(self._kill_and_tell(death))
        return self._hang_up(incoming)

    async def _kill_and_tell(self, death: faults.Death) -> None:
        assert self.kill is not None
        await self.kill()
        death.happened.set()

    async def _instead(
        self, incoming: web.BaseRequest, request: Request
    ) -> web.StreamResponse | None:
        """What a fault answers instead of the API server, or a pod; None: nobody does."""
        for silence in self._each(faults.Silence):
            if silence.matches(request):
                await silence.ended.wait()
                return self._hang_up(incoming)
        for answer in self._each(faults.Answer):
            if answer.matches(request):
                return _refusal(answer)
        for old in self._each(faults.OldLists):
            if request.verb == "watch":
                old.watch_begins(request)
            if (content := old.answer(request)) is not None:
                return web.Response(body=content, content_type="application/json")
        if self.pods and request.resource == "pods/proxy":
            name, _, port = request.name.partition(":")
            code, text = await self.pods.answer(request.namespace, name, int(port), request.tail)
            return web.Response(text=text, status=code)
        return None

    def _hang_up(self, incoming: web.BaseRequest) -> web.StreamResponse:
        if incoming.transport is not None:
            incoming.transport.abort()
        return web.StreamResponse()

    # --- watches -----------------------------------------------------------------------------

    async def _stream(
        self, incoming: web.BaseRequest, request: Request, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Passes a watch on line by line, less what faults swallow."""
        response = web.StreamResponse(headers=_passed_on(answer.headers))
        lines = _lines(answer.content)
        line = asyncio.ensure_future(anext(lines, b""))
        woken = asyncio.ensure_future(self._interrupt.wait())
        try:
            await response.prepare(incoming)
            while True:
                if (error := self._error_event(request)) is not None:
                    await response.write(error)
                    break
                if self._is_muted(request):
                    await asyncio.Event().wait()  # until the operator hangs up
                await asyncio.wait({line, woken}, return_when=asyncio.FIRST_COMPLETED)
                if woken.done():
                    woken = asyncio.ensure_future(self._interrupt.wait())
                    continue  # the faults have changed
                if not line.result():
                    break
                event = json.loads(line.result())
                if not any(f.swallows(request, event) for f in self._each(faults.DropEvents)):
                    await response.write(line.result() + b"\n")
                line = asyncio.ensure_future(anext(lines, b""))
            await response.write_eof()
        except ConnectionError:
            pass  # the operator has hung up, or is dead
        finally:
            line.cancel()
            woken.cancel()
        return response

    def _is_muted(self, request: Request) -> bool:
        """Once it is, a stream stays so: it is not asked again."""
        return any(mute.mutes(request) for mute in self._each(faults.MuteStreams))

    def _error_event(self, request: Request) -> bytes | None:
        for error in self._each(faults.ErrorEvent):
            if error.matches(request):
                status = _status(error.code, "InternalError", "an error in the stream")
                return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        return None


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length, without their ends; a torn last line is dropped."""
    pending = b""
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        async for chunk in content.iter_any():
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                yield line


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}


def _refusal(answer: faults.Answer) -> web.Response:
    status = _status(answer.code, answer.reason, f"injected: {answer.reason}")
    headers = {} if answer.retry_after is None else {"Retry-After": str(answer.retry_after)}
    return web.json_response(status, status=answer.code, headers=headers)


def _status(code: int, reason: str, message: str) -> Body:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
