"""`model-train export`: makes an artifact from a checkpoint of `train`."""

from __future__ import annotations

import argparse

from model_training.artifact import write_artifact
from model_training.checkpoint import read_checkpoint
from model_training.report import Summary


def run(arguments: argparse.Namespace) -> Summary:
    """Makes an artifact from a checkpoint of `train`."""
    state, description = read_checkpoint(arguments.checkpoint)
    sha256 = write_artifact(arguments.out, state, description)
    return {
        "artifact": str(arguments.out),
        "sha256": sha256,
        "classes": list(description.classes),
        "metrics": dict(description.metrics),
    }
