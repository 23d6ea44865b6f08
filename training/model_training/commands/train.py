"""`model-train train`: from a folder of images to an artifact and the run that explains it."""

from __future__ import annotations

import argparse
import time

from rich.progress import Progress

from model_training.artifact import build_model, refuse_foreign_folder, write_artifact
from model_training.checkpoint import save_checkpoint
from model_training.config import TrainConfig
from model_training.data import ImageFolder, Images, Split, scan, split
from model_training.evaluate import Evaluation, evaluate
from model_training.manifest import Architecture, Description, InputSpec
from model_training.report import Summary, load_with_bar, progress_bars
from model_training.tracking import TrackedRun, tracked_run
from model_training.train import Epoch, train


def run(arguments: argparse.Namespace) -> Summary:
    """Trains, judges on the test images, writes the artifact and logs all of it."""
    started = time.monotonic()
    flags = {name: getattr(arguments, name) for name in TrainConfig.model_fields}
    config = TrainConfig.of(**{name: value for name, value in flags.items() if value is not None})
    refuse_foreign_folder(arguments.out)
    spec = InputSpec(height=config.size, width=config.size)
    with progress_bars() as bars:
        folder = scan(arguments.data)
        images = _load_splits(folder, config, spec, bars)
        with tracked_run(arguments.tracking_uri, experiment=config.name) as run:
            run.log_parameters(_parameters(config, folder, images))
            best = _train_with_progress(arguments, config, folder, images, run, bars)
            model = build_model(_description(config, folder), best.state, "the trained model")
            judged = evaluate(model, images[Split.TEST], spec)
            description = _description(config, folder, judged)
            sha256 = write_artifact(arguments.out, best.state, description)
            run.log_evaluation(judged, folder.classes)
            run.log_artifact(arguments.out, sha256, folder.fingerprint)
    return {
        "artifact": str(arguments.out),
        "sha256": sha256,
        "classes": list(folder.classes),
        "images": {str(part): len(images[part]) for part in Split},
        "best_epoch": best.number,
        "validation_accuracy": best.validation.accuracy,
        "test_accuracy": judged.accuracy,
        "data_version": folder.fingerprint,
        "run_id": run.run_id,
        "tracking_uri": arguments.tracking_uri,
        "seconds": round(time.monotonic() - started, 1),
    }


def _load_splits(
    folder: ImageFolder, config: TrainConfig, spec: InputSpec, bars: Progress
) -> dict[Split, Images]:
    parts = split(
        folder,
        validation_percent=config.validation_percent,
        test_percent=config.test_percent,
    )
    return {
        part: load_with_bar(folder, samples, spec, bars, part) for part, samples in parts.items()
    }


def _train_with_progress(
    arguments: argparse.Namespace,
    config: TrainConfig,
    folder: ImageFolder,
    images: dict[Split, Images],
    run: TrackedRun,
    bars: Progress,
) -> Epoch:
    task = bars.add_task("epochs", total=config.epochs, note="")

    def on_epoch(epoch: Epoch) -> None:
        run.log_epoch(epoch)
        if epoch.best and arguments.checkpoint:
            save_checkpoint(arguments.checkpoint, epoch.state, _description(config, folder))
        note = f"loss {epoch.train_loss:.4f}, validation {epoch.validation.accuracy:.2%}"
        bars.update(task, advance=1, note=note)

    return train(
        config,
        folder.classes,
        training=images[Split.TRAIN],
        validation=images[Split.VALIDATION],
        on_epoch=on_epoch,
    )


def _parameters(
    config: TrainConfig, folder: ImageFolder, images: dict[Split, Images]
) -> dict[str, object]:
    """What is logged as the run's parameters."""
    return config.model_dump() | {
        "channels": ",".join(map(str, config.channels)),
        "classes": ",".join(folder.classes),
        "data_version": folder.fingerprint,
        **{f"{part}_images": len(images[part]) for part in Split},
    }


def _description(
    config: TrainConfig, folder: ImageFolder, judged: Evaluation | None = None
) -> Description:
    """model.json, with the test figures once they are known."""
    metrics: dict[str, float | int] = {}
    if judged:
        metrics = {"test_accuracy": round(judged.accuracy, 6), "test_images": judged.images}
    return Description(
        name=config.name,
        architecture=Architecture(channels=config.channels),
        classes=folder.classes,
        input=InputSpec(height=config.size, width=config.size),
        metrics=metrics,
    )
