from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model_server.artifact import verify
from model_server.errors import WeightsRefused
from model_server.weights import load_network
from tests.server.artifacts import make_artifact, make_state


class LeavesAMark:
    """Unpickling this makes a folder: the harmless stand-in for code in a pickle."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self._path,)


@pytest.mark.parametrize("name", ["model.safetensors", "best_model.pt"])
def test_a_network_is_loaded_from_safetensors_and_from_a_state_dict(tmp_path: Path, name: str):
    network = load_network(verify(make_artifact(tmp_path, weights_name=name)))
    assert not network.training
    for key, value in make_state().items():
        assert torch.equal(network.state_dict()[key], value)


def test_a_pickle_is_refused_and_its_code_never_runs(tmp_path: Path):
    mark = tmp_path / "mark"
    content = pickle.dumps(LeavesAMark(mark))
    pickle.loads(content)
    assert mark.is_dir(), "the sample must be harmful where pickles are run"
    mark.rmdir()
    folder = make_artifact(
        tmp_path / "artifact",
        weights_name="best_model.pt",
        write_weights=lambda path: torch.save(LeavesAMark(mark), path),
    )
    with pytest.raises(WeightsRefused, match="pickled code is never run"):
        load_network(verify(folder))
    assert not mark.exists()


def test_a_pickled_module_is_refused(tmp_path: Path):
    folder = make_artifact(
        tmp_path,
        weights_name="best_model.pt",
        write_weights=lambda path: torch.save(torch.nn.Linear(2, 2), path),
    )
    with pytest.raises(WeightsRefused, match="pickled code is never run"):
        load_network(verify(folder))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
        ("best_model.pt", b""),
        ("best_model.pt", b"PK\x03\x04 not an archive"),
    ],
)
def test_unreadable_weights_are_refused(tmp_path: Path, name: str, content: bytes):
    folder = make_artifact(
        tmp_path, weights_name=name, write_weights=lambda path: path.write_bytes(content)
    )
    with pytest.raises(WeightsRefused, match=f"{name} (cannot be read as weights|holds more)"):
        load_network(verify(folder))


def test_a_file_of_something_else_than_a_state_dict_is_refused(tmp_path: Path):
    folder = make_artifact(
        tmp_path,
        weights_name="best_model.pt",
        write_weights=lambda path: torch.save([torch.zeros(1)], path),
    )
    with pytest.raises(WeightsRefused, match="is not a state dict of named tensors"):
        load_network(verify(folder))


def test_missing_and_unknown_weights_are_refused(tmp_path: Path):
    state = make_state()
    state["extra"] = state.pop("classifier.bias")
    with pytest.raises(
        WeightsRefused, match=r"classifier\.bias is missing \(1 missing, 1 unknown\)"
    ):
        load_network(verify(make_artifact(tmp_path, state=state)))


def test_weights_for_another_number_of_classes_are_refused(tmp_path: Path):
    folder = make_artifact(tmp_path, state=make_state(classes=3))
    with pytest.raises(
        WeightsRefused, match=r"classifier\.(weight|bias) is float32 3.*, but float32 2.* is needed"
    ):
        load_network(verify(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float):
    state = make_state()
    state["features.1.conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(
        WeightsRefused, match=r"NaN or infinite values in features\.1\.conv\.weight"
    ):
        load_network(verify(make_artifact(tmp_path, state=state)))


def test_a_server_needs_none_of_the_packages_that_its_image_leaves_out(tmp_path: Path):
    dockerfile = Path(__file__).resolve().parents[2] / "Dockerfile.server"
    (line,) = re.findall(r"rm -rf ((?:\w+ )+)isympy\.py", dockerfile.read_text())
    program = (
        "import sys; from pathlib import Path\n"
        f"for name in {line.split()}: sys.modules[name] = None\n"
        "from model_server.loading import load_model\n"
        "from model_server.settings import Settings\n"
        "from model_server.workers import Workers\n"
        f"settings = Settings(model_path=Path({str(make_artifact(tmp_path))!r}))\n"
        "workers = Workers(queue_size=1, threads=1)\n"
        "print(load_model(settings, workers).identity.name)\n"
        "workers.close()\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
