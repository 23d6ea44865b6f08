"""Copying from claims and local folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from model_server.artifact import digest
from tests.server.artifacts import make_artifact
from tests.server.fetching import Fetching


@pytest.fixture
def claim(fetching: Fetching, artifact: Path, tmp_path: Path) -> Path:
    """A mounted claim named `models` that holds an artifact in `cats-dogs/3`."""
    root = tmp_path / "claims"
    shutil.copytree(artifact, root / "models" / "cats-dogs" / "3")
    fetching.set(PVC_ROOT=root)
    return root / "models"


@pytest.mark.parametrize("path", ["cats-dogs/3", "cats-dogs/3/"])
def test_a_folder_of_a_claim_is_copied(claim: Path, artifact: Path, fetching: Fetching, path: str):
    assert fetching(f"pvc://models/{path}", digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)
    assert digest(claim / "cats-dogs" / "3") == digest(artifact)


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file:{}", "{}/../{name}"])
def test_a_local_folder_is_copied(artifact: Path, fetching: Fetching, form: str):
    assert fetching(form.format(artifact, name=artifact.name), digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


def test_a_relative_folder_and_escaped_characters_are_understood(
    fetching: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_artifact(tmp_path / "cats dogs")
    monkeypatch.chdir(tmp_path)
    assert fetching(f"file://{tmp_path}/cats%20dogs", digest(folder)) == 0
    shutil.rmtree(fetching.out)
    assert fetching("./cats dogs", digest(folder)) == 0


@pytest.mark.parametrize(
    ("uri", "status", "sentence"),
    [
        ("pvc://other/cats-dogs/3", 2, "The claim of pvc://other/cats-dogs/3 is not mounted at"),
        ("pvc://models/cats-dogs/4", 4, "pvc://models/cats-dogs/4 is not there"),
        ("pvc://models/cats-dogs/3/model.json", 4, "there is no folder at"),
        ("pvc://models/../models/cats-dogs/3", 3, "which is no path below a folder"),
        ("pvc://models/cats-dogs/../../other", 3, "which is no path below a folder"),
        ("pvc://models/cats-dogs//3", 3, "which is no path below a folder"),
        ("pvc://models/cats-dogs\\3", 3, "which is no path below a folder"),
        ("pvc://../models", 2, "names no folder: write pvc://CLAIM/PATH"),
        ("pvc:///models", 2, "names no folder"),
        ("pvc://models", 2, "names no folder"),
        ("file://host/model", 2, "names no folder"),
        ("file:model", 2, "names no folder"),
        ("file:///a%00b", 2, "no path has a zero byte"),
        ("/no/such/folder", 4, "/no/such/folder is not there"),
        (f"file:///{'a' * 300}", 2, "aaa cannot be a folder (File name too long): correct the URI"),
    ],
)
def test_what_cannot_be_copied_ends_with_a_sentence(
    claim: Path, fetching: Fetching, uri: str, status: int, sentence: str
):
    assert fetching(uri) == status
    assert sentence in fetching.message
    assert fetching.left == []


@pytest.mark.parametrize("target", ["/etc/hostname", "model.json", "/etc"])
def test_a_link_in_the_folder_is_refused(claim: Path, fetching: Fetching, target: str):
    (claim / "cats-dogs" / "3" / "more").symlink_to(target)
    assert fetching("pvc://models/cats-dogs/3") == 3
    assert "holds 'more', which is a link" in fetching.message
    assert fetching.left == []


def test_a_loop_of_links_is_no_folder(fetching: Fetching, tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    assert fetching(f"file://{tmp_path}/loop") == 4
    assert "there is no folder at" in fetching.message


def test_a_link_on_the_way_to_the_folder_is_refused(
    claim: Path, artifact: Path, fetching: Fetching
):
    (claim / "latest").symlink_to(artifact.parent)
    assert fetching(f"pvc://models/latest/{artifact.name}") == 3
    assert "leads through the link" in fetching.message


def test_a_pipe_is_refused_and_not_waited_for(claim: Path, fetching: Fetching):
    os.mkfifo(claim / "cats-dogs" / "3" / "pipe")
    assert fetching("pvc://models/cats-dogs/3") == 3
    assert "holds 'pipe', which is a link, a device" in fetching.message


def test_more_bytes_than_the_limit_end_with_3(claim: Path, fetching: Fetching):
    fetching.set(MAX_ARTIFACT_BYTES="1000")
    assert fetching("pvc://models/cats-dogs/3") == 3
    assert "has more than 1000 bytes, the most that is fetched" in fetching.message


def test_a_folder_is_not_copied_into_itself(artifact: Path, fetching: Fetching, tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    fetching.out = folder / "model"
    assert fetching(str(folder), digest(artifact)) == 2
    assert "would be copied into itself" in fetching.message
