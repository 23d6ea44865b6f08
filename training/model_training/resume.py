"""A training run on disk: after every epoch all that it needs to go on as if never stopped.

The file is written beside and renamed, so that a kill at any moment leaves the old one or the new
one. It is read with `weights_only=True`: nothing that a stranger put into it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_training.checkpoint import load_tensors, save_tensors
from model_training.config import TrainConfig
from model_training.errors import ArtifactError
from model_training.evaluate import Evaluation
from model_training.train import Epoch, Progress

FORMAT: Final = 2
"""Another number where the same settings would train other weights than before."""


@dataclass(frozen=True)
class Curve:
    """One epoch's figures, as they are drawn and logged; `at` is when, in ms since 1970."""

    number: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    at: int


@dataclass(frozen=True)
class Saved:
    """What the file says."""

    progress: Progress
    curves: tuple[Curve, ...]
    run_id: str
    """The run of the tracking server that logs this training."""
    seconds: float
    """How long the run has worked, over all its starts."""


def save(path: Path, saved: Saved, config: TrainConfig, data_version: str) -> None:
    """Replaces the file at once; it is on the disk when this returns."""
    progress = saved.progress
    content = {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "data_version": data_version,
        "number": progress.number,
        "model": dict(progress.model),
        "averaged": dict(progress.averaged),
        "optimizer": dict(progress.optimizer),
        "best": _packed(progress.best),
        "curves": [vars(curve) for curve in saved.curves],
        "run_id": saved.run_id,
        "seconds": saved.seconds,
    }
    save_tensors(path, content)


def read(path: Path, config: TrainConfig, data_version: str) -> Saved | None:
    """What was saved of this run, or None where nothing was.

    Raises ArtifactError when the file is of another run, or is none.
    """
    if not path.is_file():
        return None
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not the progress of a training; remove it")
    _refuse_another_run(path, content, config, data_version)
    progress = Progress(
        content["number"],
        content["model"],
        content["averaged"],
        content["optimizer"],
        _unpacked(content["best"]),
    )
    curves = tuple(Curve(**curve) for curve in content["curves"])
    return Saved(progress, curves, content["run_id"], content["seconds"])


def _refuse_another_run(
    path: Path, content: Mapping[str, Any], config: TrainConfig, data_version: str
) -> None:
    """A run goes on with its own data and settings only: otherwise its weights are nobody's."""
    asked, begun = config.model_dump(mode="json"), content["config"]
    for name in sorted({*asked, *begun}):
        if asked.get(name) != begun.get(name):
            raise ArtifactError(
                f"{path} is of a run with {name} {begun.get(name)}, not {asked.get(name)}: set it"
                " so, or start anew without --resume"
            )
    if content["data_version"] != data_version:
        raise ArtifactError(
            f"{path} is of a run on data {content['data_version'][:12]}..., and the folder is now"
            f" {data_version[:12]}...: start anew without --resume"
        )


def _packed(epoch: Epoch) -> dict[str, Any]:
    return {
        "number": epoch.number,
        "train_loss": epoch.train_loss,
        "train_accuracy": epoch.train_accuracy,
        "logits": epoch.validation.logits,
        "labels": epoch.validation.labels,
        "state": dict(epoch.state),
    }


def _unpacked(packed: Mapping[str, Any]) -> Epoch:
    return Epoch(
        number=packed["number"],
        train_loss=packed["train_loss"],
        train_accuracy=packed["train_accuracy"],
        validation=Evaluation(packed["logits"], packed["labels"]),
        best=True,
        state=packed["state"],
    )
