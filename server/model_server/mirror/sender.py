"""The stable side of the mirror: after a request was answered, a copy goes to the shadow.

`serve` runs one Mirror next to the server; `rest.dataplane` offers it each answered request. A copy
is dropped wherever it would have to wait for room, and no failure of the target is seen by any
client: nothing here is awaited by a request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import structlog
from yarl import URL

from model_server.metrics import Metrics
from model_server.mirror import wire
from model_server.mirror.config import ABSENT, MirrorConfig, Reading, look
from model_server.mirror.copies import Copies, Copy
from model_server.mirror.quiet import Quiet
from model_server.mirror.share import Share
from model_server.settings import Settings

_READ_SECONDS = 1.0
_CONNECTION_SECONDS = 10.0
"""No copy is sent on an older connection: a Service that has moved is followed."""
_PAUSE_SECONDS = 0.5
"""A sender that had no good answer leaves the target, and this server's CPU, alone for this."""
_GIVE_WAY_SECONDS = 0.1
"""A server that is never quiet sends all the same, a copy of each sender in so long."""
_COMPLAIN_SECONDS = 60.0
_CHUNK_BYTES = 65536
_ANSWER_BYTES = 65536
"""An answer is only read for its connection to be used again; a longer one is not worth it."""
_NOT_OURS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

log = structlog.get_logger()


class Mirror:
    """Copies a share of the answered requests to the target that its configuration names."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._path = settings.mirror_config
        self._revision = settings.revision
        self._senders = settings.mirror_concurrency
        self._timeout_seconds = settings.mirror_timeout_seconds
        self._metrics = metrics
        self._copies = Copies(
            max_count=settings.mirror_queue_size, max_bytes=settings.mirror_queue_bytes
        )
        self._seen = ABSENT
        self._config: MirrorConfig | None = None
        self._share = Share(0)
        self.quiet = Quiet()
        """For whoever predicts to break."""
        self._complained_at = float("-inf")
        metrics.mirror_waiting.set_function(lambda: self._copies.waiting)
        metrics.mirror_bytes.set_function(lambda: self._copies.held_bytes)

    @property
    def active(self) -> bool:
        """Whether this server is to mirror; then `offer` takes its configured share."""
        return self._config is not None

    def offer(self, copy: Copy) -> None:
        """Queue a copy of a request that was answered, or drop it; returns at once."""
        if self._config is not None and self._share.take() and not self._copies.put(copy):
            self._count("dropped")

    async def run(self) -> None:
        """Follow the configuration and send, until cancelled; what then waits is dropped."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                for _ in range(self._senders):
                    group.create_task(self._send_all())
        finally:
            self._configure(None)
            self._metrics.mirror_config(self._seen.content_hash, "ended")

    async def _follow(self) -> None:
        while True:
            found = await asyncio.to_thread(look, self._path)
            if found != self._seen:
                self._seen = found
                self._take(found)
            await asyncio.sleep(_READ_SECONDS)

    def _take(self, found: Reading) -> None:
        """Follow what was just read, and say so once."""
        state = found.state(self._revision)
        if found.problem:
            log.error(
                "the mirror's configuration is refused, so nothing is mirrored",
                path=str(self._path),
                reason=found.problem,
            )
        else:
            shown = found.config.model_dump(by_alias=True) if found.config else {}
            log.info("the mirror's configuration has changed", state=state, **shown)
        self._configure(found.config if state == "active" else None)
        self._metrics.mirror_config(found.content_hash, state)

    def _configure(self, config: MirrorConfig | None) -> None:
        self._config = config
        self._share = Share(config.percent if config else 0)
        self._count("dropped", self._copies.clear())

    async def _send_all(self) -> None:
        clock = asyncio.get_running_loop().time
        copy = await self._copies.get()
        while True:
            async with self._session() as session:
                young_until = clock() + _CONNECTION_SECONDS
                while True:
                    await self.quiet.wait(_GIVE_WAY_SECONDS)
                    if not await self._send(session, copy):
                        await asyncio.sleep(_PAUSE_SECONDS)
                    copy = await self._copies.get()
                    if clock() >= young_until:
                        break

    def _session(self) -> aiohttp.ClientSession:
        """Return a session of one connection, with no cookies, proxies or retries."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1, keepalive_timeout=_CONNECTION_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # ours is around all of it, the clean-up included
            skip_auto_headers=_NOT_OURS,
            auto_decompress=False,
        )

    async def _send(self, session: aiohttp.ClientSession, copy: Copy) -> bool:
        """Send one copy and count what became of it; False where the target is unwell."""
        config, outcome, reason = self._config, "failed", "cut off"
        try:
            if config is None:
                outcome = "dropped"
                return True
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._post(session, config, copy)
            outcome = "sent" if status < 300 else "refused"
            reason = f"status {status}"
        except wire.PredictionsTooLong:
            outcome = "dropped"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        finally:
            self._copies.release(copy)
            self._count(outcome)
        if outcome in ("failed", "refused"):
            self._complain(reason)
        return outcome != "failed" and not reason.startswith("status 5")

    async def _post(self, session: aiohttp.ClientSession, config: MirrorConfig, copy: Copy) -> int:
        headers = {
            wire.REVISION_HEADER: config.source_revision,
            wire.PREDICTIONS_HEADER: wire.encode(copy.labels),
            "Content-Length": str(len(copy.body)),
            "X-Request-ID": copy.request_id,
            **(copy.trace.headers() if copy.trace else {}),
        }
        if copy.content_type is not None:
            headers["Content-Type"] = copy.content_type
        if copy.tensor_header_length is not None:
            headers[wire.TENSOR_HEADER] = copy.tensor_header_length
        async with session.post(
            URL(f"{config.target}{copy.path}", encoded=True),
            data=_chunks(copy.body),
            headers=headers,
            allow_redirects=False,
        ) as response:
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > _ANSWER_BYTES:
                    break
            return response.status

    def _count(self, outcome: str, number: int = 1) -> None:
        self._metrics.mirrored.labels(outcome).inc(number)

    def _complain(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= _COMPLAIN_SECONDS:
            self._complained_at = now
            log.warning("the mirror's target does not take copies", reason=reason)


async def _chunks(body: bytes) -> AsyncIterator[memoryview]:
    """Yield the body without copying it, with turns for others in between."""
    view = memoryview(body)
    for start in range(0, len(view), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]
