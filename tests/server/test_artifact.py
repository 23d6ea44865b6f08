from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from model_server.artifact import digest, verify
from model_server.errors import ArtifactRefused, DigestMismatch, ManifestRefused, WeightsRefused
from tests.server.artifacts import make_artifact


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_good_artifact_is_verified_with_its_digest_and_classes(artifact: Path):
    verified = verify(artifact, digest(artifact))
    assert verified.digest == digest(artifact)
    assert verified.manifest.classes == ("cat", "dog")
    assert verified.read_weights() == (artifact / "model.safetensors").read_bytes()


def test_the_digest_is_what_the_documented_shell_pipeline_prints(tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    (folder / "notes").mkdir()
    (folder / "notes" / "Zebra.txt").write_text("z")
    for number in range(20):
        (folder / f"notes-{number}").write_text(str(number))
    pipeline = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.check_output(["bash", "-c", pipeline], cwd=folder, text=True)
    assert digest(folder) == printed.split()[0]


def test_another_digest_is_refused_naming_both(artifact: Path):
    with pytest.raises(DigestMismatch) as refusal:
        verify(artifact, "0" * 64)
    assert digest(artifact) in str(refusal.value)
    assert "0" * 64 in str(refusal.value)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "extra.txt", ".hidden"])
def test_a_change_of_any_file_changes_the_digest(tmp_path: Path, name: str):
    folder = make_artifact(tmp_path / "artifact")
    before = digest(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert digest(folder) != before


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactRefused, match=r"There is no artifact folder at .*nowhere"):
        verify(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactRefused, match="is empty"):
        verify(tmp_path)


def test_a_bare_state_dict_without_model_json_is_refused(tmp_path: Path):
    folder = make_artifact(tmp_path, weights_name="best_model.pt")
    (folder / "model.json").unlink()
    with pytest.raises(ManifestRefused, match=r"no model\.json.*a bare state dict is refused"):
        verify(folder)


def test_a_symlink_in_the_artifact_is_refused(tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    (folder / "more").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactRefused, match="'more', which is not a regular file"):
        verify(folder)


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "folder"])
def test_a_link_in_the_place_of_any_part_is_refused(tmp_path: Path, name: str):
    folder = make_artifact(tmp_path / "artifact")
    (folder / "folder").mkdir()
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ArtifactRefused, match=f"'{name}', which is not a regular file"):
        verify(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ArtifactRefused, match="'pipe', which is not a regular file"):
        verify(folder)


def test_a_folder_may_be_reached_through_a_link(artifact: Path, tmp_path: Path):
    (tmp_path / "current").symlink_to(artifact)
    assert verify(tmp_path / "current", digest(artifact)).read_weights()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, f"let the user {os.geteuid()} and its groups read it, by the pod's fsGroup"),
        (errno.EIO, "check the volume, and start again"),
        (errno.ENOENT, "it changed while it was read; write nothing to a folder that is served"),
    ],
)
@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_file_that_cannot_be_read_is_refused_with_its_name_and_a_remedy(
    artifact: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, remedy: str
):
    real = os.open

    def failing(path: Any, *arguments: Any, **options: Any) -> int:
        if path == name:
            raise OSError(number, os.strerror(number), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(ArtifactRefused) as refusal:
        verify(artifact)
    assert f"{artifact / name} cannot be read ({os.strerror(number)}): {remedy}" in str(
        refusal.value
    )


def test_weights_that_change_after_they_were_verified_are_refused(tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    verified = verify(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(WeightsRefused, match="changed after it was verified"):
        verified.read_weights()


def test_weights_that_became_a_link_or_went_away_after_they_were_verified_are_refused(
    tmp_path: Path,
):
    folder = make_artifact(tmp_path / "artifact")
    verified = verify(folder)
    weights = folder / "model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match="cannot be read"):
        verified.read_weights()
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match="it changed while it was read"):
        verified.read_weights()


def test_the_manifest_is_parsed_from_the_bytes_that_were_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_artifact(tmp_path / "artifact")
    asked, real = digest(folder), hashlib.file_digest

    def swapping(file: Any, algorithm: Any) -> Any:
        found = real(file, algorithm)
        if os.path.sameopenfile(file.fileno(), manifest.fileno()):
            edit_manifest(folder, name="another")
        return found

    monkeypatch.setattr(hashlib, "file_digest", swapping)
    with (folder / "model.json").open() as manifest:
        assert verify(folder, asked).manifest.name == "cats-dogs"
    assert "another" in (folder / "model.json").read_text()


def test_a_file_name_with_a_line_break_is_refused(tmp_path: Path):
    folder = make_artifact(tmp_path / "artifact")
    (folder / "a\nb").write_text("")
    with pytest.raises(ArtifactRefused, match="whose name a digest cannot carry"):
        verify(folder)


def test_missing_weights_are_refused(tmp_path: Path):
    folder = make_artifact(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsRefused, match="which the artifact does not hold"):
        verify(folder)


def test_weights_that_are_not_those_of_model_json_are_refused(tmp_path: Path):
    folder = make_artifact(tmp_path)
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(WeightsRefused, match="the weights were changed after the export"):
        verify(folder)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"format_version": 2}, "format_version"),
        ({"architecture": {"name": "ResNet", "channels": [3, 8]}}, "architecture.name"),
        ({"architecture": {"name": "SimpleCNN", "channels": [1, 8]}}, "architecture"),
        ({"architecture": {"name": "SimpleCNN", "channels": [3]}}, "architecture.channels"),
        ({"architecture": {"name": "SimpleCNN", "channels": [3, 0]}}, "architecture.channels.1"),
        ({"classes": ["cat"]}, "classes"),
        ({"classes": ["cat", "cat"]}, "a class is listed twice"),
        ({"classes": ["cat", ""]}, "classes.1"),
        ({"input": {"height": 32, "width": 32, "mean": [0.5, 0.5, 0.5]}}, "input.std"),
        (
            {"input": {"height": 32, "width": 32, "mean": [0, 0, 0], "std": [1, 0, 1]}},
            "input.std.1",
        ),
        (
            {"input": {"height": 3, "width": 32, "mean": [0, 0, 0], "std": [1, 1, 1]}},
            "each side needs 4 pixels",
        ),
        (
            {
                "input": {"height": 4096, "width": 4096, "mean": [0, 0, 0], "std": [1, 1, 1]},
                "architecture": {"name": "SimpleCNN", "channels": [3, 17]},
            },
            "one picture would take more than 1 GiB in one layer",
        ),
        ({"weights": {"file": "../model.safetensors", "sha256": "0" * 64}}, "weights.file"),
        ({"weights": {"file": "model.pkl", "sha256": "0" * 64}}, "weights.file"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_model_json_that_cannot_be_served_is_refused_naming_the_place(
    tmp_path: Path, change: dict[str, Any], place: str
):
    folder = make_artifact(tmp_path)
    edit_manifest(folder, **change)
    with pytest.raises(ManifestRefused) as refusal:
        verify(folder)
    assert place in str(refusal.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", '{"format_version": 1}'])
def test_a_model_json_that_is_no_manifest_is_refused(tmp_path: Path, text: str):
    folder = make_artifact(tmp_path)
    (folder / "model.json").write_text(text, encoding="latin-1")
    with pytest.raises(
        ManifestRefused, match=r"model\.json is refused at .*export the model again"
    ):
        verify(folder)
