"""The model and the pictures that every contender gets: what they are, and where they lie.

`drawing` makes them once for a run; `client`, `floor` and the contenders read them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CLASSES = ("cat", "dog")


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one size."""

    name: str
    width: int
    height: int
    count: int
    kilobytes: tuple[int, int]
    """The least and the most that a file may have."""


SETS = (
    PictureSet("500x375", 500, 375, 64, (40, 80)),
    PictureSet("128x128", 128, 128, 64, (4, 12)),
    PictureSet("12-megapixels", 4000, 3000, 4, (1000, 8000)),
)
MAIN = SETS[0].name


@dataclass(frozen=True)
class Material:
    """Where all of it lies."""

    folder: Path

    @property
    def artifact(self) -> Path:
        """The model as this project's server takes it."""
        return self.folder / "artifact"

    @property
    def weights(self) -> Path:
        """The same weights as the peers take them: a state dict."""
        return self.folder / "weights.pt"

    def pictures(self, name: str) -> list[bytes]:
        """The files of one set, in their order."""
        return [path.read_bytes() for path in sorted((self.folder / name).glob("*.jpg"))]

    def expected(self, name: str) -> list[list[float]]:
        """For each of them, the probability of each class."""
        answers: list[list[float]] = json.loads((self.folder / name / "expected.json").read_text())
        return answers
