from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from model_training.config import TrainConfig
from model_training.errors import ConfigError


def test_the_defaults_are_valid():
    assert TrainConfig.of() == TrainConfig()


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().epochs = 3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epochs": 0}, r"epochs: .* greater than or equal to 1 \(given 0\)"),
        ({"batch_size": 1}, r"batch_size: .* greater than or equal to 2 \(given 1\)"),
        ({"learning_rate": 0.0}, r"learning_rate: .* greater than 0 \(given 0\.0\)"),
        ({"seed": -1}, r"seed: .*\(given -1\)"),
        ({"test_percent": 0}, r"test_percent: .*\(given 0\)"),
        ({"threads": 0}, r"threads: .*\(given 0\)"),
        ({"name": "cats and dogs"}, r"name: .*\(given 'cats and dogs'\)"),
        ({"channels": (16, 32)}, r"channels starts with 3 .* not 16,32"),
        ({"channels": (3,)}, r"channels starts with 3 .* not 3"),
        ({"size": 8, "channels": (3, 8, 8, 8, 8)}, r"4 blocks halve a picture of 8 pixels to no"),
        ({"size": 8, "channels": (3, 8, 8, 8), "depth": 1}, r"3 blocks leave one pixel of a pic"),
        ({"epoch": 3}, r"epoch: Extra inputs are not permitted"),
    ],
)
def test_a_run_that_cannot_work_is_refused_with_the_setting_and_its_value(
    values: dict[str, Any], sentence: str
):
    with pytest.raises(ConfigError, match=sentence):
        TrainConfig.of(**values)
