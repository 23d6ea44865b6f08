from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model_training.data import Images
from model_training.evaluate import Evaluation, evaluate
from model_training.manifest import InputSpec
from model_training.model import SimpleCNN

SPEC = InputSpec(height=4, width=4)


class ByBrightness(SimpleCNN):
    """Says class 1 of a bright picture and class 0 of a dark one, with certainty 0.9."""

    def forward(self, images: Tensor) -> Tensor:
        sure = torch.logit(torch.tensor(0.9))
        bright = images.mean(dim=(1, 2, 3)) > 0
        return torch.stack([torch.zeros(len(images)), torch.where(bright, sure, -sure)], dim=1)


def pictures(brightness: list[int], labels: list[int]) -> Images:
    pixels = torch.tensor(brightness, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    return Images(pixels, torch.tensor(labels))


def test_it_counts_every_image_by_its_true_and_its_predicted_class():
    images = pictures([0, 10, 255, 250, 240, 230], labels=[0, 0, 0, 1, 1, 1])
    judged = evaluate(ByBrightness((3, 1), ("dark", "bright")), images, SPEC)
    assert judged.confusion == ((2, 1), (0, 3))
    assert judged.images == 6
    assert judged.accuracy == pytest.approx(5 / 6)


def test_the_loss_is_the_mean_cross_entropy_over_batches_of_any_size():
    images = pictures([255] * 300, labels=[1] * 299 + [0])
    judged = evaluate(ByBrightness((3, 1), ("dark", "bright")), images, SPEC)
    right, wrong = -torch.log(torch.tensor(0.9)), -torch.log(torch.tensor(0.1))
    assert judged.loss == pytest.approx(float((299 * right + wrong) / 300), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_judged_in_evaluation_mode_and_left_as_it_was(training: bool):
    torch.manual_seed(0)
    model = SimpleCNN((3, 4), ("a", "b")).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = evaluate(model, pictures([0, 99, 200], [0, 1, 1]), SPEC)
    assert model.training == training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    again = evaluate(model.eval(), pictures([0, 99, 200], [0, 1, 1]), SPEC)
    assert torch.equal(again.logits, first.logits)


def judged_of(right: int, wrong: int) -> Evaluation:
    logits = torch.tensor([[1.0, 0.0]] * right + [[0.0, 1.0]] * wrong)
    return Evaluation(logits, torch.zeros(right + wrong, dtype=torch.int64))


def test_accuracy_is_the_share_that_is_right():
    assert judged_of(18, 2).accuracy == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [
        (90, 10, 0.8256, 0.9448),
        (20, 0, 0.8389, 1.0),
        (0, 20, 0.0, 0.1611),
        (877, 120, 0.8580, 0.8984),
    ],
)
def test_the_interval_of_the_accuracy_is_wilsons(right: int, wrong: int, low: float, high: float):
    assert judged_of(right, wrong).interval == pytest.approx((low, high), abs=1e-4)
