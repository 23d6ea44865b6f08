"""Logs a training run to MLflow: parameters, curves, the confusion matrix and the artifact.

Called by the command `train`, and by the registry for an artifact that no run has logged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from model_training.evaluate import Evaluation
from model_training.mlflow_client import (
    ALREADY_EXISTS,
    Metric,
    MlflowException,
    Param,
    RunTag,
    connect,
    mlflow_errors,
)
from model_training.train import Epoch

ARTIFACT_PATH: Final = "model"  # where a run keeps the artifact
SHA256_TAG: Final = "sha256"
DATA_VERSION_TAG: Final = "data_version"


@dataclass(frozen=True)
class TrackedRun:
    """One MLflow run that is being written."""

    client: Any
    tracking_uri: str
    run_id: str
    artifact_uri: str

    def log_parameters(self, values: Mapping[str, object]) -> None:
        """Logs what went into the run."""
        params = [Param(name, str(value)) for name, value in values.items()]
        with mlflow_errors(self.tracking_uri):
            self.client.log_batch(self.run_id, params=params)

    def log_epoch(self, epoch: Epoch) -> None:
        """Adds a point to each curve."""
        points = {
            "train_loss": epoch.train_loss,
            "train_accuracy": epoch.train_accuracy,
            "validation_loss": epoch.validation.loss,
            "validation_accuracy": epoch.validation.accuracy,
        }
        self._log_metrics(points, step=epoch.number)

    def log_evaluation(self, evaluation: Evaluation, classes: tuple[str, ...]) -> None:
        """Logs the figures on the test images and the confusion matrix, as a picture and JSON."""
        matrix = {"classes": classes, "rows_true_columns_predicted": evaluation.confusion}
        figures = {
            "test_accuracy": evaluation.accuracy,
            "test_loss": evaluation.loss,
            "test_images": evaluation.images,
        }
        self._log_metrics(figures, step=0)
        with mlflow_errors(self.tracking_uri):
            self.client.log_dict(self.run_id, matrix, "confusion_matrix.json")
            picture = confusion_picture(evaluation, classes)
            self.client.log_figure(self.run_id, picture, "confusion_matrix.png")

    def log_artifact(self, folder: Path, sha256: str, data_version: str | None) -> None:
        """Uploads the artifact folder and tags the run with what identifies it."""
        tags = {SHA256_TAG: sha256} | ({DATA_VERSION_TAG: data_version} if data_version else {})
        with mlflow_errors(self.tracking_uri):
            self.client.log_artifacts(self.run_id, str(folder), ARTIFACT_PATH)
            self.client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def _log_metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """All of them in one request."""
        now = time.time_ns() // 1_000_000
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        with mlflow_errors(self.tracking_uri):
            self.client.log_batch(self.run_id, metrics=metrics)


@contextmanager
def tracked_run(tracking_uri: str, *, experiment: str) -> Iterator[TrackedRun]:
    """A new run in the experiment, which is created when absent.

    The run ends as FINISHED, as KILLED on an interrupt from the keyboard, else as FAILED.
    """
    client = connect(tracking_uri)
    with mlflow_errors(tracking_uri):
        run = client.create_run(_experiment_id(client, experiment))
    tracked = TrackedRun(client, tracking_uri, run.info.run_id, run.info.artifact_uri)
    status = "FAILED"
    try:
        yield tracked
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with mlflow_errors(tracking_uri):
            client.set_terminated(tracked.run_id, status)


def confusion_picture(evaluation: Evaluation, classes: tuple[str, ...]) -> Figure:
    """The confusion matrix with its counts; rows are the true classes."""
    side = 2.5 + 0.6 * len(classes)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(
        xlabel="predicted", ylabel="true", title=f"accuracy {evaluation.accuracy:.2%}"
    )
    axes.imshow(evaluation.confusion, cmap="Blues", vmin=0)
    axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 4 else 0)
    axes.set_yticks(range(len(classes)), classes)
    darkest = max(max(row) for row in evaluation.confusion)
    for true, row in enumerate(evaluation.confusion):
        for predicted, count in enumerate(row):
            colour = "white" if count > darkest / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    return figure


def _experiment_id(client: Any, name: str) -> str:
    """The experiment's id; another process may create it at the same time."""
    existing = client.get_experiment_by_name(name)
    if existing is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            if error.error_code != ALREADY_EXISTS:
                raise
            existing = client.get_experiment_by_name(name)
    return str(existing.experiment_id)
