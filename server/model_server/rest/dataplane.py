"""What every route that predicts shares: the body within limits, the queue, the time, the record.

`predict` and `v2` differ in how pictures lie in a body and in what an answer looks like; all else
is here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from model_server.errors import DamagedPicture, Overloaded, PredictionTimeout
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.mirror import shadow, wire
from model_server.mirror.copies import Copy
from model_server.mirror.quiet import Quiet
from model_server.mirror.sender import Mirror
from model_server.model import Model
from model_server.prediction import IsWanted, Predictions
from model_server.rest import bodies
from model_server.rest.protocol import CONNECTION, TimedProtocol
from model_server.settings import Settings
from model_server.workers import Workers

T = TypeVar("T")

_MOST_LOGGED = 32
"""Of a request's pictures: a log line is no place for thousands of labels."""
_VERSION = re.compile(r"^(/v2/models/[^/]+)/versions/[^/]+")


@dataclass(slots=True)
class _Turn:
    """A request's turn in a thread: each side says how far it has come, the other reads it."""

    has_come: bool = False
    """A thread has taken it, and counts how long that has taken."""
    is_over: bool = False
    """Nobody waits for it any more."""


class Dataplane:
    """From a request to its predictions."""

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        workers: Workers,
        metrics: Metrics,
        mirror: Mirror | None = None,
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._workers = workers
        self._metrics = metrics
        self._mirror = mirror
        self._quiet = mirror.quiet if mirror else Quiet()
        self._room = bodies.Room(settings.max_bodies_bytes, settings.max_body_bytes)

    async def predict(
        self, request: Request, job: Callable[[Model, bytes, IsWanted], tuple[Predictions, T]]
    ) -> T:
        """Read the body, run `job` on it in an inference thread, and record what came out.

        `job` returns the predictions and what the caller makes its answer of: writing thousands of
        classes takes too long for the event loop.

        Raises:
            RequestError: as `errors` says.
            ClientDisconnect: the client went away; its place in the queue is free again.

        """
        model, settings = self._lifecycle.model, self._settings
        deadline = asyncio.get_running_loop().time() + settings.request_timeout_seconds
        body = await bodies.read(
            request.receive,
            request.headers,
            self._room,
            max_bytes=settings.max_body_bytes,
            timeout_seconds=min(settings.body_timeout_seconds, settings.request_timeout_seconds),
        )
        queued, turn = time.perf_counter(), _Turn()

        def timed() -> tuple[Predictions, T]:
            turn.has_come = True
            waited = time.perf_counter() - queued
            self._metrics.queue_wait.observe(waited)
            if waited > settings.max_queue_seconds:  # and the event loop has not come round to it
                raise self._too_old()
            try:
                return job(model, body, lambda: not turn.is_over)
            except DamagedPicture:
                self._metrics.decode_failures.inc()
                raise

        copied = shadow.is_mirrored(request.headers)
        give_back = partial(self._room.give_back, len(body))
        try:
            with self._metrics.awaiting_prediction(), self._quiet.broken():
                predictions, answer = await self._wait(
                    self._workers.run(timed, give_back, copied=copied), turn, request, deadline
                )
        finally:
            turn.is_over = True  # a job that still runs stops at its next picture
        labels = [item.label for item in predictions.items]
        self._record(request, predictions, labels)
        if copied:
            compared = shadow.compare(request.headers, labels, model.predict.classes, self._metrics)
            request.state.log.update(compared)
        elif self._mirror is not None and self._mirror.active:
            copy = _copy(request, body, tuple(labels))
            request.state.after_answer.append(partial(self._mirror.offer, copy))
        return answer

    async def _wait(
        self,
        prediction: asyncio.Future[tuple[Predictions, T]],
        turn: _Turn,
        request: Request,
        deadline: float,
    ) -> tuple[Predictions, T]:
        """Return the prediction, unless the client goes away or its time in the queue, or the
        deadline, is over first.
        """
        oldest = asyncio.get_running_loop().time() + self._settings.max_queue_seconds
        timers = [_call_at(deadline, partial(self._end_late, prediction))]
        if oldest < deadline:
            timers.append(_call_at(oldest, partial(self._judge_age, prediction, turn)))
        connection: TimedProtocol | None = request.scope["state"].get(CONNECTION)
        if connection is not None:
            connection.tell_when_lost(partial(_give_up, prediction, ClientDisconnect()))
        try:
            return await prediction
        finally:
            _cancel(timers)
            if connection is not None:
                connection.tell_nobody()
            prediction.cancel()
            # What is raised is of this frame, which must not hold what holds it, and the body.
            del prediction, timers

    def _judge_age(self, prediction: asyncio.Future[T], turn: _Turn) -> None:
        if not turn.has_come and not prediction.done():
            self._metrics.queue_wait.observe(self._settings.max_queue_seconds)
            _give_up(prediction, self._too_old())

    def _end_late(self, prediction: asyncio.Future[T]) -> None:
        seconds = self._settings.request_timeout_seconds
        _give_up(
            prediction,
            PredictionTimeout(
                f"The request took longer than {seconds:g} s, its body and the queue included: send"
                " it again later."
            ),
        )

    def _too_old(self) -> Overloaded:
        return Overloaded(
            f"The request has waited for {self._settings.max_queue_seconds:g} s and its prediction"
            " has not begun: send it again after Retry-After seconds."
        )

    def _record(self, request: Request, predictions: Predictions, labels: list[str]) -> None:
        self._metrics.predicted(predictions)
        confidences = [item.confidence for item in predictions.items]
        single = len(labels) == 1
        request.state.log.update(
            decode_time=round(predictions.decode_seconds, 6),
            inference_time=round(predictions.inference_seconds, 6),
            prediction=labels[0] if single else labels[:_MOST_LOGGED],
            confidence=confidences[0] if single else confidences[:_MOST_LOGGED],
        )


def _call_at(when: float, judge: Callable[[], None]) -> asyncio.TimerHandle:
    """Call it then, behind what is ready by then: an outcome that came in time counts.

    uvloop runs its timers first.
    """
    loop = asyncio.get_running_loop()
    return loop.call_at(when, loop.call_soon, judge)


def _cancel(timers: Iterable[asyncio.TimerHandle]) -> None:
    """In a frame of its own: none of them is to stay in one that an error will hold."""
    for timer in timers:
        timer.cancel()


def _give_up(prediction: asyncio.Future[T], why: Exception) -> None:
    if not prediction.done():
        prediction.set_exception(why)


def _copy(request: Request, body: bytes, labels: tuple[str, ...]) -> Copy:
    path = request.scope["raw_path"].decode("ascii")
    return Copy(
        # The shadow is another version of the same model.
        path=_VERSION.sub(r"\1", path),
        body=body,
        content_type=request.headers.get("content-type"),
        tensor_header_length=request.headers.get(wire.TENSOR_HEADER),
        request_id=request.state.request_id,
        trace=request.state.trace,
        labels=labels,
    )
