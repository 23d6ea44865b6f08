"""Named starting points of a training run: what `--recipe` stands for, and which one is usual.

A recipe sets what differs from the defaults of TrainConfig; every single value can still be set
by the file, a flag or the environment. docs/training.md says what was tried and what it gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

USUAL: Final = "drawings"
SMALL_SIDE: Final = 48
"""Pixels. Pictures that are no larger are photographs: whatever is drawn for a screen is."""

RECIPES: Final[Mapping[str, Mapping[str, object]]] = MappingProxyType(
    {
        # Drawn or simple pictures: seconds on two cores.
        "drawings": {},
        # Small photographs (32 x 32): a residual network that sees every picture differently each
        # epoch, and whose weights are averaged.
        "photographs": {
            "size": 32,
            "channels": (3, 32, 64, 128, 256),
            "depth": 1,
            "epochs": 80,
            "batch_size": 128,
            "optimizer": "sgd",
            "learning_rate": 0.05,
            "weight_decay": 0.001,
            "label_smoothing": 0.1,
            "ema_decay": 0.99,
            "color_jitter": 0.2,
            "cutmix": 0.5,
        },
    }
)


def usual(side: int | None) -> str:
    """The recipe for pictures whose longer side has so many pixels, where nobody names one.

    `side` is None where nobody knows.

    >>> usual(32), usual(500), usual(None)
    ('photographs', 'drawings', 'drawings')
    """
    return USUAL if side is None or side > SMALL_SIDE else "photographs"
