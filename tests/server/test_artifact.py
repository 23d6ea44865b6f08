from __future__ import annotations

import json
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
    assert verified.weights == artifact / "model.safetensors"


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
