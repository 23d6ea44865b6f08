from __future__ import annotations

from pathlib import Path

import torch

from model_training.data import Sample, scan
from model_training.evaluate import Evaluation
from model_training.plots import confusion_picture, contact_sheet, curves_picture
from model_training.resume import Curve


def of_counts(*rows: tuple[int, ...]) -> Evaluation:
    """An evaluation with this confusion matrix."""
    pairs = [
        (true, p) for true, row in enumerate(rows) for p, n in enumerate(row) for _ in range(n)
    ]
    logits = torch.nn.functional.one_hot(torch.tensor([p for _, p in pairs]), len(rows)).float()
    return Evaluation(logits, torch.tensor([true for true, _ in pairs]))


def test_the_confusion_picture_shows_every_count_and_class():
    figure = confusion_picture(of_counts((5, 0, 1), (2, 7, 0), (0, 0, 9)), ("a", "b", "c"))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == list("501270009")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_the_curves_show_every_epoch_of_both_splits():
    curves = [Curve(n, 1 / n, 0.5, 2 / n, 0.6, at=0) for n in (1, 2, 3)]
    for axes, first in zip(curves_picture(curves, 2).axes, ([1.0, 2.0], [0.5, 0.6]), strict=True):
        train, validation, best = axes.get_lines()
        assert [train.get_ydata()[0], validation.get_ydata()[0]] == first
        assert list(train.get_xdata()) == [1, 2, 3]
        assert set(best.get_xdata()) == {2}


def test_the_contact_sheet_has_what_is_wrong_and_the_surest_first(pictures: Path):
    folder = scan(pictures)
    samples: tuple[Sample, ...] = (*folder.samples[:2], *folder.samples[-2:])
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 2.0]])
    judged = Evaluation(logits, torch.tensor([0, 0, 1, 1]))
    sheet = contact_sheet(pictures, samples, judged, folder.classes)
    assert sheet
    assert sheet.width == 2 * 100
    nothing_wrong = Evaluation(logits, judged.predicted)
    assert contact_sheet(pictures, samples, nothing_wrong, folder.classes) is None


def test_more_classes_than_can_be_read_are_drawn_without_names_and_counts(tmp_path: Path):
    judged = of_counts(
        *(tuple(int(row == column) for column in range(1100)) for row in range(1100))
    )
    classes = tuple(f"$c_{number}" for number in range(1100))
    figure = confusion_picture(judged, classes)
    assert not figure.axes[0].texts
    figure.savefig(tmp_path / "confusion_matrix.png", dpi=110)


def test_a_class_may_be_called_as_mathematics_are_written(tmp_path: Path):
    figure = confusion_picture(of_counts((1, 0), (0, 1)), ("$x_{", "$y^"))
    figure.savefig(tmp_path / "confusion_matrix.png")
