"""Logs a training run to MLflow: parameters, curves, figures, records and the artifact.

Called by the command `train`, and by the registry for an artifact that no run has logged.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_training.mlflow_client import (
    ALREADY_EXISTS,
    DOES_NOT_EXIST,
    Metric,
    MlflowException,
    Param,
    RunTag,
    connect,
    mlflow_errors,
)
from model_training.resume import Curve

ARTIFACT_PATH: Final = "model"  # where a run keeps the artifact
SHA256_TAG: Final = "sha256"
DELETED: Final = "deleted"
"""A run's stage, from which it cannot be written any more."""
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

    def log_commit(self, commit: str) -> None:
        """Says which commit of the user's repository the run belongs to, as MLflow itself does."""
        with mlflow_errors(self.tracking_uri):
            self.client.set_tag(self.run_id, "mlflow.source.git.commit", commit)

    def log_curve(self, curve: Curve) -> None:
        """Adds a point to each curve; the same one again adds nothing."""
        points = {
            "train_loss": curve.train_loss,
            "train_accuracy": curve.train_accuracy,
            "validation_loss": curve.validation_loss,
            "validation_accuracy": curve.validation_accuracy,
        }
        self._log_metrics(points, step=curve.number, at=curve.at)

    def log_metrics(self, values: Mapping[str, float]) -> None:
        """Logs the figures at the end."""
        self._log_metrics(values, step=0)

    def log_records(self, folder: Path, names: Iterable[str]) -> None:
        """Uploads these files of a folder, which may hold others."""
        with tempfile.TemporaryDirectory() as copy:
            for name in names:
                shutil.copy(folder / name, copy)
            with mlflow_errors(self.tracking_uri):
                self.client.log_artifacts(self.run_id, copy)

    def log_artifact(self, folder: Path, sha256: str, data_version: str | None) -> None:
        """Uploads the artifact folder and tags the run with what identifies it."""
        tags = {SHA256_TAG: sha256} | ({DATA_VERSION_TAG: data_version} if data_version else {})
        with mlflow_errors(self.tracking_uri):
            self.client.log_artifacts(self.run_id, str(folder), ARTIFACT_PATH)
            self.client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])

    def _log_metrics(
        self, values: Mapping[str, float], *, step: int, at: int | None = None
    ) -> None:
        """All of them in one request."""
        now = at or time.time_ns() // 1_000_000
        metrics = [Metric(name, value, now, step) for name, value in values.items()]
        with mlflow_errors(self.tracking_uri):
            self.client.log_batch(self.run_id, metrics=metrics)


@contextmanager
def tracked_run(
    tracking_uri: str, *, experiment: str, run_id: str | None = None
) -> Iterator[TrackedRun]:
    """A new run in the experiment, which is created when absent; or `run_id`, which goes on.

    A run that the server does not know (any more), or that somebody has deleted, is a new one.
    The run ends as FINISHED, as KILLED on an interrupt from the keyboard, else as FAILED.
    """
    client = connect(tracking_uri)
    with mlflow_errors(tracking_uri):
        run = _known_run(client, run_id) if run_id else None
        run = run or client.create_run(_experiment_id(client, experiment))
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


def _known_run(client: Any, run_id: str) -> Any:
    try:
        known = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != DOES_NOT_EXIST:
            raise
        return None
    if known.info.lifecycle_stage == DELETED:
        return None
    client.update_run(run_id, status="RUNNING")
    return known


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
