"""LitServe after its own guide to fast serving: base64 in JSON, batches, a worker for each CPU."""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import litserve
import network
import torch


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = network.load().to(device)

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        return network.prepare(base64.b64decode(request["image_data"]))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(inputs)

    def predict(self, x: torch.Tensor) -> list[list[float]]:
        return network.predict(self.model, x)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        return network.answer(output)


if __name__ == "__main__":
    api = Classifier(max_batch_size=8, batch_timeout=0.01)
    cpus = int(os.environ["BENCH_CPUS"])
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=cpus)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
