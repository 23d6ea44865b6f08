"""One training run on the pictures of a folder, to be killed at any moment and started again."""

from __future__ import annotations

import hashlib
from multiprocessing.connection import Connection
from pathlib import Path

from model_training import resume
from model_training.config import TrainConfig
from model_training.data import Split, load, scan, split
from model_training.manifest import InputSpec
from model_training.train import Epoch, Progress, train

CONFIG = TrainConfig(
    size=16,
    channels=(3, 8, 16),
    depth=1,
    epochs=12,
    threads=1,
    optimizer="sgd",
    ema_decay=0.9,
    cutout=0.25,
    color_jitter=0.2,
    cutmix=0.5,
)


def weights(epoch: Epoch) -> str:
    """The digest of an epoch's weights and number."""
    digest = hashlib.sha256(str(epoch.number).encode())
    for name, value in sorted(epoch.state.items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def run(data: Path, progress: Path | None) -> str:
    """Trains to the end; the digest of the best epoch."""
    folder = scan(data)
    spec = InputSpec(height=CONFIG.size, width=CONFIG.size)
    parts = split(folder, validation_percent=10, test_percent=10)
    images = {part: load(folder, samples, spec).images for part, samples in parts.items()}
    saved = resume.read(progress, CONFIG, folder.fingerprint) if progress else None

    def keep(epoch: Epoch, reached: Progress) -> None:
        if progress:
            now = resume.Saved(reached, (), "", 0.0)
            resume.save(progress, now, CONFIG, folder.fingerprint)

    best = train(
        CONFIG,
        folder.classes,
        training=images[Split.TRAIN],
        validation=images[Split.VALIDATION],
        on_epoch=keep,
        resumed=saved.progress if saved else None,
    )
    return weights(best)


def run_and_tell(data: Path, progress: Path, told: Connection) -> None:
    """The same in a process of its own, which sends the digest to the other end."""
    told.send(run(data, progress))
