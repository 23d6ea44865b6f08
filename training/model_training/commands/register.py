"""`model-train register`: creates a model version from an artifact that may follow the champion."""

from __future__ import annotations

import argparse
from pathlib import Path

from model_training.artifact import read_artifact
from model_training.commands.evaluate import judge
from model_training.data import scan
from model_training.predictions import Predictions
from model_training.registry import Evidence, register
from model_training.report import Summary, progress_bars


def run(arguments: argparse.Namespace) -> Summary:
    """Creates a model version from an artifact."""
    artifact = read_artifact(arguments.artifact)
    folder = scan(arguments.data) if arguments.data else None

    def judged(path: Path | None) -> Predictions:
        """What an artifact says of the test images in --data."""
        if folder is None:
            raise ValueError("there are no test images")
        with progress_bars() as bars:
            other = artifact if path is None else read_artifact(path)
            return judge(other, folder, "test", arguments.test_percent, bars).predictions

    registered = register(
        artifact,
        tracking_uri=arguments.tracking_uri,
        name=arguments.name or artifact.manifest.name,
        alias=arguments.alias,
        evidence=Evidence(
            judge=judged if folder else None,
            data_version=folder.fingerprint if folder else None,
            override=arguments.override,
            tolerance=arguments.tolerance,
        ),
    )
    comparison = registered.comparison
    return {
        "name": registered.name,
        "version": registered.version,
        "uri": registered.uri,
        "alias": registered.alias,
        "validation": registered.validation,
        "against_champion": comparison.sentence() if comparison else None,
        "sha256": registered.sha256,
        "data_version": registered.data_version,
        "run_id": registered.run_id,
        "tracking_uri": arguments.tracking_uri,
    }
