"""A prediction: pictures or a tensor in, labels with probabilities out. No web framework here.

`loading` makes the one Predictor of a process, and the HTTP routes call it in an inference thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_server.artifact import Manifest
from model_server.engine import Engine
from model_server.errors import InvalidRequest, RequestError
from model_server.preprocessing import FloatArray, Preprocessor, decode


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says about one picture."""

    label: str
    confidence: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class Predictions:
    """One request's answers, in its own order, and what computing them took."""

    items: tuple[Prediction, ...]
    rows: FloatArray
    """The network's own answer: N x classes probabilities, float32, each row summing to 1."""
    decode_seconds: float
    """From the encoded pictures to the network's input."""
    inference_seconds: float
    """In the network."""


class Predictor:
    """Decodes, preprocesses and predicts; safe to call from several threads at a time."""

    def __init__(self, manifest: Manifest, engine: Engine, max_pixels: int) -> None:
        self.classes = manifest.classes
        self.input = manifest.input
        self._preprocess = Preprocessor(manifest.input)
        self._engine = engine
        self._max_pixels = max_pixels

    def __call__(self, images: Sequence[bytes]) -> Predictions:
        """Predict on encoded pictures, as one batch.

        Raises:
            NotAnImage, TooManyPixels: one of them cannot be decoded; the sentence says which.

        """
        started = time.perf_counter()
        batch = np.stack([self._input(images, index) for index in range(len(images))])
        return self._predict(batch, time.perf_counter() - started)

    def predict_tensor(self, batch: FloatArray) -> Predictions:
        """Predict on what is already the network's input: N x 3 x H x W, normalised RGB.

        Raises:
            InvalidRequest: `batch` is not finite, or too large for the network to stay finite.

        """
        if not np.isfinite(batch).all():
            raise InvalidRequest(
                "The tensor holds NaN or infinity: send finite numbers that float32 can hold."
            )
        predictions = self._predict(batch, 0.0)
        if not np.isfinite(predictions.rows).all():
            raise InvalidRequest(
                "The network's answer to this tensor is not finite, because the tensor's values"
                " are far from any picture's: normalise it with the model's mean and std."
            )
        return predictions

    def _predict(self, batch: FloatArray, decode_seconds: float) -> Predictions:
        started = time.perf_counter()
        rows = self._engine.predict(batch)
        return Predictions(
            items=tuple(self._prediction(row) for row in rows),
            rows=rows,
            decode_seconds=decode_seconds,
            inference_seconds=time.perf_counter() - started,
        )

    def _input(self, images: Sequence[bytes], index: int) -> FloatArray:
        try:
            return self._preprocess(decode(images[index], self._max_pixels))
        except RequestError as error:
            if len(images) == 1:
                raise
            raise type(error)(f"Picture {index + 1} of {len(images)}: {error}") from error

    def _prediction(self, row: FloatArray) -> Prediction:
        best = int(row.argmax())
        values = [round(value, 6) for value in row.tolist()]
        return Prediction(
            label=self.classes[best],
            confidence=values[best],
            probabilities=dict(zip(self.classes, values, strict=True)),
        )
