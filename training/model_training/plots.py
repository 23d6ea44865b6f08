"""The pictures of a run: curves, confusion matrix, ROC, calibration, and what it got wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps

from model_training.calibration import calibration_error, reliability
from model_training.data import Sample
from model_training.evaluate import Evaluation
from model_training.figures import per_class, roc
from model_training.resume import Curve

SHEET_AT_MOST: Final = 48
"""Pictures on a contact sheet: those that the model was most sure of come first."""
COUNTED_AT_MOST: Final = 40
"""Classes whose names and counts can be read in a picture."""
THUMBNAIL: Final = 96  # pixels
CAPTION: Final = 26  # pixels below each
COLUMNS: Final = 8


def curves_picture(curves: Sequence[Curve], best: int) -> Figure:
    """Loss and accuracy over the epochs; a line stands at the best one."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = [curve.number for curve in curves]
    for place, name in enumerate(("loss", "accuracy"), start=1):
        axes = figure.add_subplot(1, 2, place, xlabel="epoch", title=name)
        for part in ("train", "validation"):
            values = [getattr(curve, f"{part}_{name}") for curve in curves]
            axes.plot(epochs, values, marker=".", label=part)
        axes.axvline(best, color="grey", linewidth=0.8, linestyle="--")
        axes.legend()
    return figure


def confusion_picture(evaluation: Evaluation, classes: tuple[str, ...]) -> Figure:
    """The confusion matrix, with its counts unless it is too large; rows are the true classes."""
    side = 2.5 + 0.6 * min(len(classes), COUNTED_AT_MOST)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(
        xlabel="predicted", ylabel="true", title=f"accuracy {evaluation.accuracy:.2%}"
    )
    axes.imshow(evaluation.confusion, cmap="Blues", vmin=0)
    if len(classes) > COUNTED_AT_MOST:
        return figure
    axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 4 else 0)
    axes.set_yticks(range(len(classes)), classes)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    darkest = max(max(row) for row in evaluation.confusion)
    for true, row in enumerate(evaluation.confusion):
        for predicted, count in enumerate(row):
            colour = "white" if count > darkest / 2 else "black"
            axes.text(predicted, true, str(count), ha="center", va="center", color=colour)
    return figure


def roc_picture(evaluation: Evaluation, classes: tuple[str, ...]) -> Figure:
    """One ROC curve per class, against the rest."""
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel="false positive rate", ylabel="true positive rate")
    for label, figures in enumerate(per_class(evaluation, classes)):
        curve = roc(evaluation, label)
        axes.plot(
            curve.false_positive.numpy(),
            curve.true_positive.numpy(),
            label=f"{figures.name} {figures.auc:.4f}",
        )
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    if len(classes) <= COUNTED_AT_MOST:
        for text in axes.legend(title="area under the curve").get_texts():
            text.set_parse_math(False)
    return figure


def calibration_picture(before: Evaluation, after: Evaluation) -> Figure:
    """Accuracy over confidence, before and after the temperature; the diagonal is perfect."""
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel="confidence", ylabel="accuracy")
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for name, judged in (("before", before), ("after", after)):
        bins = reliability(judged)
        axes.plot(
            [one.confidence for one in bins],
            [one.accuracy for one in bins],
            marker="o",
            label=f"{name}: error {calibration_error(judged):.2%}",
        )
    axes.legend()
    return figure


def contact_sheet(
    root: Path, samples: Sequence[Sample], evaluation: Evaluation, classes: tuple[str, ...]
) -> Image.Image | None:
    """What the model got wrong, the surest first, with the true and the predicted class."""
    wrong = (~evaluation.correct).nonzero().flatten().tolist()
    if not wrong:
        return None
    sure = evaluation.probabilities.max(dim=1).values
    wrong.sort(key=lambda index: -sure[index].item())
    shown = wrong[:SHEET_AT_MOST]
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    cell = (THUMBNAIL + 4, THUMBNAIL + CAPTION)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    pen = ImageDraw.Draw(sheet)
    for place, index in enumerate(shown):
        left, top = place % COLUMNS * cell[0] + 2, place // COLUMNS * cell[1]
        with Image.open(root / samples[index].path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            thumbnail = ImageOps.pad(upright, (THUMBNAIL, THUMBNAIL), color="white")
        sheet.paste(thumbnail, (left, top))
        true, predicted = classes[samples[index].label], classes[evaluation.predicted[index]]
        pen.text((left, top + THUMBNAIL), f"is {true}", fill="black")
        text = f"{predicted} {sure[index].item():.0%}"
        pen.text((left, top + THUMBNAIL + CAPTION // 2), text, fill="firebrick")
    return sheet
