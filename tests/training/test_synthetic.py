from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from model_training.artifact import build_model, digest
from model_training.config import TrainConfig
from model_training.data import Images, Split, load, scan, split
from model_training.errors import ConfigError, DataError
from model_training.evaluate import evaluate
from model_training.manifest import Architecture, Description, InputSpec
from model_training.synthetic import picture, write_pictures
from model_training.train import train

SPEC = InputSpec(height=64, width=64)


def write(folder: Path, count: int, *, seed: int = 0) -> Path:
    write_pictures(folder, count, seed=seed, on_image=lambda: None)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path):
    first = write(tmp_path / "first", 6)
    assert digest(first) == digest(write(tmp_path / "again", 6))
    other = contents(write(tmp_path / "other", 6, seed=1))
    assert not set(contents(first).values()) & set(other.values())


def test_a_smaller_data_set_is_the_beginning_of_a_larger_one(tmp_path: Path):
    smaller, larger = contents(write(tmp_path / "4", 4)), contents(write(tmp_path / "9", 9))
    assert smaller.items() < larger.items()


def test_half_of_the_pictures_are_cats_and_all_are_drawn_differently(tmp_path: Path):
    drawn = contents(write(tmp_path / "raw", 10))
    assert sorted(name.split("/")[0] for name in drawn) == ["cat"] * 5 + ["dog"] * 5
    assert len(set(drawn.values())) == 10


def test_writing_again_changes_nothing(tmp_path: Path):
    folder = write(tmp_path / "raw", 4)
    before = digest(folder)
    assert digest(write(folder, 4)) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"cat/mine\.jpg"):
        write(tmp_path, 4)
    assert [path.name for path in tmp_path.rglob("*.jpg")] == ["mine.jpg"]


def test_fewer_pictures_than_classes_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="at least 2"):
        write(tmp_path, 1)


def test_pictures_are_128_pixels_wide_and_in_colour():
    drawn = picture("dog", seed=0, index=0)
    assert (drawn.size, drawn.mode) == ((128, 128), "RGB")


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, Images]:
    folder = scan(write(tmp_path_factory.mktemp("synthetic"), 1000))
    parts = split(folder, validation_percent=10, test_percent=10)
    return {part: load(folder, samples, SPEC).images for part, samples in parts.items()}


@pytest.mark.parametrize("penalty", [1e-1, 1e-2, 1e-3])
def test_logistic_regression_on_the_pixels_stays_below_75_percent(
    splits: dict[Split, Images], penalty: float
):
    def pixels(images: Images) -> torch.Tensor:
        flat = images.pixels.flatten(1).float() / 255
        return flat - flat.mean(dim=1, keepdim=True)

    classifier = nn.Linear(3 * 64 * 64, 1)
    nn.init.zeros_(classifier.weight)
    optimizer = torch.optim.LBFGS(
        classifier.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )
    inputs, targets = pixels(splits[Split.TRAIN]), splits[Split.TRAIN].labels.float()

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = classifier(inputs).squeeze(1)
        value = nn.functional.binary_cross_entropy_with_logits(logits, targets)
        value = value + penalty * classifier.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.inference_mode():
        unseen = [splits[Split.VALIDATION], splits[Split.TEST]]
        answers = torch.cat([classifier(pixels(images)).squeeze(1) > 0 for images in unseen])
        labels = torch.cat([images.labels for images in unseen])
        learnt = ((classifier(inputs).squeeze(1) > 0) == targets).float().mean()
    assert learnt > 0.6, "the baseline itself did not learn"
    assert (answers == labels).float().mean() < 0.75


def test_the_network_gets_at_least_99_percent_right(splits: dict[Split, Images]):
    config = TrainConfig(threads=1)
    best = train(
        config,
        ("cat", "dog"),
        training=splits[Split.TRAIN],
        validation=splits[Split.VALIDATION],
        on_epoch=lambda epoch, progress: None,
    )
    description = Description(
        name="cats-dogs",
        architecture=Architecture(channels=config.channels),
        classes=("cat", "dog"),
        input=SPEC,
    )
    judged = evaluate(build_model(description, best.state, "here"), splits[Split.TEST], SPEC)
    assert judged.accuracy >= 0.99
