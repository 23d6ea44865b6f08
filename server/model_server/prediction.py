"""A prediction: pictures' bytes in, labels with their probabilities out. No web framework here.

`loading` makes the one Predictor of a process, and the HTTP routes call it in an inference thread.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_server.artifact import Manifest
from model_server.engine import Engine
from model_server.errors import RequestError
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
    decode_seconds: float
    """From the encoded pictures to the network's input."""
    inference_seconds: float
    """In the network."""


class Predictor:
    """Decodes, preprocesses and predicts; safe to call from several threads at a time."""

    def __init__(self, manifest: Manifest, engine: Engine, max_pixels: int) -> None:
        self._classes = manifest.classes
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
        decoded = time.perf_counter()
        probabilities = self._engine.predict(batch)
        return Predictions(
            items=tuple(self._prediction(row) for row in probabilities),
            decode_seconds=decoded - started,
            inference_seconds=time.perf_counter() - decoded,
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
            label=self._classes[best],
            confidence=values[best],
            probabilities=dict(zip(self._classes, values, strict=True)),
        )
