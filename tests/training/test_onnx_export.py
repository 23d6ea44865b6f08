from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from model_training import onnx_export
from model_training.artifact import digest, read_artifact, write_artifact
from model_training.errors import ArtifactError
from model_training.manifest import Architecture, Description, InputSpec
from model_training.model import SimpleCNN

DESCRIPTION = Description(
    name="cats-dogs",
    architecture=Architecture(channels=(3, 4, 8), depth=1),
    classes=("cat", "dog"),
    input=InputSpec(height=16, width=24),
)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = SimpleCNN((3, 4, 8), DESCRIPTION.classes, 1)
    model.train()(torch.randn(8, 3, 16, 24))
    return model.state_dict()


def test_onnx_runtime_answers_as_the_network_for_any_number_of_images(
    state: dict[str, torch.Tensor], tmp_path: Path
):
    write_artifact(tmp_path / "artifact", state, DESCRIPTION, with_onnx=True)
    session = onnxruntime.InferenceSession(tmp_path / "artifact" / "model.onnx")
    model = read_artifact(tmp_path / "artifact").model
    for count in (1, 7):
        images = torch.randn(count, 3, 16, 24)
        (logits,) = session.run(None, {"images": images.numpy()})
        with torch.inference_mode():
            assert np.allclose(logits, model(images).numpy(), rtol=0, atol=1e-4)


def test_the_same_model_gives_the_same_bytes_and_the_digest_covers_them(
    state: dict[str, torch.Tensor], tmp_path: Path
):
    plain = write_artifact(tmp_path / "plain", state, DESCRIPTION)
    first = write_artifact(tmp_path / "first", state, DESCRIPTION, with_onnx=True)
    again = write_artifact(tmp_path / "again", state, DESCRIPTION, with_onnx=True)
    assert first == again == digest(tmp_path / "first") != plain


def test_a_file_that_answers_otherwise_is_not_exported(
    state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    honest = onnx_export.torch.onnx.export

    def another_model(model: SimpleCNN, *arguments: object, **options: object) -> object:
        torch.nn.init.constant_(model.classifier.bias[:1], 3.0)
        result = honest(model, *arguments, **options)
        torch.nn.init.constant_(model.classifier.bias[:1], 0.0)
        return result

    monkeypatch.setattr(onnx_export.torch.onnx, "export", another_model)
    with pytest.raises(ArtifactError, match="probabilities differ from torch's by up to"):
        write_artifact(tmp_path / "artifact", state, DESCRIPTION, with_onnx=True)
    assert not (tmp_path / "artifact").exists()
