"""A run's records: the folder that explains what came out, and that the tracking server gets whole.

Beside the artifact, not in it: the artifact is what serves, and its digest is of nothing else.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from model_training.card import CARD_FILE, Calibrated, model_card
from model_training.check import REPORT_FILE, DataReport
from model_training.config import TrainConfig
from model_training.data import Images, Sample
from model_training.environment import environment, requirements
from model_training.figures import per_class, summary
from model_training.manifest import Description
from model_training.mlflow_client import signature
from model_training.pictures import normalize
from model_training.plots import (
    calibration_picture,
    confusion_picture,
    contact_sheet,
    curves_picture,
    roc_picture,
)
from model_training.predictions import PREDICTIONS_FILE, predictions, write_predictions
from model_training.resume import Curve

EVALUATION_FILE: Final = "evaluation.json"
MISCLASSIFIED_FILE: Final = "misclassified.png"
DPI: Final = 110


@dataclass(frozen=True)
class Finished:
    """A run that has come to its end, with all that is written down of it."""

    config: TrainConfig
    description: Description
    sha256: str
    data: DataReport
    images: Mapping[str, int]
    """How many there are in each split."""
    curves: Sequence[Curve]
    best: int
    """The number of the best epoch."""
    judged: Calibrated
    """The test images."""
    test: Images
    samples: Sequence[Sample]
    """The files of the test images, in their order."""


def write_records(folder: Path, run: Finished) -> tuple[str, ...]:
    """Writes everything and returns the files' names; what stands there under them is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".records-") as temporary:
        fresh = Path(temporary)
        _write(fresh, run)
        names = tuple(sorted(path.name for path in fresh.iterdir()))
        for name in names:
            (fresh / name).replace(folder / name)
    if MISCLASSIFIED_FILE not in names:
        (folder / MISCLASSIFIED_FILE).unlink(missing_ok=True)
    return names


def _write(folder: Path, run: Finished) -> None:
    classes, after = run.description.classes, run.judged.after
    run.data.write(folder / REPORT_FILE)
    _json(folder / EVALUATION_FILE, figures_of(run))
    matrix = {"classes": classes, "rows_true_columns_predicted": after.confusion}
    _json(folder / "confusion_matrix.json", matrix)
    _json(folder / "environment.json", environment())
    (folder / "requirements.txt").write_text(requirements(), encoding="utf-8")
    write_predictions(folder / PREDICTIONS_FILE, predictions(after, run.samples, classes))
    card = model_card(run.description, run.config, run.data, run.images, run.judged, run.sha256)
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
    _pictures(folder, run)
    _example(folder, run)


def figures_of(run: Finished) -> dict[str, Any]:
    """The figures on the test images, before and after the calibration."""
    figures = summary(run.judged.after, run.description.classes)
    before = summary(run.judged.before, run.description.classes)
    return figures | {
        "calibration_error_before": before["calibration_error"],
        "temperature": run.judged.temperature,
        "best_epoch": run.best,
    }


def metrics_of(run: Finished) -> dict[str, float]:
    """The same as the tracking server's flat metrics."""
    figures = figures_of(run)
    flat = {
        f"test_{name}": figures[name]
        for name in ("accuracy", "calibration_error", "calibration_error_before", "images", "loss")
    }
    flat["test_accuracy_low"], flat["test_accuracy_high"] = figures["accuracy_interval"]
    flat["temperature"], flat["best_epoch"] = figures["temperature"], run.best
    for row in per_class(run.judged.after, run.description.classes):
        name = "".join(letter if letter.isalnum() else "_" for letter in row.name)
        flat |= {
            f"test_precision_{name}": row.precision,
            f"test_recall_{name}": row.recall,
            f"test_auc_{name}": row.auc,
        }
    return flat


def _pictures(folder: Path, run: Finished) -> None:
    classes, judged = run.description.classes, run.judged
    figures: dict[str, Figure] = {
        "curves": curves_picture(run.curves, run.best),
        "confusion_matrix": confusion_picture(judged.after, classes),
        "roc": roc_picture(judged.after, classes),
        "calibration": calibration_picture(judged.before, judged.after),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=DPI)
    sheet = contact_sheet(run.data.root, run.samples, judged.after, classes)
    if sheet:
        sheet.save(folder / MISCLASSIFIED_FILE)


def _example(folder: Path, run: Finished) -> None:
    """What the network takes and gives: by type, and the first test image."""
    spec, classes = run.description.input, run.description.classes
    _json(folder / "signature.json", signature((3, spec.height, spec.width), len(classes)))
    example = normalize(run.test.pixels[:1], spec).numpy()
    np.save(folder / "input_example.npy", example, allow_pickle=False)
    np.save(folder / "output_example.npy", run.judged.after.logits[:1].numpy(), allow_pickle=False)


def _json(path: Path, content: object) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
