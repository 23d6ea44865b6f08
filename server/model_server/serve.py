"""The process: listens, loads the model, serves, and ends without losing a request.

`main` calls `run`. On SIGTERM the process stops being ready at once and answers for
DRAIN_SECONDS more, each answer closing its connection; then it stops listening, finishes what is
in flight and ends. Ctrl-C, or a second signal, skips the drain; one more signal cuts off what is
in flight.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import structlog
import uvicorn
import uvloop

from model_server import termination
from model_server.app import create_app
from model_server.errors import ArtifactRefused, SettingsError, StartupError
from model_server.lifecycle import Lifecycle, Phase
from model_server.loading import load_model
from model_server.log_writer import LogWriter
from model_server.metrics import Metrics
from model_server.mirror.sender import Mirror
from model_server.model import Model
from model_server.rest.connections import TimedProtocol
from model_server.settings import Settings
from model_server.workers import Workers

_BACKLOG = 2048
_SLACK_SECONDS = 2.0
"""At the end, beyond one request's time: a new connection has a second for its first request."""
_SHOWN_LENGTH = 200
_LAST_WORDS_SECONDS = 1.0
"""How long the answers to what the end has cut off may take to be written."""

log = structlog.get_logger()


def run(settings: Settings, writer: LogWriter | None = None) -> int:
    """Serve until told to end, and return the process's exit status.

    `writer` is what the log is written to, where that is not just standard error.

    Raises:
        SettingsError: the address cannot be listened on.

    """
    listener = _listen(settings)
    workers = Workers(queue_size=settings.queue_size, threads=settings.inference_threads)
    loading, metrics = _Loading(settings, workers), Metrics()
    if writer is not None:
        writer.on_drop = metrics.dropped_lines.inc
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(_serve(settings, listener, workers, loading, metrics))
    have_ended = workers.close()
    if workers.pending:
        log.warning("predictions were cut off by the end of the process", count=workers.pending)
    if not (have_ended and loading.outcome.done()):
        if writer is not None:
            writer.drain()
        os._exit(status)  # see `Workers.close`; nobody waits for what they do
    return status


def _listen(settings: Settings) -> socket.socket:
    """Bind before anything slow, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"{settings.host} port {settings.port} cannot be listened on ({error.strerror}): name"
            " another by HOST and PORT, or --host and --port."
        ) from error


async def _serve(
    settings: Settings,
    listener: socket.socket,
    workers: Workers,
    loading: _Loading,
    metrics: Metrics,
) -> int:
    lifecycle = Lifecycle()
    mirror = Mirror(settings, metrics)
    server = _Server(
        uvicorn.Config(
            create_app(settings, lifecycle, workers, metrics, mirror),
            http=TimedProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=math.ceil(settings.request_timeout_seconds + _SLACK_SECONDS),
        )
    )
    mirroring = asyncio.create_task(mirror.run())
    mirroring.add_done_callback(_say_how_mirroring_ended)
    _end_on_signals(server, lifecycle, settings.drain_seconds, mirroring)
    log.info("listening", host=settings.host, port=listener.getsockname()[1])
    loading.start()
    loaded = asyncio.wrap_future(loading.outcome)
    loaded.add_done_callback(lambda future: _take(future, server, lifecycle, metrics))
    await server.serve(sockets=[listener])
    mirroring.cancel()
    await asyncio.wait([mirroring])
    if loaded.done() and isinstance(refusal := loaded.exception(), StartupError):
        return termination.explain(refusal)
    loaded.cancel()  # told to end while it loads, the process waits no longer
    log.info("ended")
    return 0


class _Loading(threading.Thread):
    """Loads the model beside the server, which can end without waiting for this."""

    def __init__(self, settings: Settings, workers: Workers) -> None:
        super().__init__(name="loading", daemon=True)
        self._settings = settings
        self._workers = workers
        self.outcome: Future[Model] = Future()
        """The model, or a StartupError."""

    def run(self) -> None:
        """Come to an outcome."""
        self.outcome.set_running_or_notify_cancel()  # it can no longer be cancelled
        try:
            model = load_model(self._settings, self._workers)
            _let_the_collector_pass_over_what_stays()
            self.outcome.set_result(model)
        except StartupError as refusal:
            self.outcome.set_exception(refusal)
        except Exception as error:
            log.exception("loading failed unforeseen")
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:_SHOWN_LENGTH]
            self.outcome.set_exception(
                ArtifactRefused(
                    f"The model cannot be loaded, for a reason that nobody foresaw ({reason}): the"
                    " log has its trace; give the server more memory if that was short, or export"
                    " the model again."
                )
            )


def _let_the_collector_pass_over_what_stays() -> None:
    """Libraries and model live as long as the process. To look through them takes the collector a
    tenth of a second, in which every thread stands still.
    """
    gc.collect()
    gc.freeze()


def _take(
    loaded: asyncio.Future[Model], server: _Server, lifecycle: Lifecycle, metrics: Metrics
) -> None:
    """Become ready with the loaded model; a failure, which `_serve` explains, ends the server."""
    if loaded.cancelled():
        return
    if loaded.exception() is not None:
        server.should_exit = True
        return
    model = loaded.result()
    metrics.identify(model)
    lifecycle.loaded(model)
    log.info("ready", sha256=model.digest, engine=model.engine, **model.identity.labels())


class _Server(uvicorn.Server):
    """uvicorn's server, with the signals left to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in good order, with the connections that the kernel made and nobody accepted yet."""
        loop = asyncio.get_running_loop()
        for listener in sockets or ():
            with contextlib.suppress(BlockingIOError):  # there are no more
                while True:
                    connection, _ = listener.accept()
                    await loop.connect_accepted_socket(self._protocol, connection)
        await super().shutdown(sockets)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while self.server_state.tasks and not self.force_exit:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    def _protocol(self) -> TimedProtocol:
        return TimedProtocol(self.config, self.server_state, self.lifespan.state)

    def cut_off(self) -> None:
        """End every connection now, answered or not."""
        self.force_exit = True
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _say_how_mirroring_ended(task: asyncio.Task[None]) -> None:
    """Clients are served without it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("mirroring ended unforeseen", exc_info=error)


def _end_on_signals(
    server: _Server, lifecycle: Lifecycle, drain_seconds: float, mirroring: asyncio.Task[None]
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        lifecycle.end(drain=False)
        server.should_exit = True

    def on_signal(number: signal.Signals) -> None:
        mirroring.cancel()
        if lifecycle.phase is Phase.STOPPING:
            log.warning("cutting off what is in flight", signal=number.name)
            server.cut_off()
        elif number is signal.SIGTERM and lifecycle.phase is Phase.READY and drain_seconds > 0:
            log.info("draining", signal=number.name, seconds=drain_seconds)
            lifecycle.end(drain=True)
            loop.call_later(drain_seconds, stop)
        else:
            log.info("stopping", signal=number.name)
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
