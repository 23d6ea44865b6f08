"""A prediction: pictures or a tensor in, labels with probabilities out. No web framework here.

`loading` makes the one Predictor of a process, and the HTTP routes call it in an inference thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np

from model_server import drift, picture_files
from model_server.artifact import Manifest
from model_server.engine import Engine
from model_server.errors import Abandoned, InvalidRequest, RequestError, TooManyPixels
from model_server.picture_files import PictureHeader
from model_server.preprocessing import Decoder, FloatArray, FullDecoder

T = TypeVar("T")

IsWanted: TypeAlias = Callable[[], bool]
"""Whether somebody still waits for a prediction; asked in its thread."""


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """How many pixels are decoded."""

    picture: int
    """In one picture."""
    request: int
    """In all pictures of a request together."""


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
    seen: tuple[drift.Seen, ...] = ()
    """What the pictures were like; empty where a ready tensor was sent."""


class Predictor:
    """Decodes, preprocesses and predicts; safe to call from several threads at a time."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        limits: PixelLimits,
        decoder: Decoder | None = None,
    ) -> None:
        """Without a `decoder` pictures are decoded in full."""
        self.classes = manifest.classes
        self.input = manifest.input
        self._decode = decoder or FullDecoder(manifest.input)
        self._engine = engine
        self._limits = limits

    def __call__(self, images: Sequence[bytes], is_wanted: IsWanted = lambda: True) -> Predictions:
        """Predict on encoded pictures, as one batch. All headers are judged before any decoding.

        Raises:
            NotAnImage, TooManyPixels, TooComplex: one of them cannot be decoded; the sentence says
                which.
            Abandoned: `is_wanted` said no, before a picture or before the network.

        """
        started = time.perf_counter()
        headers = self._judge(images)
        inputs, seen = [], []
        for index, header in enumerate(headers):
            with _naming(index, len(images)):
                resized = self._decode(images[index], header)
            inputs.append(resized)
            seen.append(drift.see(header.pixels, resized))
            if not is_wanted():
                raise Abandoned
        pixels = np.stack(inputs) if len(inputs) > 1 else inputs[0][np.newaxis]
        seconds = time.perf_counter() - started
        return replace(self._predict(self._engine.classify, pixels, seconds), seen=tuple(seen))

    def predict_tensor(self, batch: FloatArray) -> Predictions:
        """Predict on what is already the network's input: N x 3 x H x W, normalised RGB.

        Raises:
            InvalidRequest: `batch` is not finite, or too large for the network to stay finite.

        """
        if not np.isfinite(batch).all():
            raise InvalidRequest(
                "The tensor holds NaN or infinity: send finite numbers that float32 can hold."
            )
        predictions = self._predict(self._engine.predict, batch, 0.0)
        if not np.isfinite(predictions.rows).all():
            raise InvalidRequest(
                "The network's answer to this tensor is not finite, because the tensor's values"
                " are far from any picture's: normalise it with the model's mean and std."
            )
        return predictions

    def _predict(
        self, network: Callable[[T], FloatArray], batch: T, decode_seconds: float
    ) -> Predictions:
        started = time.perf_counter()
        rows = network(batch)
        return Predictions(
            items=tuple(self._prediction(row) for row in rows),
            rows=rows,
            decode_seconds=decode_seconds,
            inference_seconds=time.perf_counter() - started,
        )

    def _judge(self, images: Sequence[bytes]) -> list[PictureHeader]:
        headers = []
        for index, image in enumerate(images):
            with _naming(index, len(images)):
                headers.append(picture_files.judge(image, self._limits.picture))
        total = sum(header.pixels for header in headers)
        if total > self._limits.request and len(images) > 1:
            raise TooManyPixels(
                f"The {len(images)} pictures have {total} pixels together, more than the"
                f" {self._limits.request} that are decoded for one request: send smaller ones, or"
                " several requests."
            )
        return headers

    def _prediction(self, row: FloatArray) -> Prediction:
        best = int(row.argmax())
        values = [round(value, 6) for value in row.tolist()]
        return Prediction(
            label=self.classes[best],
            confidence=values[best],
            probabilities=dict(zip(self.classes, values, strict=True)),
        )


@contextlib.contextmanager
def _naming(index: int, count: int) -> Iterator[None]:
    """Let a refusal say at which of several pictures."""
    try:
        yield
    except RequestError as error:
        if count == 1:
            raise
        raise type(error)(f"Picture {index + 1} of {count}: {error}") from error
