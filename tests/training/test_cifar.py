from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_training import cifar
from model_training.errors import DataError


def archive(path: Path, payload: bytes | None = None) -> str:
    """An archive laid out like CIFAR-10's, with two pictures of each class per batch."""
    with tarfile.open(path, "w:gz") as packed:
        for number, name in enumerate(cifar.BATCHES):
            labels = [*range(10), *range(10)]
            rows = np.random.default_rng(number).integers(0, 256, (20, 3072), dtype=np.uint8)
            content = payload or pickle.dumps({b"data": rows, b"labels": labels}, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    return path.as_uri()


def known(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(url.removeprefix("file://")).read_bytes()
    monkeypatch.setattr(cifar, "MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())


def test_cats_and_dogs_become_class_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = archive(tmp_path / "cifar.tar.gz")
    known(url, monkeypatch)
    cifar.write_photographs(tmp_path / "raw", url=url, on_image=lambda: None)
    files = sorted(path.parent.name for path in (tmp_path / "raw").rglob("*.png"))
    assert files == ["cat"] * 10 + ["dog"] * 10
    first = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)[3]
    with Image.open(tmp_path / "raw" / "cat" / "00000.png") as picture:
        assert np.array_equal(np.asarray(picture), first.reshape(3, 32, 32).transpose(1, 2, 0))


def test_without_the_internet_the_sentence_says_what_else_there_is(tmp_path: Path, free_port: int):
    url = f"http://127.0.0.1:{free_port}/cifar.tar.gz"
    with pytest.raises(DataError, match=r"cannot fetch .*needs the internet.*--synthetic N"):
        cifar.write_photographs(tmp_path / "raw", url=url, on_image=lambda: None)
    assert not (tmp_path / "raw").exists()


def test_another_file_is_refused_before_it_is_read(tmp_path: Path):
    url = archive(tmp_path / "cifar.tar.gz")
    with pytest.raises(DataError, match="is not CIFAR-10: its MD5 is"):
        cifar.write_photographs(tmp_path / "raw", url=url, on_image=lambda: None)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("was-run"),))


def test_no_code_in_the_archive_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    url = archive(tmp_path / "cifar.tar.gz", pickle.dumps(Malicious()))
    known(url, monkeypatch)
    with pytest.raises(DataError, match="it names pathlib"):
        cifar.write_photographs(tmp_path / "raw", url=url, on_image=lambda: None)
    assert not (tmp_path / "was-run").exists()


def test_a_folder_with_files_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="is not empty"):
        cifar.write_photographs(tmp_path, url="https://nowhere", on_image=lambda: None)


def test_what_is_interrupted_leaves_nothing_that_would_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    url = archive(tmp_path / "cifar.tar.gz")
    known(url, monkeypatch)
    seen: list[None] = []

    def interrupt() -> None:
        seen.append(None)
        if len(seen) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cifar.write_photographs(tmp_path / "raw", url=url, on_image=interrupt)
    assert list((tmp_path / "raw").iterdir()) == []
    cifar.write_photographs(tmp_path / "raw", url=url, on_image=lambda: None)
