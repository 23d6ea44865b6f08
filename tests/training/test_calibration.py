from __future__ import annotations

import pytest
import torch

from model_training.calibration import calibration_error, fold, reliability, scaled, temperature
from model_training.evaluate import Evaluation
from model_training.model import SimpleCNN


def drawn(count: int, *, too_sure: float) -> Evaluation:
    """Labels that are drawn from the logits' own probabilities; the logits are then blown up."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 3, generator=random) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=random).squeeze(1)
    return Evaluation(logits * too_sure, labels)


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sure_the_model_was(too_sure: float):
    assert temperature(drawn(20_000, too_sure=too_sure)) == pytest.approx(too_sure, rel=0.05)


def test_the_error_is_small_after_and_large_before():
    judged = drawn(20_000, too_sure=3.0)
    after = scaled(judged, temperature(judged))
    assert calibration_error(judged) > 0.1
    assert calibration_error(after) < 0.015
    assert torch.equal(after.predicted, judged.predicted)


def test_the_folded_weights_give_the_scaled_logits():
    torch.manual_seed(0)
    model = SimpleCNN((3, 4, 8), ("a", "b"), depth=1).eval()
    images = torch.randn(6, 3, 16, 16)
    with torch.inference_mode():
        before = model(images)
        model.load_state_dict(fold(model.state_dict(), 1.7))
        torch.testing.assert_close(model(images), before / 1.7)


def test_a_model_that_gets_everything_right_is_not_made_sure_without_limit():
    judged = Evaluation(torch.tensor([[5.0, 0.0], [0.0, 5.0]] * 50), torch.tensor([0, 1] * 50))
    confidence = scaled(judged, temperature(judged)).probabilities.max(dim=1).values
    assert confidence.mean().item() == pytest.approx(101 / 102, abs=1e-4)


def test_the_error_is_the_mean_distance_of_confidence_and_accuracy():
    sure = torch.logit(torch.tensor(0.9)).item()
    logits = torch.tensor([[0.0, sure]] * 10 + [[0.0, 0.1]] * 10)
    judged = Evaluation(logits, torch.tensor([1] * 7 + [0] * 3 + [1] * 10))
    unsure = torch.tensor([0.0, 0.1], dtype=torch.float64).softmax(0)[1].item()
    assert calibration_error(judged) == pytest.approx((0.2 + (1 - unsure)) / 2, abs=1e-6)
    assert [one.images for one in reliability(judged)] == [10, 10]


def test_many_classes_and_few_images_make_a_model_no_less_sure_than_it_may_be():
    labels = torch.arange(200) % 20
    judged = Evaluation(torch.nn.functional.one_hot(labels, 20) * 8.0, labels)
    after = scaled(judged, temperature(judged))
    assert after.probabilities.max(dim=1).values.mean().item() == pytest.approx(201 / 202, abs=1e-4)
    assert calibration_error(after) < 0.01
