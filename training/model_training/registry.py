"""Registers an artifact as a model version in MLflow; called by the command `register`.

The artifact's digest is what connects it to the run that logged it: the run is looked up on the
server by its tag `sha256`. An artifact that no run there has logged (it was exported by hand, or
trained against another server) gets a run of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_training.artifact import Artifact
from model_training.errors import TrackingError
from model_training.mlflow_client import ALREADY_EXISTS, MlflowException, connect, mlflow_errors
from model_training.tracking import (
    ARTIFACT_PATH,
    DATA_VERSION_TAG,
    SHA256_TAG,
    tracked_run,
)


@dataclass(frozen=True)
class RegisteredVersion:
    """A model version as it stands in the registry."""

    name: str
    version: int
    sha256: str
    uri: str
    alias: str | None
    data_version: str | None
    run_id: str


@dataclass(frozen=True)
class _Origin:
    """The run that holds the artifact."""

    run_id: str
    artifact_uri: str
    data_version: str | None


def register(
    artifact: Artifact,
    *,
    tracking_uri: str,
    name: str,
    alias: str | None = None,
    data_version: str | None = None,
) -> RegisteredVersion:
    """Creates the next version of `name`, with its tags from the first moment, then its alias.

    `data_version` is taken from the run that logged the artifact, unless it is given here; the two
    must not contradict each other.
    """
    client = connect(tracking_uri)
    with mlflow_errors(tracking_uri):
        origin = _find_origin(client, artifact.sha256)
    if origin is None:
        origin = _log_anew(artifact, tracking_uri, name, data_version)
    if data_version and origin.data_version and data_version != origin.data_version:
        raise TrackingError(
            f"the run {origin.run_id} trained this artifact on data {origin.data_version}, not on"
            f" {data_version}: leave --data away or name the folder of the training"
        )
    version = data_version or origin.data_version
    tags = {name: str(value) for name, value in artifact.manifest.metrics.items()}
    tags |= {SHA256_TAG: artifact.sha256} | ({DATA_VERSION_TAG: version} if version else {})
    with mlflow_errors(tracking_uri):
        _ensure_registered_model(client, name)
        created = client.create_model_version(
            name, f"{origin.artifact_uri}/{ARTIFACT_PATH}", run_id=origin.run_id, tags=tags
        )
        if alias:
            client.set_registered_model_alias(name, alias, str(created.version))
    return RegisteredVersion(
        name=name,
        version=int(created.version),
        sha256=artifact.sha256,
        uri=f"models:/{name}/{created.version}",
        alias=alias,
        data_version=version,
        run_id=origin.run_id,
    )


def _find_origin(client: Any, sha256: str) -> _Origin | None:
    """The newest finished run that logged an artifact with this digest."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(
        experiments,
        filter_string=f"tags.{SHA256_TAG} = '{sha256}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not runs:
        return None
    run = runs[0]
    return _Origin(run.info.run_id, run.info.artifact_uri, run.data.tags.get(DATA_VERSION_TAG))


def _log_anew(
    artifact: Artifact, tracking_uri: str, name: str, data_version: str | None
) -> _Origin:
    with tracked_run(tracking_uri, experiment=name) as run:
        run.log_artifact(artifact.folder, artifact.sha256, data_version)
    return _Origin(run.run_id, run.artifact_uri, data_version)


def _ensure_registered_model(client: Any, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != ALREADY_EXISTS:
            raise
