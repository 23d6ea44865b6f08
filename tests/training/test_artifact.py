from __future__ import annotations

import errno
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from model_training.artifact import digest, read_artifact, refuse_foreign_folder, write_artifact
from model_training.checkpoint import read_checkpoint, save_checkpoint
from model_training.errors import ArtifactError
from model_training.manifest import Architecture, Description, InputSpec
from model_training.model import SimpleCNN

DESCRIPTION = Description(
    name="cats-dogs",
    architecture=Architecture(channels=(3, 4, 8)),
    classes=("cat", "Hündin"),
    input=InputSpec(height=16, width=24),
    metrics={"test_accuracy": 0.975, "test_images": 40},
)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return SimpleCNN((3, 4, 8), DESCRIPTION.classes).state_dict()


@pytest.fixture
def artifact(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    write_artifact(tmp_path / "artifact", state, DESCRIPTION)
    return tmp_path / "artifact"


def test_the_digest_is_what_the_documented_pipeline_prints(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z.bin").write_bytes(b"1")
    (tmp_path / "a-b").write_bytes(b"2")  # sorts before a/z by bytes, after it by path parts
    (tmp_path / "B").write_bytes(b"3")
    (tmp_path / "ä").write_bytes(b"")
    pipeline = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.check_output(["bash", "-c", pipeline], cwd=tmp_path, text=True)
    assert digest(tmp_path) == printed.split()[0]


def test_the_digest_changes_with_a_name_and_with_a_content(artifact: Path):
    before = digest(artifact)
    manifest = artifact / "model.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    changed = digest(artifact)
    manifest.rename(artifact / "renamed.json")
    assert len({before, changed, digest(artifact)}) == 3


def test_model_json_is_what_the_contract_says_to_the_byte(artifact: Path):
    weights = hashlib.sha256((artifact / "model.safetensors").read_bytes()).hexdigest()
    expected = {
        "format_version": 1,
        "name": "cats-dogs",
        "architecture": {"name": "SimpleCNN", "channels": [3, 4, 8]},
        "classes": ["cat", "Hündin"],
        "input": {"height": 16, "width": 24, "mean": [0.5] * 3, "std": [0.5] * 3},
        "weights": {"file": "model.safetensors", "sha256": weights},
        "metrics": {"test_accuracy": 0.975, "test_images": 40},
    }
    text = json.dumps(expected, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert (artifact / "model.json").read_text(encoding="utf-8") == text
    assert sorted(path.name for path in artifact.iterdir()) == ["model.json", "model.safetensors"]


def test_what_was_written_is_what_is_read(artifact: Path, state: dict[str, torch.Tensor]):
    read = read_artifact(artifact)
    assert read.sha256 == digest(artifact)
    assert read.manifest.classes == DESCRIPTION.classes
    assert not read.model.training
    assert all(torch.equal(value, state[name]) for name, value in read.model.state_dict().items())


def test_the_same_model_gives_the_same_digest(
    artifact: Path, tmp_path: Path, state: dict[str, torch.Tensor]
):
    shuffled = {name: state[name] for name in reversed(state)}
    assert write_artifact(tmp_path / "again", shuffled, DESCRIPTION) == digest(artifact)


def test_another_user_may_read_it(artifact: Path):
    """A container serves it as a user of its own."""
    assert artifact.stat().st_mode & 0o005 == 0o005
    assert all(path.stat().st_mode & 0o004 for path in artifact.iterdir())


def test_an_artifact_is_replaced_whole_and_nothing_is_left_beside_it(
    artifact: Path, state: dict[str, torch.Tensor]
):
    before = digest(artifact)
    state["classifier.bias"] = state["classifier.bias"] + 1
    assert write_artifact(artifact, state, DESCRIPTION) == digest(artifact) != before
    assert [path.name for path in artifact.parent.iterdir()] == ["artifact"]


def test_a_folder_with_other_files_is_never_replaced(
    artifact: Path, state: dict[str, torch.Tensor]
):
    (artifact / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds other files \(thesis\.tex\)"):
        write_artifact(artifact, state, DESCRIPTION)
    assert (artifact / "thesis.tex").read_text() == "years of work"


def test_weights_that_were_changed_are_refused_with_both_digests(artifact: Path):
    weights = artifact / "model.safetensors"
    expected = hashlib.sha256(weights.read_bytes()).hexdigest()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    actual = hashlib.sha256(content).hexdigest()
    with pytest.raises(ArtifactError, match=f"SHA-256 {actual} and model.json says {expected}"):
        read_artifact(artifact)


def rewrite(artifact: Path, **changes: Any) -> None:
    manifest = json.loads((artifact / "model.json").read_text())
    (artifact / "model.json").write_text(json.dumps(manifest | changes))


def test_weights_that_do_not_fit_the_description_are_refused(artifact: Path):
    rewrite(artifact, classes=["cat", "dog", "horse"])
    with pytest.raises(ArtifactError, match="does not fit its description"):
        read_artifact(artifact)


def test_weights_that_are_no_safetensors_are_refused(artifact: Path):
    (artifact / "model.safetensors").write_bytes(b"nonsense")
    sha256 = hashlib.sha256(b"nonsense").hexdigest()
    rewrite(artifact, weights={"file": "model.safetensors", "sha256": sha256})
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        read_artifact(artifact)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classes": ["cat"]}, "classes: .*at least 2 items"),
        ({"format_version": 2}, r"format_version: .*\(given 2\)"),
        ({"weights": {"file": "../../etc/passwd", "sha256": "0" * 64}}, r"weights\.file: "),
        ({"run_id": "1"}, "run_id: Extra inputs"),
    ],
)
def test_a_model_json_that_breaks_the_contract_is_refused_with_the_field(
    artifact: Path, changes: dict[str, Any], sentence: str
):
    rewrite(artifact, **changes)
    with pytest.raises(ArtifactError, match=sentence):
        read_artifact(artifact)


def test_a_folder_without_model_json_is_no_artifact(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"no artifact: it has no model\.json"):
        read_artifact(tmp_path)


def test_a_checkpoint_keeps_weights_and_description(tmp_path: Path, state: dict[str, torch.Tensor]):
    save_checkpoint(tmp_path / "deep" / "best_model.pt", state, DESCRIPTION)
    read, description = read_checkpoint(tmp_path / "deep" / "best_model.pt")
    assert description == DESCRIPTION
    assert all(torch.equal(value, state[name]) for name, value in read.items())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["best_model.pt"]


class _Explosive:
    """What a stranger's checkpoint may hold: unpickling it runs a program."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


def test_a_checkpoint_with_code_is_refused_and_the_code_is_not_run(tmp_path: Path):
    torch.save({"state_dict": _Explosive(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(ArtifactError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path):
    torch.save(SimpleCNN((3, 4), ("a", "b")), tmp_path / "model.pt")
    with pytest.raises(ArtifactError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "model.pt")


def test_a_bare_state_dict_is_refused_because_nothing_says_its_classes(
    tmp_path: Path, state: dict[str, torch.Tensor]
):
    torch.save(state, tmp_path / "bare.pt")
    with pytest.raises(ArtifactError, match="neither its classes nor its preprocessing"):
        read_checkpoint(tmp_path / "bare.pt")


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]):
    save_checkpoint(tmp_path / "half.pt", state, DESCRIPTION)
    content = (tmp_path / "half.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="is refused: it is damaged"):
        read_checkpoint(tmp_path / "half.pt")


def test_safetensors_hold_the_names_of_the_state(artifact: Path, state: dict[str, torch.Tensor]):
    assert set(safetensors.torch.load_file(artifact / "model.safetensors")) == set(state)


def test_an_artifact_that_cannot_be_replaced_stays_as_it_was(
    artifact: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
):
    before = digest(artifact)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "artifact" and self != artifact:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="busy"):
        write_artifact(artifact, state, DESCRIPTION)
    assert digest(artifact) == before
    assert [path.name for path in artifact.parent.iterdir()] == [artifact.name]


def test_a_volume_of_its_own_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Path, "is_mount", lambda self: self == tmp_path)
    with pytest.raises(
        ArtifactError, match=r"is a volume .* name a folder in it, such as .*/artifact"
    ):
        refuse_foreign_folder(tmp_path)
    refuse_foreign_folder(tmp_path / "artifact")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_link_in_an_artifact_is_refused_since_its_digest_would_not_hold_it(
    artifact: Path, tmp_path: Path, name: str
):
    (artifact / name).rename(tmp_path / name)
    (artifact / name).symlink_to(tmp_path / name)
    with pytest.raises(ArtifactError, match=r"is a link: .* copy the file there"):
        read_artifact(artifact)
