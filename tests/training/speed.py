"""`make bench-training`: images per second of training, beside a loop that reads ready tensors.

The two differ in where batches come from, and in nothing else: the training's own loader
(augmented, normalised, made ahead in a thread), or tensors that were made before. They take turns
in one process, so that both see the same machine. The last line is target, measured, met or not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice

from model_training.cli import set_environment

set_environment()  # as `model-train` does, before torch is loaded

import torch  # noqa: E402

from model_training.config import TrainConfig  # noqa: E402
from model_training.data import Images  # noqa: E402
from model_training.loader import Batch, ahead, batches, inputs  # noqa: E402
from model_training.recipes import RECIPES  # noqa: E402
from model_training.train import set_torch, training_pass  # noqa: E402

TARGET = 0.85
CLASSES = ("cat", "dog")


def images(config: TrainConfig, count: int) -> Images:
    """Noise of the recipe's size: what is in a picture costs nothing."""
    random = torch.Generator().manual_seed(0)
    shape = (count, 3, config.size, config.size)
    pixels = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
    return Images(pixels, torch.randint(0, 2, (count,), generator=random))


def rate(config: TrainConfig, source: Callable[[], Iterator[Batch]], count: int) -> float:
    """Images per second of one pass over what the source gives."""
    started = time.perf_counter()
    training_pass(config, CLASSES, source())
    return count / (time.perf_counter() - started)


def compare(recipe: str, threads: int, steps: int, turns: int) -> float:
    """The share of the ready tensors' rate that the training reaches, from its best turns."""
    config = TrainConfig.of(recipe=recipe, threads=threads)
    set_torch(config)
    count = steps * config.batch_size
    data = images(config, count)
    ready = list(inputs(config, batches(config, data, len(CLASSES), 0)))
    sources: dict[str, Callable[[], Iterator[Batch]]] = {
        "ready tensors": lambda: iter(ready),
        "training": lambda: inputs(config, ahead(batches(config, data, len(CLASSES), 1))),
    }
    for source in sources.values():  # the first steps choose algorithms and allocate
        training_pass(config, CLASSES, islice(source(), 3))
    best = dict.fromkeys(sources, 0.0)
    for _ in range(turns):
        for name, source in sources.items():
            best[name] = max(best[name], rate(config, source, count))
    share = best["training"] / best["ready tensors"]
    rates = ", ".join(f"{name} {value:.0f} images/s" for name, value in best.items())
    sys.stdout.write(f"  {recipe}, {threads} threads: {rates}, {share:.1%}\n")
    return share


def main() -> int:
    """Prints each recipe's rates, then the lowest share."""
    parser = argparse.ArgumentParser(prog="python -m tests.training.speed", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30, help="batches in a turn")
    parser.add_argument("--turns", type=int, default=5, help="of each, one after the other")
    asked = parser.parse_args()
    lowest = min(compare(name, asked.threads, asked.steps, asked.turns) for name in RECIPES)
    sys.stdout.write(
        f"bench-training: images per second of a loop that reads ready tensors, target at least"
        f" {TARGET:.0%}, measured {lowest:.1%}, {'met' if lowest >= TARGET else 'not met'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
