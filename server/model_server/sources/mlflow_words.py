"""What users read where MLflow has no such model, refuses, or does not answer.

`mlflow` and `mlflow_library` say the same of the same: they are two ways to one registry.
"""

from __future__ import annotations

from model_server.errors import ArtifactRefused, ModelNotFound, SourceUnreachable
from model_server.sources.landing import MAX_FILES
from model_server.sources.uris import shown


def absent(uri: str, registry: str) -> ModelNotFound:
    """Nobody has registered it."""
    return ModelNotFound(
        f"There is no {uri} in the registry at {shown(registry)}: register it, or correct the URI."
    )


def gone(uri: str, registry: str) -> ModelNotFound:
    """It is registered, and its files are not there."""
    return ModelNotFound(
        f"{uri} is registered at {shown(registry)}, but its files are not in the store: register it"
        " again."
    )


def too_many(uri: str) -> ArtifactRefused:
    """It is no artifact's folder."""
    return ArtifactRefused(
        f"{uri} holds more than {MAX_FILES} files: an artifact is a model.json and its weights;"
        " name the folder that holds just these."
    )


def refused(registry: str) -> SourceUnreachable:
    """The credentials are missing or wrong."""
    return SourceUnreachable(
        f"The registry at {shown(registry)} refuses the credentials: correct"
        " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
    )


def unwell(registry: str, reason: str) -> str:
    """The sentence of a registry that is not there, or is none; `reason` must hold no secret."""
    return (
        f"The registry at {shown(registry)} does not answer as it should ({reason}): check the"
        " address and that it is up; a pod tries this again."
    )
