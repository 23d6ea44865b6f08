from __future__ import annotations

from pathlib import Path

import pytest

from model_training.config import TrainConfig
from model_training.errors import ConfigError
from model_training.recipes import RECIPES
from model_training.settings import gather


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text("prepare: {synthetic: 10}\ntrain: {epochs: 3, channels: [3, 8]}\n")
    return path


def test_the_file_wins_over_flags_and_flags_over_the_environment(file: Path):
    environment = {
        "MODEL_TRAIN_EPOCHS": "5",
        "MODEL_TRAIN_SEED": "5",
        "MODEL_TRAIN_SIZE": "32",
        "EPOCHS": "6",
    }
    settings = gather(file, {"epochs": 4, "seed": 4, "size": None}, environment)
    config = settings.config
    assert (config.epochs, config.seed, config.size) == (3, 4, 32)
    assert config.batch_size == TrainConfig().batch_size


def test_what_is_overruled_is_said(file: Path):
    settings = gather(file, {"epochs": 4, "channels": (3, 8)}, {"MODEL_TRAIN_CHANNELS": "3,8"})
    assert settings.overruled == (f"epochs is 3 by {file}, not 4 by the flags",)


def test_text_of_the_environment_becomes_numbers_and_lists():
    environment = {"MODEL_TRAIN_CHANNELS": "3,8,16", "MODEL_TRAIN_FLIP": "false"}
    config = gather(None, {}, environment).config
    assert (config.channels, config.flip) == ((3, 8, 16), False)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_gives_what_nobody_has_set(recipe: str):
    config = gather(None, {"recipe": recipe, "epochs": 2}, {}).config
    assert config == TrainConfig(**{**RECIPES[recipe], "recipe": recipe, "epochs": 2})


def test_the_usual_recipe_is_asked_only_where_nobody_names_one(file: Path):
    assert gather(file, {}, {}, lambda: "photographs").config.cutmix > 0
    for named in ({"recipe": "drawings"}, {}):
        environment = {} if named else {"MODEL_TRAIN_RECIPE": "drawings"}
        config = gather(file, named, environment, lambda: pytest.fail("nobody asked")).config
        assert (config.recipe, config.cutmix) == ("drawings", 0)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epochs: 0", r"epochs: .* greater than or equal to 1 \(given 0\)"),
        ("epoch: 3", "epoch: Extra inputs are not permitted"),
        ("- epochs", "must map settings to values"),
        ("train: 3", "must map settings to values"),
        ("epochs: [", "is neither YAML nor JSON"),
        ("recipe: magic", "there is no recipe 'magic'; there are drawings, photographs"),
    ],
)
def test_a_file_that_cannot_work_is_one_sentence(tmp_path: Path, content: str, sentence: str):
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=sentence) as refused:
        gather(path, {}, {})
    assert "\n" not in str(refused.value)


def test_a_file_that_is_absent_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yaml: No such file"):
        gather(tmp_path / "nowhere.yaml", {}, {})


def test_a_misspelt_name_in_the_environment_is_refused():
    with pytest.raises(ConfigError, match="epoch: Extra inputs"):
        gather(None, {}, {"MODEL_TRAIN_EPOCH": "3"})
