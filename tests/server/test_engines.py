"""The engines, and how one of them is chosen: faithful first, then fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_server import choosing, made_pictures
from model_server.architectures import SimpleCNN
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


class With(nn.Module):
    """One operation on a convolution's result, and an average and a linear layer behind it."""

    def __init__(self, operation: Callable[[Tensor], Tensor], **convolution: Any) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, **convolution)
        self.operation = operation
        self.head = nn.Linear(6, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.head(self.operation(self.first(pictures)).mean(dim=(2, 3)))
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


@pytest.mark.parametrize("name", [*ENGINES, "ncnn"])
@pytest.mark.parametrize(("depth", "height", "width"), [(0, 24, 32), (1, 32, 32), (2, 33, 47)])
def test_every_engine_serves_the_architecture(name: str, depth: int, height: int, width: int):
    spec = SPEC.model_copy(update={"height": height, "width": width})
    network = trained_like(SimpleCNN([3, 8, 16, 24], 3, depth))
    engine = choosing.choose(network, spec, engine=name, decoding="full").engine
    pixels = made_pictures.pixels(spec, 4)
    expected = TorchEngine(network, spec).classify(pixels)
    rows = engine.classify(pixels)
    assert rows.dtype == np.float32
    assert np.abs(rows - expected).max() < (0.01 if name.endswith("bf16") else 1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-4
    tensor = Preprocessor(spec).normalise(pixels)
    assert np.abs(engine.predict(tensor) - expected).max() < 1e-6


def trained_like(network: nn.Module) -> nn.Module:
    """Weights and statistics as no fresh network has them: each changes its answers."""
    random = torch.Generator().manual_seed(3)
    for value in network.state_dict().values():
        if value.dtype == torch.float32:
            spread = torch.rand(value.shape, generator=random)
            value.copy_(
                0.5 + spread if value.ndim == 1 else 3 * (spread - 0.5) / value[0].numel() ** 0.5
            )
    return network.eval()


@pytest.mark.parametrize(
    ("network", "named"),
    [
        (Strange(), "GroupNorm"),
        (With(nn.Sigmoid()), "Sigmoid"),
        (With(nn.BatchNorm2d(6), groups=3), "Conv2d"),
        (With(nn.ReLU(), padding="same"), "Conv2d"),
        (With(nn.ReLU(), padding=1, padding_mode="reflect"), "Conv2d"),
        (With(lambda x: functional.max_pool2d(x, 2, padding=1)), "max_pool2d"),
        (With(lambda x: functional.max_pool2d(x, (2, 1))), "max_pool2d"),
        (With(lambda x: x + 1), "add"),
        (With(lambda x: x + x), "add"),
        (With(lambda x: x * x), "mul"),
        (With(lambda x: x.mean(dim=1, keepdim=True) + x), "mean"),
        (With(lambda x: x if x.sum() > 0 else -x), "torch.fx cannot follow"),
    ],
)
def test_a_network_that_is_not_written_for_ncnn_is_refused_by_the_operations_name(
    network: nn.Module, named: str
):
    with pytest.raises(EngineUnavailable, match=f"The engine ncnn cannot be used: {named}"):
        choosing.choose(network.eval(), SPEC, engine="ncnn", decoding="full")


def test_a_network_that_ncnn_does_not_serve_is_served_by_another_engine(steady: nn.Module):
    assert not choosing.choose(steady, SPEC, decoding="full").engine.name.startswith("ncnn")


@pytest.mark.parametrize(
    "operation",
    [
        nn.ReLU(),
        nn.BatchNorm2d(6),
        functional.relu,
        lambda x: functional.max_pool2d(x, 3),
        lambda x: functional.relu(x) + x,
        lambda x: functional.relu(functional.max_pool2d(x, 2)) + functional.max_pool2d(x, 2),
    ],
)
@pytest.mark.parametrize(
    "convolution",
    [{}, {"bias": False}, {"stride": (2, 1), "padding": (0, 2)}, {"dilation": (1, 2)}],
    ids=str,
)
def test_ncnn_computes_what_torch_does(
    operation: Callable[[Tensor], Tensor], convolution: dict[str, Any]
):
    network = trained_like(With(operation, **convolution))
    engine = choosing.choose(network, SPEC, engine="ncnn", decoding="full").engine
    pixels = made_pictures.pixels(SPEC, 3)
    expected = TorchEngine(network, SPEC).classify(pixels)
    assert np.abs(engine.classify(pixels) - expected).max() < 1e-5


@pytest.mark.parametrize("name", ["ncnn", "onnxruntime", "openvino"])
def test_an_engine_computes_in_the_thread_that_calls_it(name: str):
    """Handed over to threads of its own, a prediction waits for two more turns of the kernel's."""
    network = SimpleCNN([3, 64, 256], 2).eval()
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
