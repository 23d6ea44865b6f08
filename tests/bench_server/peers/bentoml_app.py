"""BentoML as its documentation advises: a picture as an argument, a worker for each CPU."""

from __future__ import annotations

from typing import Any

import bentoml
import network
from PIL import Image


@bentoml.service(workers="cpu_count")
class Classifier:
    def __init__(self) -> None:
        self.model = network.load()

    @bentoml.api
    def classify(self, image: Image.Image) -> dict[str, Any]:
        return network.answer(network.predict(self.model, network.prepare_picture(image))[0])
