"""Registers an artifact as a model version in MLflow; called by the command `register`.

The artifact's digest is what connects it to the run that logged it: the run is looked up on the
server by its tag `sha256`. An artifact that no run there has logged (it was exported by hand, or
trained against another server) gets a run of its own.

A version that may follow the champion is tagged `validation: passed`, which a ModelDeployment can
require; `gate` says when it may.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_training.artifact import Artifact
from model_training.errors import GateError, TrackingError
from model_training.gate import TOLERANCE, Comparison, compare
from model_training.mlflow_client import (
    ALREADY_EXISTS,
    DOES_NOT_EXIST,
    INVALID,
    MlflowException,
    connect,
    mlflow_errors,
)
from model_training.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    read_predictions,
    write_predictions,
)
from model_training.tracking import (
    ARTIFACT_PATH,
    DATA_VERSION_TAG,
    SHA256_TAG,
    tracked_run,
)

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
VALIDATION_TAG: Final = "validation"
PASSED, OVERRIDDEN, NOT_JUDGED = "passed", "overridden", "not judged"
"""What the tag says: may follow the champion, may not but was let through, or nobody knows."""
REASON_TAG: Final = "validation_override"
FIGURES_TAG: Final = "validation_figures"
CARD: Final = "model_card.md"
LONGEST_DESCRIPTION: Final = 5000
"""Characters that MLflow keeps; the run has the whole card."""

Judge = Callable[[Path | None], Predictions]
"""Judges the artifact in a folder on the user's test images; None is the one to be registered."""


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
    validation: str
    comparison: Comparison | None


@dataclass(frozen=True)
class Evidence:
    """What the gate is given besides the artifact."""

    judge: Judge | None = None
    """Where the user has named test images."""
    data_version: str | None = None
    override: str | None = None
    """Why a model that does not pass is registered all the same."""
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class _Origin:
    """The run that holds the artifact."""

    run_id: str
    artifact_uri: str
    data_version: str | None


@dataclass(frozen=True)
class _Verdict:
    validation: str
    comparison: Comparison | None
    reason: str | None = None


def register(
    artifact: Artifact,
    *,
    tracking_uri: str,
    name: str,
    alias: str | None = None,
    evidence: Evidence = Evidence(),
) -> RegisteredVersion:
    """Creates the next version of `name`, with its tags from the first moment, then its alias.

    `data_version` is taken from the run that logged the artifact, unless it is given here; the two
    must not contradict each other. Raises GateError where the champion is better, or where nothing
    says whether it is, and nothing is registered then.
    """
    client = connect(tracking_uri)
    with mlflow_errors(tracking_uri):
        origin = _find_origin(client, artifact.sha256)
    asked = evidence.data_version
    if origin and asked and origin.data_version and asked != origin.data_version:
        raise TrackingError(
            f"the run {origin.run_id} trained this artifact on data {origin.data_version}, not on"
            f" {asked}: leave --data away or name the folder of the training"
        )
    with mlflow_errors(tracking_uri):
        known = _recorded(client, origin.run_id) if origin else None
        ours = known or (evidence.judge(None) if evidence.judge else None)
        verdict = _pass_gate(client, name, ours, evidence)
    if origin is None:
        origin = _log_anew(artifact, tracking_uri, name, asked)
    version = asked or origin.data_version
    with mlflow_errors(tracking_uri):
        if ours and not known:
            _record(client, origin.run_id, ours)
        _ensure_registered_model(client, name)
        created = client.create_model_version(
            name,
            f"{origin.artifact_uri}/{ARTIFACT_PATH}",
            run_id=origin.run_id,
            tags=_tags(artifact, version, verdict),
            description=_card(client, origin.run_id),
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
        validation=verdict.validation,
        comparison=verdict.comparison,
    )


def _pass_gate(client: Any, name: str, ours: Predictions | None, evidence: Evidence) -> _Verdict:
    """What the tag will say; raises GateError where the model may not follow the champion."""
    champion = _champion(client, name)
    if champion is None:
        return _Verdict(PASSED if ours else NOT_JUDGED, None)
    comparison = None
    if ours is not None:
        theirs = _recorded(client, champion.run_id) if champion.run_id else None
        comparison = compare(ours, theirs) if theirs else None
        if comparison is None and evidence.judge:
            with tempfile.TemporaryDirectory() as folder:
                comparison = compare(ours, evidence.judge(_download(client, champion, folder)))
    if comparison and not comparison.worse(evidence.tolerance):
        return _Verdict(PASSED, comparison)
    if evidence.override:
        return _Verdict(OVERRIDDEN, comparison, evidence.override)
    if comparison:
        raise GateError(
            f"it is worse than version {champion.version}, the champion: {comparison.sentence()};"
            " nothing was registered (--override REASON registers it all the same)"
        )
    raise GateError(
        f"nothing says whether it is worse than version {champion.version}, the champion: too few"
        " test images were judged by both; name the folder of the training by --data (--override"
        " REASON registers it all the same)"
    )


def _champion(client: Any, name: str) -> Any:
    """The model version that the alias names, or None."""
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in {DOES_NOT_EXIST, INVALID}:
            raise
        return None


def _recorded(client: Any, run_id: str) -> Predictions | None:
    """What the run has kept of its model's test, if anything."""
    if not any(file.path == PREDICTIONS_FILE for file in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return read_predictions(Path(client.download_artifacts(run_id, PREDICTIONS_FILE, folder)))


def _record(client: Any, run_id: str, made: Predictions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PREDICTIONS_FILE
        write_predictions(path, made)
        client.log_artifact(run_id, str(path))


def _download(client: Any, version: Any, folder: str) -> Path:
    """The artifact of a version, from the run that holds it."""
    return Path(client.download_artifacts(version.run_id, ARTIFACT_PATH, folder))


def _card(client: Any, run_id: str) -> str | None:
    """The model card that the run has made, which becomes the version's description."""
    if not any(file.path == CARD for file in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run_id, CARD, folder))
        return path.read_text(encoding="utf-8")[:LONGEST_DESCRIPTION]


def _tags(artifact: Artifact, data_version: str | None, verdict: _Verdict) -> dict[str, str]:
    tags = {name: str(value) for name, value in artifact.manifest.metrics.items()}
    tags |= {SHA256_TAG: artifact.sha256, VALIDATION_TAG: verdict.validation}
    if data_version:
        tags[DATA_VERSION_TAG] = data_version
    if verdict.comparison:
        tags[FIGURES_TAG] = verdict.comparison.sentence()
    if verdict.reason:
        tags[REASON_TAG] = verdict.reason
    return tags


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
