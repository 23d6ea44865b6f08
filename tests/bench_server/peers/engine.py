"""This project's engine and decoding, put into a peer: the third comparison.

Whatever `model_server.loading` takes for this artifact on this processor is what the peer gets,
with one inference thread in each of its processes unless it says otherwise. `BENCH_ARTIFACT` names
the artifact.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from model_server.loading import load_model
from model_server.model import Model
from model_server.settings import Settings
from model_server.workers import Workers


def load(threads: int = 1) -> Model:
    """The model, warmed up; call `classify` from at most so many threads at a time."""
    settings = Settings(model_path=Path(os.environ["BENCH_ARTIFACT"]))
    workers = Workers(queue_size=0, threads=threads)
    try:
        return load_model(settings, workers)
    finally:
        workers.close()


def classify(model: Model, data: bytes) -> dict[str, Any]:
    """What the peer answers for one picture file."""
    item = model.predict([data]).items[0]
    return {"label": item.label, "probabilities": item.probabilities}
