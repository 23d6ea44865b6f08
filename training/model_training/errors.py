"""The errors that training raises; the command line prints their sentence and ends with a status.

TrainingError               everything a user of `model-train` can be told in one sentence
├── ConfigError             a setting of a run that cannot work
├── DataError               a folder of images that cannot be trained on
├── ArtifactError           an artifact or a checkpoint that cannot be read or written
├── GateError               a model that may not follow the champion
└── TrackingError           MLflow refused a request
    └── TrackingUnreachableError    MLflow could not be reached: trying again may help
"""

from __future__ import annotations


class TrainingError(Exception):
    """Its text says what is wrong and what to do."""

    exit_status = 2


class ConfigError(TrainingError):
    """A setting of a run that cannot work."""


class DataError(TrainingError):
    """A folder of images that cannot be trained on."""


class ArtifactError(TrainingError):
    """An artifact or a checkpoint that cannot be read or written."""


class GateError(TrainingError):
    """A model that may not follow the champion."""

    exit_status = 3


class TrackingError(TrainingError):
    """MLflow answered, and refused."""


class TrackingUnreachableError(TrackingError):
    """MLflow did not answer."""

    exit_status = 5
