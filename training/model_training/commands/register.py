"""`model-train register`: creates a model version from an artifact."""

from __future__ import annotations

import argparse

from model_training.artifact import read_artifact
from model_training.data import scan
from model_training.registry import register
from model_training.report import Summary


def run(arguments: argparse.Namespace) -> Summary:
    """Creates a model version from an artifact."""
    artifact = read_artifact(arguments.artifact)
    registered = register(
        artifact,
        tracking_uri=arguments.tracking_uri,
        name=arguments.name or artifact.manifest.name,
        alias=arguments.alias,
        data_version=scan(arguments.data).fingerprint if arguments.data else None,
    )
    return {
        "name": registered.name,
        "version": registered.version,
        "uri": registered.uri,
        "alias": registered.alias,
        "sha256": registered.sha256,
        "data_version": registered.data_version,
        "run_id": registered.run_id,
        "tracking_uri": arguments.tracking_uri,
    }
