"""`model-train train`: from a folder of images to an artifact and the run that explains it."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.progress import Progress as Bars

from model_training import recipes, resume
from model_training.artifact import (
    Artifact,
    build_model,
    read_artifact,
    refuse_foreign_folder,
    write_artifact,
)
from model_training.calibration import calibration_error, fold, scaled, temperature
from model_training.card import Calibrated
from model_training.check import REPORT_FILE, DataReport, report
from model_training.checkpoint import save_checkpoint
from model_training.config import TrainConfig
from model_training.data import (
    ImageFolder,
    Loaded,
    Split,
    refuse_missing_class,
    scan,
    split,
    usual_side,
)
from model_training.environment import git_commit
from model_training.errors import ConfigError
from model_training.evaluate import evaluate
from model_training.manifest import Architecture, Description, InputSpec
from model_training.onnx_export import refuse_without_packages
from model_training.records import Finished, metrics_of, write_records
from model_training.report import Summary, load_with_bar, note, note_left_out, progress_bars
from model_training.settings import gather
from model_training.tracking import TrackedRun, tracked_run
from model_training.train import Epoch, Progress, chosen_device, train

PROGRESS_FILE: Final = "progress.pt"


@dataclass(frozen=True)
class _Data:
    """The folder as it is trained on."""

    folder: ImageFolder
    splits: dict[Split, Loaded]
    report: DataReport


def run(arguments: argparse.Namespace) -> Summary:
    """Trains, calibrates, judges on the test images, writes the artifact and logs all of it."""
    started = time.monotonic()
    flags = {name: getattr(arguments, name) for name in TrainConfig.model_fields}
    settings = gather(arguments.config, flags, os.environ, lambda: _usual_recipe(arguments.data))
    for sentence in settings.overruled:
        note(sentence)
    config = settings.config
    chosen_device(config)  # raises, where the machine has no such device
    refuse_foreign_folder(arguments.out)
    if arguments.onnx:
        refuse_without_packages()
    records: Path = arguments.records or arguments.out.with_name(f"{arguments.out.name}-run")
    _refuse_inside(arguments.out, records, arguments.checkpoint)
    with progress_bars() as bars:
        data = _read_data(arguments.data, config, records, bars)
        version = data.folder.fingerprint
        saved = None
        if arguments.resume:
            saved = resume.read(records / PROGRESS_FILE, config, version)
            note(_resuming(saved, records), bars)
        with tracked_run(
            arguments.tracking_uri, experiment=config.name, run_id=saved.run_id if saved else None
        ) as tracked:
            tracked.log_parameters(_parameters(config, data))
            if commit := git_commit(Path.cwd()):
                tracked.log_commit(commit)
            training = _Training(arguments, config, data, tracked, records, started, saved)
            best = training.run(bars)
            finished, artifact = _finish(arguments, config, data, best, training.curves)
            written = write_records(records, finished)
            tracked.log_metrics(metrics_of(finished))
            tracked.log_records(records, written)
            tracked.log_artifact(artifact.folder, artifact.sha256, version)
    judged = finished.judged
    return {
        "artifact": str(arguments.out),
        "sha256": artifact.sha256,
        "classes": list(data.folder.classes),
        "images": dict(finished.images),
        "left_out": len(data.report.left_out),
        "best_epoch": best.number,
        "validation_accuracy": best.validation.accuracy,
        "test_accuracy": judged.after.accuracy,
        "test_accuracy_interval": list(judged.after.interval),
        "calibration_error": calibration_error(judged.after),
        "records": str(records),
        "data_version": version,
        "run_id": tracked.run_id,
        "tracking_uri": arguments.tracking_uri,
        "seconds": round(time.monotonic() - training.started, 1),
    }


def _usual_recipe(root: Path) -> str:
    """The recipe for these images; said where it is not the one that `--help` describes."""
    side = usual_side(root)
    recipe = recipes.usual(side)
    if recipe != recipes.USUAL:
        note(f"recipe {recipe}: the images have {side} pixels on a side; --recipe names another")
    return recipe


def _refuse_inside(out: Path, *others: Path | None) -> None:
    """The artifact's folder is replaced whole, so nothing else that is written may lie in it."""
    for path in others:
        if path is not None and path.resolve().is_relative_to(out.resolve()):
            raise ConfigError(
                f"{path} lies in {out}, which holds the artifact and nothing else: name another"
                " place for it"
            )


def _resuming(saved: resume.Saved | None, records: Path) -> str:
    if saved is None:
        return f"nothing to resume in {records}: the training begins anew"
    return f"resuming after epoch {saved.progress.number}, by {records / PROGRESS_FILE}"


class _Training:
    """The loop with what stands around it: a bar, the curves, and the progress on disk."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        config: TrainConfig,
        data: _Data,
        tracked: TrackedRun,
        records: Path,
        started: float,
        saved: resume.Saved | None,
    ) -> None:
        self.arguments, self.config, self.data = arguments, config, data
        self.tracked, self.records, self.saved = tracked, records, saved
        self.curves = saved.curves if saved else ()
        self.started = started - (saved.seconds if saved else 0)

    def run(self, bars: Bars) -> Epoch:
        """Trains to the end and returns the best epoch."""
        task = bars.add_task("epochs", total=self.config.epochs, note="")
        if self.saved:
            bars.update(task, advance=self.saved.progress.number)
            for curve in self.curves:  # the kill may have come before, or the server forgotten it
                self.tracked.log_curve(curve)
            self.keep_checkpoint(self.saved.progress.best)

        def on_epoch(epoch: Epoch, progress: Progress) -> None:
            self.keep(epoch, progress)
            text = f"loss {epoch.train_loss:.4f}, validation {epoch.validation.accuracy:.2%}"
            bars.update(task, advance=1, note=text)

        return train(
            self.config,
            self.data.folder.classes,
            training=self.data.splits[Split.TRAIN].images,
            validation=self.data.splits[Split.VALIDATION].images,
            on_epoch=on_epoch,
            resumed=self.saved.progress if self.saved else None,
        )

    def keep(self, epoch: Epoch, progress: Progress) -> None:
        """Writes down what the epoch gave: first to the disk, then to the tracking server."""
        curve = resume.Curve(
            number=epoch.number,
            train_loss=epoch.train_loss,
            train_accuracy=epoch.train_accuracy,
            validation_loss=epoch.validation.loss,
            validation_accuracy=epoch.validation.accuracy,
            at=time.time_ns() // 1_000_000,
        )
        self.curves = (*self.curves, curve)
        seconds = time.monotonic() - self.started
        saved = resume.Saved(progress, self.curves, self.tracked.run_id, seconds)
        version = self.data.folder.fingerprint
        resume.save(self.records / PROGRESS_FILE, saved, self.config, version)
        if epoch.best:
            self.keep_checkpoint(epoch)
        self.tracked.log_curve(curve)

    def keep_checkpoint(self, best: Epoch) -> None:
        """Writes the best weights so far, where that is asked for."""
        if self.arguments.checkpoint:
            state = fold(best.state, temperature(best.validation))
            description = _description(self.config, self.data.folder.classes)
            save_checkpoint(self.arguments.checkpoint, state, description)


def _read_data(root: Path, config: TrainConfig, records: Path, bars: Bars) -> _Data:
    """Reads the images, and says and writes down what is left out, before anything is refused."""
    folder = scan(root)
    spec = InputSpec(height=config.size, width=config.size)
    parts = split(
        folder,
        validation_percent=config.validation_percent,
        test_percent=config.test_percent,
    )
    splits = {
        part: load_with_bar(folder, samples, spec, bars, part) for part, samples in parts.items()
    }
    found = report(folder, [one for loaded in splits.values() for one in loaded.findings])
    note_left_out(found, bars)
    found.write(records / REPORT_FILE)
    for part, loaded in splits.items():
        refuse_missing_class(folder, part, loaded.kept)
    return _Data(folder, splits, found)


def _finish(
    arguments: argparse.Namespace,
    config: TrainConfig,
    data: _Data,
    best: Epoch,
    curves: tuple[resume.Curve, ...],
) -> tuple[Finished, Artifact]:
    """Calibrates on the validation images, judges on the test images, writes the artifact."""
    classes, test = data.folder.classes, data.splits[Split.TEST]
    plain = _description(config, classes)
    by = temperature(best.validation)
    before = evaluate(build_model(plain, best.state, "the model"), test.images, plain.input)
    judged = Calibrated(by, before, scaled(before, by))
    metrics: dict[str, float | int] = {
        "test_accuracy": round(judged.after.accuracy, 6),
        "test_images": judged.after.images,
        "test_calibration_error": round(calibration_error(judged.after), 6),
    }
    description = plain.model_copy(update={"metrics": metrics})
    state = fold(best.state, by)
    write_artifact(arguments.out, state, description, with_onnx=arguments.onnx)
    artifact = read_artifact(arguments.out)
    finished = Finished(
        config=config,
        description=description,
        sha256=artifact.sha256,
        data=data.report,
        images={str(part): len(loaded.images) for part, loaded in data.splits.items()},
        curves=curves,
        best=best.number,
        judged=judged,
        test=test.images,
        samples=test.kept,
    )
    return finished, artifact


def _parameters(config: TrainConfig, data: _Data) -> dict[str, object]:
    """What is logged as the run's parameters."""
    return config.model_dump() | {
        "channels": ",".join(map(str, config.channels)),
        "chosen_device": str(chosen_device(config)),
        "classes": ",".join(data.folder.classes),
        "data_version": data.folder.fingerprint,
        "left_out": len(data.report.left_out),
        **{f"{part}_images": len(loaded.images) for part, loaded in data.splits.items()},
    }


def _description(config: TrainConfig, classes: tuple[str, ...]) -> Description:
    """model.json, without any figures yet."""
    return Description(
        name=config.name,
        architecture=Architecture(channels=config.channels, depth=config.depth),
        classes=classes,
        input=InputSpec(height=config.size, width=config.size),
    )
