"""kopf: it logs in and watches ModelDeployments, and is started again whenever it ends or is deaf.

kopf runs in a thread and an event loop of its own. There it may end, hang, or cancel every task
that it does not know (it does so when it ends), and the workers go on all the same. Its one
handler tells a `View`; nothing of kopf's is written into a resource (no annotations, no
finalizers, no Events). docs/decisions/0004-kopf-is-supervised.md says why. `main` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, cast

import kopf
import structlog

from model_operator import api, naming
from model_operator.clients import cluster as cluster_client
from model_operator.clients import login
from model_operator.clients.transport import REQUEST_TIMEOUT_SECONDS
from model_operator.errors import OperatorError

LONGEST_PAUSE_SECONDS = 4.0
STEADY_SECONDS = 60.0
"""A run that was longer makes the next pause the first again."""
STOP_SECONDS = 10.0
"""How long kopf may take to end when it is told to."""
RECONNECT_SECONDS = 0.5
"""Between two watches of kopf's. Where each ends with an error at once, kopf's own 0.1 s would make
twenty calls a second of it; an edit that falls into the pause waits no longer than that."""
CLOSE_SECONDS = 0.1
"""What aiohttp's connections need of a loop after their session was closed."""

Tell = Callable[[str | None, Mapping[str, Any]], None]
"""Called with each event's type (None while kopf lists) and the metadata of its object."""
Run = Callable[[asyncio.Event], Awaitable[None]]
"""One run of kopf, until the event is set."""

log = structlog.get_logger(__name__)


class Stuck(OperatorError):
    """kopf does not end: only a new process helps."""


class EndlessPauses:
    """kopf's pauses between attempts. It would give up after the last, so there is none."""

    def __iter__(self) -> Iterator[float]:
        """Begins with the first pause again, for each request."""
        return itertools.chain((0.25, 0.5, 1.0, 2.0), itertools.repeat(LONGEST_PAUSE_SECONDS))


class Frame:
    """Keeps kopf running."""

    def __init__(self, run: Run, restarted: Callable[[], None]) -> None:
        self._run = run
        self._restarted = restarted
        self._deaf = asyncio.Event()
        self._failures = 0

    def distrust(self) -> None:
        """Starts kopf again: its watch leaves things out."""
        self._deaf.set()

    async def run(self) -> None:
        """Runs kopf until this is cancelled. Raises Stuck when it does not end when told to."""
        while True:
            started = time.monotonic()
            self._deaf.clear()
            session = _Session(self._run)
            try:
                await _first(session.ended.wait(), self._deaf.wait())
            finally:
                await session.stop()
            self._failures = (
                self._failures + 1 if time.monotonic() - started < STEADY_SECONDS else 1
            )
            pause = min(LONGEST_PAUSE_SECONDS, 2.0**self._failures / 8)
            log.warning("kopf is started again", why=session.last_words, pause=pause)
            self._restarted()
            await asyncio.sleep(pause)


class _Session:
    """One run of kopf in its own thread, seen from the process's event loop."""

    def __init__(self, run: Run) -> None:
        self.ended = asyncio.Event()
        self.last_words = "it was deaf"
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._stop: Callable[[], object] | None = None
        self._told_to_stop = False
        threading.Thread(target=self._main, name="kopf", daemon=True).start()

    async def stop(self) -> None:
        """Ends it and waits for that."""
        self._told_to_stop = True
        if self._stop is not None:
            self._stop()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.ended.wait()
        except TimeoutError as error:
            raise Stuck(f"kopf has not ended within {STOP_SECONDS:.0f} s") from error

    def _main(self) -> None:
        """The thread."""
        words = "it ended"
        try:
            asyncio.run(self._supervised())
        except Exception as error:  # noqa: BLE001 - whatever ends it, it is started again
            words = f"{type(error).__name__}: {error}"
        with contextlib.suppress(RuntimeError):  # the process's loop is gone: so is who asks
            self._loop.call_soon_threadsafe(self._note_end, words)

    async def _supervised(self) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def from_outside() -> None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(stop.set)

        self._stop = from_outside
        if not self._told_to_stop:
            try:
                await self._run(stop)
            finally:
                await asyncio.sleep(CLOSE_SECONDS)

    def _note_end(self, words: str) -> None:
        if not self._told_to_stop:
            self.last_words = words
        self.ended.set()


async def _first(*waits: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def kopf_run(tell: Tell, namespaces: tuple[str, ...], kubeconfig: str | None = None) -> Run:
    """Runs of kopf that tell this process's event loop what they watch."""
    loop = asyncio.get_running_loop()

    def tell_from_thread(change: str | None, metadata: Mapping[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the process ends
            loop.call_soon_threadsafe(tell, change, metadata)

    async def run(stop: asyncio.Event) -> None:
        await kopf.operator(
            registry=handlers(tell_from_thread, stop, kubeconfig),
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            # Only peering would need one; to make one up, kopf asks for a user's name, and the
            # container's user has none.
            identity=cast("Any", naming.MANAGER),
            stop_flag=stop,
        )

    return run


def handlers(
    tell: Tell, stop: asyncio.Event, kubeconfig: str | None = None
) -> kopf.OperatorRegistry:
    """Kopf's registry: settings that silence it and never give up, log-in, one raw handler."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.process.ultimate_exiting_timeout = None  # it would kill the whole process
        settings.networking.request_timeout = REQUEST_TIMEOUT_SECONDS
        settings.networking.connect_timeout = REQUEST_TIMEOUT_SECONDS
        settings.networking.error_backoffs = EndlessPauses()
        settings.watching.server_timeout = cluster_client.WATCH_SECONDS
        settings.watching.inactivity_timeout = cluster_client.SILENCE_SECONDS
        settings.watching.chunk_size = 100  # whole bodies: more at a time would cost memory
        settings.watching.reconnect_backoff = RECONNECT_SECONDS
        # Each object has a worker while it has events; the handler takes no time.
        settings.queueing.worker_limit = 64
        settings.queueing.idle_timeout = 0.05
        settings.queueing.exit_timeout = 0.5

    @kopf.on.cleanup(registry=registry)
    async def ends(**_: Any) -> None:
        stop.set()  # when it ends by itself, it waits five seconds for its own waiter for this

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        # As the client does it: by address, not by a name that DNS must resolve.
        configuration = await login.log_in(kubeconfig)
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            scheme="Bearer",
            token=await login.bearer_token(configuration),
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            proxy_url=configuration.proxy,
        )

    @kopf.on.event(api.GROUP, api.VERSION, api.PLURAL, registry=registry)
    async def note(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        tell(type, {field: body.metadata.get(field) for field in ("uid", *_KEPT)})

    return registry


_KEPT = ("namespace", "name", "resourceVersion")


class NotOfASignal(logging.Filter):
    """Drops kopf's warning that it cannot listen to signals in a thread: `main` listens."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return not record.getMessage().startswith("OS signals are ignored")
