"""The entry point of the faulty server: the real one, with one fault that FAULT names.

    errors          every prediction fails: 500
    slow            every prediction takes FAULT_SECONDS (0.4) longer
    hang            predictions are accepted and never answered
    crash           the process ends with status 1 after FAULT_AFTER (20) predictions
    never-ready     the model is never loaded
    wrong-classes   every picture is of the class that the model finds least likely
    silent-metrics  /metrics answers an empty page
    absurd-metrics  /metrics answers what is no metrics

Whatever the fault, the container starts, fetches and verifies its model as the real one does.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from model_server import main, serve
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.model import Model
from model_server.prediction import Prediction, Predictions, Predictor
from model_server.settings import Settings
from model_server.workers import Workers

Fault = Callable[[Predictions], Predictions]


class FaultyPredictor:
    """Predicts, and then does what its fault is."""

    def __init__(self, predictor: Predictor, fault: Fault) -> None:
        self._predictor = predictor
        self._fault = fault
        self.classes = predictor.classes
        self.input = predictor.input

    def __call__(self, images: Sequence[bytes], *arguments: Any) -> Predictions:
        """As the real predictor."""
        return self._fault(self._predictor(images, *arguments))

    def predict_tensor(self, batch: Any) -> Predictions:
        """As the real predictor."""
        return self._fault(self._predictor.predict_tensor(batch))


def errors(_: Predictions) -> Predictions:
    """Fails."""
    raise RuntimeError("this server was made to fail")


def slow(predictions: Predictions) -> Predictions:
    """Takes its time."""
    time.sleep(float(os.environ.get("FAULT_SECONDS", "0.4")))
    return predictions


def hang(predictions: Predictions) -> Predictions:
    """Never returns."""
    threading.Event().wait()
    return predictions


_count = itertools.count(1)


def crash(predictions: Predictions) -> Predictions:
    """Ends the process after some predictions."""
    if next(_count) >= int(os.environ.get("FAULT_AFTER", "20")):
        os._exit(1)
    return predictions


def wrong_classes(predictions: Predictions) -> Predictions:
    """Names the least likely class."""
    return replace(predictions, items=tuple(map(_least_likely, predictions.items)))


def _least_likely(item: Prediction) -> Prediction:
    label = min(item.probabilities, key=lambda name: item.probabilities[name])
    return replace(item, label=label)


PREDICTIONS: dict[str, Fault] = {
    "errors": errors,
    "slow": slow,
    "hang": hang,
    "crash": crash,
    "wrong-classes": wrong_classes,
}
METRICS = {"silent-metrics": b"", "absurd-metrics": b"<html>It works!</html>\n"}


def install(fault: str) -> None:
    """Builds the fault into the server of this process; an unknown one is a KeyError."""

    def load_faulty_model(settings: Settings, workers: Workers) -> Model:
        if fault == "never-ready":
            threading.Event().wait()
        model = load_model(settings, workers)
        predictor: Any = FaultyPredictor(model.predict, PREDICTIONS[fault])
        return replace(model, predict=predictor)

    if fault in METRICS:
        Metrics.text = lambda self: METRICS[fault]  # type: ignore[method-assign]
        return
    if fault != "never-ready":
        PREDICTIONS[fault]
    if fault == "hang":  # no limit of the real server's answers in its place
        limits = {"REQUEST_TIMEOUT_SECONDS": "3600", "MAX_QUEUE_SECONDS": "3600"}
        os.environ.update(limits, QUEUE_SIZE="100000")
    if fault == "slow":  # and late, but not fewer at a time
        os.environ.update(INFERENCE_THREADS="48")
    vars(serve)["load_model"] = load_faulty_model


if __name__ == "__main__":
    install(os.environ["FAULT"])
    sys.exit(main.main())
