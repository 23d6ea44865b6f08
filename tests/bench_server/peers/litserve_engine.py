"""LitServe with this project's engine and decoding in its workers."""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import engine
import litserve


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = engine.load()

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image_data"])

    def predict(self, data: bytes) -> dict[str, Any]:
        return engine.classify(self.model, data)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    cpus = int(os.environ["BENCH_CPUS"])
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=cpus)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
