"""Golden tensors: training and serving turn the same bytes into the same pixels, now and later.

A change of the preprocessing fails here and names its side. Both sides change together, with the
reference in golden.py, or not at all: a model is served by the preprocessing it was trained with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_server.artifact import Input
from model_server.preprocessing import Preprocessor, decode
from model_training import data, pictures
from model_training.manifest import InputSpec
from tests.contract import golden

SERVED = Input(height=golden.HEIGHT, width=golden.WIDTH, mean=golden.MEAN, std=golden.STD)
TRAINED = InputSpec(height=golden.HEIGHT, width=golden.WIDTH, mean=golden.MEAN, std=golden.STD)
# Training reads such files in threads, and says so on the terminal.
palettes_are_read = pytest.mark.filterwarnings(
    "ignore:Palette images with Transparency:UserWarning"
)


def served(name: str) -> golden.Tensor:
    """The server's way: from the body's bytes."""
    return Preprocessor(SERVED)(decode((golden.FOLDER / name).read_bytes(), max_pixels=10**6))


def trained(name: str) -> golden.Tensor:
    """Training's way for one picture."""
    with Image.open(golden.FOLDER / name) as picture:
        return pictures.evaluation_transform(picture, TRAINED).numpy()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, golden.Tensor]:
    """Training's way for a folder, as an evaluation reads it: N x 3 x H x W, by file name."""
    root = tmp_path_factory.mktemp("golden")
    for index, name in enumerate(golden.PICTURES):
        folder = root / ("cat" if index % 2 else "dog")
        folder.mkdir(exist_ok=True)
        shutil.copy(golden.FOLDER / name, folder)
    scanned = data.scan(root)
    images = data.load(scanned, scanned.samples, TRAINED).images
    tensors = pictures.normalize(images.pixels, TRAINED).numpy()
    names = [Path(sample.path).name for sample in scanned.samples]
    return dict(zip(names, tensors, strict=True))


def hold(side: str, name: str, tensor: golden.Tensor) -> None:
    """Fail, naming the side, when the tensor is not the golden one."""
    expected = golden.golden_tensors()[name]
    assert tensor.dtype == np.float32, f"{side}: {tensor.dtype}"
    assert tensor.shape == expected.shape, f"{side}: {tensor.shape}"
    distance = np.abs(tensor - expected)
    wrong = int((distance > golden.tolerance(name)).sum())
    assert not wrong, (
        f"{side} makes other pixels of {name} than the golden tensor: {wrong} of {tensor.size}"
        f" values differ, by up to {distance.max():.3g}"
    )


@pytest.mark.parametrize("name", golden.PICTURES)
def test_the_server_makes_the_golden_tensor(name: str):
    hold("the server", name, served(name))


@palettes_are_read
@pytest.mark.parametrize("name", golden.PICTURES)
def test_trainings_evaluation_makes_the_golden_tensor(name: str):
    hold("training's evaluation_transform", name, trained(name))


@palettes_are_read
@pytest.mark.parametrize("name", golden.PICTURES)
def test_trainings_data_set_makes_the_golden_tensor(name: str, dataset: dict[str, golden.Tensor]):
    hold("training's data set", name, dataset[name])


@palettes_are_read
@pytest.mark.parametrize("name", golden.PICTURES)
def test_both_sides_agree_to_the_last_bit_whatever_the_decoder(name: str):
    assert np.array_equal(served(name), trained(name))


def test_the_golden_tensors_are_what_the_contract_says():
    assert golden.stale() == []


def test_no_two_golden_tensors_are_alike():
    tensors = list(golden.golden_tensors().values())
    assert len({tensor.tobytes() for tensor in tensors}) == len(golden.PICTURES)
