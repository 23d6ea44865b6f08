"""BentoML with this project's engine and decoding in its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bentoml
import engine
from bentoml.validators import ContentType


@bentoml.service(workers="cpu_count")
class Classifier:
    def __init__(self) -> None:
        self.model = engine.load()

    @bentoml.api
    def classify(self, image: Annotated[Path, ContentType("image/jpeg")]) -> dict[str, Any]:
        return engine.classify(self.model, image.read_bytes())
