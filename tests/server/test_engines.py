"""The engines, and how one of them is chosen: faithful first, then fast."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_server import choosing, made_pictures
from model_server.artifact import Input
from model_server.errors import EngineUnavailable
from model_server.openvino_engine import has_bfloat16
from model_server.picture_files import judge
from model_server.preprocessing import FullDecoder, Preprocessor
from model_server.torch_engine import PixelNetwork, TorchEngine

SPEC = Input(height=24, width=32, mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))
ENGINES = ["torch", "onnxruntime", "openvino"] + (["openvino-bf16"] if has_bfloat16() else [])


class Strange(nn.Module):
    """No architecture of the server's: a branch, a group norm, two poolings, another activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=2)
        self.norm = nn.GroupNorm(2, 8)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.head = nn.Linear(16, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        branch = nn.functional.gelu(self.norm(self.first(pictures)))
        joined = branch + self.second(branch).sigmoid()
        features = torch.cat([joined.mean((2, 3)), joined.amax((2, 3))], 1)
        logits: Tensor = self.head(features)
        return logits


class Sharpness(nn.Module):
    """Tells sharp pictures from soft ones, and hardly any two are alike to it."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(3, 3, 3, groups=3, bias=False)
        kernel = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
        self.edges.weight = nn.Parameter(kernel.expand(3, 1, 3, 3).clone())
        self.middle = nn.Parameter(torch.zeros(()))

    def measure(self, pictures: Tensor) -> Tensor:
        return self.edges(pictures).abs().mean((1, 2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        above = 100 * (self.measure(pictures) / self.middle - 1)
        return torch.stack([above, -above], 1)


@pytest.fixture(scope="module")
def steady() -> nn.Module:
    """Its answers change little with its input."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Strange().eval()


@pytest.fixture(scope="module")
def nervous() -> nn.Module:
    """Undecided about one of the drawn pictures, and sure about the slightest change of it."""
    network = Sharpness().eval()
    jpeg = made_pictures.jpegs(SPEC, 1, 10**6)[0]
    pixels = FullDecoder(SPEC)(jpeg, judge(jpeg, 10**6))[np.newaxis]
    with torch.no_grad():
        tensor = torch.from_numpy(Preprocessor(SPEC).normalise(pixels))
        network.middle.copy_(network.measure(tensor)[0])
    return network


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_made_of_any_module_answers_as_eager_torch_does(name: str, steady: nn.Module):
    chosen = choosing.choose(steady, SPEC, engine=name, decoding="full")
    pixels = made_pictures.pixels(SPEC, 3)
    rows = chosen.engine.classify(pixels)
    expected = TorchEngine(steady, SPEC).classify(pixels)
    assert rows.dtype == np.float32
    assert rows.shape == (3, 3)
    assert np.abs(rows - expected).max() < (0.01 if name.endswith("bf16") else 1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4  # the rows are not all the same
    tensor = Preprocessor(SPEC).normalise(pixels)
    assert np.abs(chosen.engine.predict(tensor) - expected).max() < 1e-6
    assert chosen.engine.name.startswith(name.removesuffix("-bf16"))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_engine_computes_in_the_thread_that_calls_it(name: str):
    """Handed over to threads of its own, a prediction waits for two more turns of the kernel's."""
    network = nn.Sequential(nn.Conv2d(3, 256, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    engine = choosing.choose(network, SPEC, engine=name, decoding="full").engine
    pixels = made_pictures.pixels(SPEC, 20)
    engine.classify(pixels)
    before, mine = time.process_time(), time.thread_time()
    for _ in range(20):
        engine.classify(pixels)
    assert time.thread_time() - mine > 0.8 * (time.process_time() - before)


def test_the_fastest_faithful_engine_is_chosen_and_large_jpegs_are_reduced(steady: nn.Module):
    chosen = choosing.choose(steady, SPEC)
    assert chosen.decoder.name == "reduced"
    assert chosen.engine.classify(made_pictures.pixels(SPEC, 1)).shape == (1, 3)


def test_a_decoding_that_changes_this_models_answers_is_refused(nervous: nn.Module):
    chosen = choosing.choose(nervous, SPEC, engine="torch")
    assert chosen.decoder.name == "full"
    with pytest.raises(EngineUnavailable, match=r"reduced scale: it changes .* set DECODING"):
        choosing.choose(nervous, SPEC, engine="torch", decoding="reduced")


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16 of its own")
def test_bfloat16_is_refused_where_it_changes_this_models_answers(nervous: nn.Module):
    with pytest.raises(EngineUnavailable, match=r"cannot be used: it (changes|gives)"):
        choosing.choose(nervous, SPEC, engine="openvino-bf16", decoding="full")


def test_an_engine_that_is_not_installed_is_named_with_what_to_install(
    steady: nn.Module, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(choosing, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"install cv-factory\[server-openvino\]"):
        choosing.choose(steady, SPEC, engine="openvino")
    assert choosing.choose(steady, SPEC).engine.name.startswith("torch")


def test_bfloat16_is_the_processors_own_only_where_the_kernel_lists_it(tmp_path: Path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx512f avx512_bf16\n")
    assert has_bfloat16(cpuinfo)
    cpuinfo.write_text("model name\t: amx_bf16 of its own\nflags\t\t: fpu avx512f avx512bw\n")
    assert not has_bfloat16(cpuinfo)
    assert not has_bfloat16(tmp_path / "nowhere")


def test_a_number_where_the_reference_has_none_is_no_small_difference():
    expected = np.array([[0.5, 0.5], [0.1, 0.9]], np.float32)
    assert choosing.largest_difference(expected, expected + 0.003) == pytest.approx(0.003, abs=1e-6)
    broken = np.array([[0.5, np.nan], [0.1, 0.9]], np.float32)
    assert choosing.largest_difference(expected, broken) == np.inf
    assert choosing.largest_difference(broken, broken) == 0.0


def test_another_label_counts_unless_the_reference_is_undecided():
    expected = np.array([[0.502, 0.498], [0.51, 0.49], [0.2, 0.8]], np.float32)
    found = np.array([[0.498, 0.502], [0.49, 0.51], [0.2, 0.8]], np.float32)
    assert choosing.other_labels(expected, found) == 1


def test_the_drawn_pictures_are_the_same_every_time_and_above_the_sizes_that_are_reduced():
    jpegs = made_pictures.jpegs(SPEC, 4, 10**6)
    assert jpegs == made_pictures.jpegs(SPEC, 4, 10**6)
    assert len(set(jpegs)) == 4
    assert made_pictures.jpegs(SPEC, 4, 1000) == []


def test_the_exported_network_normalises_as_the_preprocessing_does():
    pixels = made_pictures.pixels(SPEC, 2)

    class Mean(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return pictures.mean((2, 3))

    expected = torch.from_numpy(Preprocessor(SPEC).normalise(pixels)).mean((2, 3)).softmax(1)
    found = PixelNetwork(Mean(), SPEC)(torch.from_numpy(pixels))
    assert torch.allclose(found, expected, atol=1e-6)


def test_full_decoding_is_the_reference(steady: nn.Module):
    chosen = choosing.choose(steady, SPEC, engine="torch", decoding="full")
    assert isinstance(chosen.decoder, FullDecoder)
