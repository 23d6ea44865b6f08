"""The loaded model as the rest of the process knows it. `loading` makes it; it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.prediction import Predictor


@dataclass(frozen=True, slots=True)
class Identity:
    """What answers, logs and metrics call the model."""

    name: str
    version: str
    revision: str

    def labels(self) -> dict[str, str]:
        """Return it under the names that logs and metrics use."""
        return {
            "model_name": self.name,
            "model_version": self.version,
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True)
class Model:
    """A verified, loaded and warmed-up model."""

    identity: Identity
    digest: str
    engine: str
    predict: Predictor
