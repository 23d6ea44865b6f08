from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model_training.config import TrainConfig
from model_training.data import Images, Split, load, scan, split
from model_training.errors import ConfigError
from model_training.manifest import InputSpec
from model_training.train import Epoch, mixed_precision, one_cycle, train

TINY = TrainConfig(size=16, channels=(3, 4, 8), epochs=3, threads=1)
CLASSES = ("cat", "dog")


@pytest.fixture(scope="module")
def images(pictures: Path) -> dict[Split, Images]:
    folder = scan(pictures)
    parts = split(folder, validation_percent=10, test_percent=10)
    spec = InputSpec(height=16, width=16)
    return {part: load(folder, samples, spec).images for part, samples in parts.items()}


def run(config: TrainConfig, images: dict[Split, Images]) -> tuple[Epoch, list[Epoch]]:
    epochs: list[Epoch] = []
    best = train(
        config,
        CLASSES,
        training=images[Split.TRAIN],
        validation=images[Split.VALIDATION],
        on_epoch=lambda epoch, progress: epochs.append(epoch),
    )
    return best, epochs


def same_weights(one: Epoch, other: Epoch) -> bool:
    return all(torch.equal(value, other.state[name]) for name, value in one.state.items())


def test_the_same_seed_gives_the_same_weights_and_curves_bit_for_bit(
    images: dict[Split, Images],
):
    best, epochs = run(TINY, images)
    torch.rand(17)  # what else the process draws is of no consequence
    again, epochs_again = run(TINY, images)
    assert same_weights(best, again)
    assert [epoch.train_loss for epoch in epochs] == [epoch.train_loss for epoch in epochs_again]


def test_another_seed_gives_other_weights(images: dict[Split, Images]):
    best, _ = run(TINY, images)
    other, _ = run(TINY.model_copy(update={"seed": 1}), images)
    assert not same_weights(best, other)


def test_the_best_epoch_has_the_highest_accuracy_then_the_lowest_loss(
    images: dict[Split, Images],
):
    best, epochs = run(TINY.model_copy(update={"epochs": 8}), images)
    assert [epoch.number for epoch in epochs] == list(range(1, 9))
    ranks = [(epoch.validation.accuracy, -epoch.validation.loss) for epoch in epochs]
    assert best.number == ranks.index(max(ranks)) + 1
    records = [rank for index, rank in enumerate(ranks) if rank > max(ranks[:index], default=(-1,))]
    assert [rank for rank, epoch in zip(ranks, epochs, strict=True) if epoch.best] == records


def test_the_best_epoch_keeps_its_own_weights_whatever_comes_after(
    images: dict[Split, Images],
):
    best, epochs = run(TINY, images)
    assert not same_weights(epochs[0], epochs[-1])
    assert same_weights(best, epochs[best.number - 1])


def test_the_averaged_weights_are_kept_where_that_is_asked_for(images: dict[Split, Images]):
    plain, _ = run(TINY, images)
    averaged, _ = run(TINY.model_copy(update={"ema_decay": 0.9}), images)
    assert not same_weights(plain, averaged)


def test_a_run_ends_early_when_patience_is_at_an_end(images: dict[Split, Images]):
    best, epochs = run(TINY.model_copy(update={"epochs": 40, "patience": 1}), images)
    assert epochs[-1].number == best.number + 1 < 40


def test_mixed_precision_trains_and_keeps_float32_weights(images: dict[Split, Images]):
    exact, _ = run(TINY.model_copy(update={"precision": "float32"}), images)
    mixed, _ = run(TINY.model_copy(update={"precision": "bfloat16"}), images)
    assert not same_weights(exact, mixed)
    assert {value.dtype for value in mixed.state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("able", "mixed"),
    [({"avx512_bf16": True}, True), ({"bf16": True}, True), ({"avx2": True}, False)],
)
def test_precision_is_mixed_where_the_processor_has_bfloat16(
    able: dict[str, bool], mixed: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert mixed_precision(TINY.model_copy(update={"device": "cpu"})) is mixed
    for precision in ("float32", "bfloat16"):
        asked = TINY.model_copy(update={"device": "cpu", "precision": precision})
        assert mixed_precision(asked) is (precision == "bfloat16")


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [one_cycle(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[29] == pytest.approx(1.0)
    assert rates[:30] == sorted(rates[:30])
    assert rates[29:] == sorted(rates[29:], reverse=True)
    assert rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_shortest_runs_have_learning_rates_too(steps: int):
    assert all(0 < one_cycle(step, steps) <= 1 for step in range(steps))


def test_a_network_that_diverges_is_no_model(images: dict[Split, Images]):
    config = TINY.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ConfigError, match=r"diverged in epoch 1 .* lower --learning-rate"):
        run(config, images)
