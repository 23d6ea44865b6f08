"""What every route that predicts shares: the body within limits, the queue, the time, the record.

`predict` and `v2` differ in how pictures lie in a body and in what an answer looks like; all else
is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request

from model_server.errors import PredictionTimeout
from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.model import Model
from model_server.prediction import Predictions
from model_server.rest import bodies
from model_server.settings import Settings
from model_server.workers import Workers


class Dataplane:
    """From a request to its predictions."""

    def __init__(
        self, settings: Settings, lifecycle: Lifecycle, workers: Workers, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._workers = workers
        self._metrics = metrics

    async def predict(
        self, request: Request, job: Callable[[Model, bytes], Predictions]
    ) -> tuple[Model, Predictions]:
        """Read the body, run `job` on it in an inference thread, and record what came out.

        Raises:
            RequestError: as `errors` says.

        """
        model, settings = self._lifecycle.model, self._settings
        body = await bodies.read(
            request.receive,
            request.headers,
            max_bytes=settings.max_body_bytes,
            timeout_seconds=min(settings.body_timeout_seconds, settings.request_timeout_seconds),
        )
        try:
            async with asyncio.timeout(settings.request_timeout_seconds):
                predictions = await self._workers.run(lambda: job(model, body))
        except TimeoutError as error:
            raise PredictionTimeout(
                f"The prediction took longer than {settings.request_timeout_seconds:g} s: send it"
                " again later."
            ) from error
        self._record(request, predictions)
        return model, predictions

    def _record(self, request: Request, predictions: Predictions) -> None:
        self._metrics.decode.observe(predictions.decode_seconds)
        self._metrics.inference.observe(predictions.inference_seconds)
        for item in predictions.items:
            self._metrics.classes.labels(item.label).inc()
        labels = [item.label for item in predictions.items]
        confidences = [item.confidence for item in predictions.items]
        single = len(labels) == 1
        request.state.log.update(
            decode_time=round(predictions.decode_seconds, 6),
            inference_time=round(predictions.inference_seconds, 6),
            prediction=labels[0] if single else labels,
            confidence=confidences[0] if single else confidences,
        )
