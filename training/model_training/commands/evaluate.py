"""`model-train evaluate`: judges an artifact on images."""

from __future__ import annotations

import argparse

from model_training.artifact import read_artifact
from model_training.data import ImageFolder, Sample, Split, scan, split_of
from model_training.errors import DataError
from model_training.evaluate import evaluate
from model_training.report import Summary, load_with_bar, progress_bars


def run(arguments: argparse.Namespace) -> Summary:
    """Judges an artifact on a folder, or on the part of it that training kept for the test."""
    artifact = read_artifact(arguments.artifact)
    folder = scan(arguments.data)
    samples = _relabelled(folder, artifact.manifest.classes)
    if arguments.split == Split.TEST:
        samples = [sample for sample in samples if _is_test(sample, arguments.test_percent)]
    if not samples:
        raise DataError(f"no image of {folder.root} falls into the test split: use --split all")
    with progress_bars() as bars:
        images = load_with_bar(folder, samples, artifact.manifest.input, bars, arguments.split)
        judged = evaluate(artifact.model, images, artifact.manifest.input)
    return {
        "artifact": str(arguments.artifact),
        "sha256": artifact.sha256,
        "data": str(arguments.data),
        "split": str(arguments.split),
        "images": judged.images,
        "accuracy": judged.accuracy,
        "loss": judged.loss,
        "classes": list(artifact.manifest.classes),
        "confusion": [list(row) for row in judged.confusion],
    }


def _is_test(sample: Sample, test_percent: int) -> bool:
    part = split_of(sample.sha256, validation_percent=0, test_percent=test_percent)
    return part is Split.TEST


def _relabelled(folder: ImageFolder, classes: tuple[str, ...]) -> list[Sample]:
    """The folder's samples with the artifact's labels; its classes must be known to it."""
    unknown = sorted(set(folder.classes) - set(classes))
    if unknown:
        raise DataError(
            f"the artifact knows the classes {', '.join(classes)} and not {', '.join(unknown)}:"
            f" name the folders in {folder.root} as the model's classes"
        )
    return [
        Sample(sample.path, classes.index(folder.classes[sample.label]), sample.sha256)
        for sample in folder.samples
    ]
