from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from model_training.cli import main
from tests.photographs import ARCHIVE, archive

PER_CLASS = 400


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some real photographs of cats and dogs, 32 x 32 pixels, as class folders."""
    packed_in = archive()
    if packed_in is None:
        pytest.skip(f"there is no {ARCHIVE}: set CV_FACTORY_SHARED_DATA to the folder with it")
    out = tmp_path_factory.mktemp("photographs")
    wanted = {f"{number:04d}.jpg" for number in range(PER_CLASS)}
    with tarfile.open(packed_in) as packed:
        members = [member for member in packed if Path(member.name).name in wanted]
        packed.extractall(out, members, filter="data")
    return out / "train"


def test_real_photographs_are_learnt_by_the_same_command(
    photographs: Path, database: str, capsys: pytest.CaptureFixture[str]
):
    command = ["train", "--data", str(photographs), "--out", "artifact", "--size", "32"]
    assert (
        main([*command, "--recipe", "drawings", "--epochs", "4", "--threads", "1", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["validation_accuracy"] > 0.55


def test_small_photographs_get_the_recipe_for_them_unless_another_is_named(
    photographs: Path, database: str, capsys: pytest.CaptureFixture[str]
):
    command = ["train", "--data", str(photographs), "--out", "artifact", "--channels", "3,4,8"]
    assert main([*command, "--epochs", "1", "--threads", "1"]) == 0
    assert "recipe photographs: the images have 32 pixels on a side" in capsys.readouterr().err
    manifest = json.loads(Path("artifact", "model.json").read_text())
    assert (manifest["input"]["height"], manifest["architecture"]["depth"]) == (32, 1)
