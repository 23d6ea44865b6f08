"""What a model said of each image of a test, by the image's bytes; kept with its run.

Two models are compared on the images that both have judged (`gate`), whatever the files are called
and wherever the folder is by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_training.data import Sample
from model_training.errors import ArtifactError
from model_training.evaluate import Evaluation

PREDICTIONS_FILE: Final = "predictions.json"


@dataclass(frozen=True)
class Prediction:
    """One image: its true class, what the model took it for, and how sure it was (0..1)."""

    true: str
    predicted: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether it was taken for what it is."""
        return self.true == self.predicted


Predictions = Mapping[str, Prediction]
"""By the SHA-256 of the image's bytes (hex)."""


def predictions(
    evaluation: Evaluation, samples: Sequence[Sample], classes: tuple[str, ...]
) -> Predictions:
    """The evaluation by image; `samples` are in its order."""
    sure = evaluation.probabilities.max(dim=1).values.tolist()
    return {
        sample.sha256: Prediction(classes[sample.label], classes[predicted], round(confidence, 6))
        for sample, predicted, confidence in zip(
            samples, evaluation.predicted.tolist(), sure, strict=True
        )
    }


def write_predictions(path: Path, made: Predictions) -> None:
    """Writes them as one JSON object."""
    content = {sha256: vars(prediction) for sha256, prediction in sorted(made.items())}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_predictions(path: Path) -> Predictions:
    """Reads what `write_predictions` wrote; raises ArtifactError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {sha256: Prediction(**prediction) for sha256, prediction in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} holds no predictions: {error}") from error
