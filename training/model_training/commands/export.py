"""`model-train export`: makes an artifact from a checkpoint of `train`, or adds ONNX to one."""

from __future__ import annotations

import argparse

from model_training.artifact import read_artifact, write_artifact
from model_training.checkpoint import read_checkpoint
from model_training.errors import ConfigError
from model_training.manifest import ONNX_FILE, Description
from model_training.report import Summary


def run(arguments: argparse.Namespace) -> Summary:
    """Writes the artifact of a checkpoint or of another artifact, with model.onnx if asked."""
    if arguments.checkpoint:
        state, description = read_checkpoint(arguments.checkpoint)
    else:
        artifact = read_artifact(arguments.artifact)
        if arguments.out.resolve() == artifact.folder.resolve():
            raise ConfigError(
                f"{arguments.out} would be another artifact with another digest under the same"
                " name: name a new folder by --out"
            )
        state = artifact.model.state_dict()
        description = Description(**artifact.manifest.model_dump(exclude={"weights"}))
    sha256 = write_artifact(arguments.out, state, description, with_onnx=arguments.onnx)
    return {
        "artifact": str(arguments.out),
        "sha256": sha256,
        "classes": list(description.classes),
        "metrics": dict(description.metrics),
        "onnx": str(arguments.out / ONNX_FILE) if arguments.onnx else None,
    }
