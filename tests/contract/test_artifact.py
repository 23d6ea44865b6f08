"""What training writes is what the server reads: digest, weights and logits, bit by bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import model_server.artifact as served
import model_training.artifact as trained
from model_server.architectures import SimpleCNN as ServedCNN
from model_server.artifact import Input
from model_server.torch_engine import TorchEngine
from model_server.weights import load_network
from model_training.manifest import Architecture, Description, InputSpec
from model_training.model import SimpleCNN as TrainedCNN

CHANNELS = (3, 8, 16, 24)
CLASSES = ("cat", "dog", "Katze größer")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module", params=[0, 2], ids=["plain", "residual"])
def depth(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def trained_network(depth: int) -> TrainedCNN:
    """A network whose every weight and statistic differs from its initial value."""
    torch.manual_seed(3)
    network = TrainedCNN(CHANNELS, CLASSES, depth)
    network.train()(torch.randn(8, 3, 40, 48))
    return network.eval()


@pytest.fixture(scope="module")
def artifact(
    trained_network: TrainedCNN, depth: int, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An artifact as the training package writes it."""
    folder = tmp_path_factory.mktemp("contract") / "artifact"
    description = Description(
        name="cats-dogs",
        architecture=Architecture(channels=CHANNELS, depth=depth),
        classes=CLASSES,
        input=InputSpec(height=40, width=48, mean=MEAN, std=STD),
        metrics={"test_accuracy": 0.5, "test_images": 3},
    )
    trained.write_artifact(folder, trained_network.state_dict(), description)
    return folder


def test_both_packages_and_the_documented_pipeline_give_the_same_digest(artifact: Path):
    pipeline = "find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.check_output(["bash", "-c", pipeline], cwd=artifact, text=True).split()[0]
    assert served.digest(artifact) == printed
    assert trained.digest(artifact) == printed


def test_the_server_verifies_and_reads_what_training_writes(artifact: Path):
    verified = served.verify(artifact, trained.digest(artifact))
    assert verified.manifest.classes == CLASSES
    assert verified.manifest.architecture.channels == CHANNELS
    assert verified.manifest.input == Input(height=40, width=48, mean=MEAN, std=STD)


def test_both_networks_give_the_same_logits_for_the_same_weights(
    artifact: Path, trained_network: TrainedCNN
):
    network = load_network(served.verify(artifact))
    assert isinstance(network, ServedCNN)
    batch = torch.randn(5, 3, 40, 48)
    with torch.inference_mode():
        assert torch.equal(network(batch), trained_network(batch))


def test_the_servers_probabilities_are_the_softmax_of_the_trained_networks_logits(
    artifact: Path, trained_network: TrainedCNN
):
    verified = served.verify(artifact)
    engine = TorchEngine(load_network(verified), verified.manifest.input)
    batch = torch.randn(2, 3, 40, 48)
    with torch.inference_mode():
        expected = trained_network(batch).softmax(1).numpy()
    assert np.allclose(engine.predict(batch.numpy()), expected, rtol=0, atol=1e-6)
