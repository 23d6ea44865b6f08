"""KServe's Python server with a custom model, as its documentation writes one.

One worker, its default: KServe scales by pods, and what watches over several workers kills each one
that has not imported torch within 5 seconds.
"""

from __future__ import annotations

import base64
from typing import Any

import kserve
import network


class Classifier(kserve.Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.load()

    def load(self) -> bool:
        self.network = network.load()
        self.ready = True
        return self.ready

    def predict(
        self, payload: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        encoded = payload["instances"][0]["image"]["b64"]
        probabilities = network.classify(self.network, base64.b64decode(encoded))
        return {"predictions": [network.answer(probabilities)]}


if __name__ == "__main__":
    kserve.ModelServer().start([Classifier("cats-dogs")])
