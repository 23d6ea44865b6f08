"""`model-train evaluate`: judges an artifact on images."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from rich.progress import Progress as Bars

from model_training.artifact import Artifact, read_artifact
from model_training.check import DataReport, report
from model_training.data import ImageFolder, Sample, Split, scan, split_of
from model_training.errors import DataError
from model_training.evaluate import Evaluation, evaluate
from model_training.figures import summary
from model_training.predictions import Predictions, predictions
from model_training.report import Summary, load_with_bar, note, note_left_out, progress_bars


@dataclass(frozen=True)
class Judged:
    """What an artifact said of a folder's images."""

    evaluation: Evaluation
    samples: tuple[Sample, ...]
    """In the evaluation's order, with the artifact's labels."""
    classes: tuple[str, ...]
    data: DataReport

    @property
    def predictions(self) -> Predictions:
        """The same by image."""
        return predictions(self.evaluation, self.samples, self.classes)


def run(arguments: argparse.Namespace) -> Summary:
    """Judges an artifact on a folder, or on the part of it that training kept for the test."""
    artifact = read_artifact(arguments.artifact)
    folder = scan(arguments.data)
    with progress_bars() as bars:
        judged = judge(artifact, folder, arguments.split, arguments.test_percent, bars)
    note_left_out(judged.data)
    trained = artifact.manifest.metrics.get("test_images")
    if arguments.split == Split.TEST and trained not in (None, len(judged.samples)):
        note(
            f"the training kept {trained} images for the test and this split has"
            f" {len(judged.samples)}: where it is the training's folder, name the same"
            " --test-percent, or images that were learnt from are among them"
        )
    figures = {
        "artifact": str(arguments.artifact),
        "sha256": artifact.sha256,
        "data": str(arguments.data),
        "data_version": folder.fingerprint,
        "split": str(arguments.split),
        "left_out": len(judged.data.left_out),
    } | summary(judged.evaluation, judged.classes)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=2, ensure_ascii=False)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return figures


def judge(
    artifact: Artifact, folder: ImageFolder, part: str, test_percent: int, bars: Bars
) -> Judged:
    """Judges an artifact on all of a folder, or on its part `test`; raises DataError."""
    classes, spec = artifact.manifest.classes, artifact.manifest.input
    samples = _relabelled(folder, classes)
    if part == Split.TEST:
        samples = [sample for sample in samples if _is_test(sample, test_percent)]
    if not samples:
        raise DataError(f"no image of {folder.root} falls into the test split: use --split all")
    loaded = load_with_bar(folder, samples, spec, bars, part)
    evaluation = evaluate(artifact.model, loaded.images, spec)
    return Judged(evaluation, loaded.kept, classes, report(folder, loaded.findings))


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
