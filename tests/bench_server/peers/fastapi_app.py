"""FastAPI written well: uvicorn's workers, httptools and uvloop, a thread pool, channels last.

The event loop never decodes and never computes, and torch does not divide one picture among
threads that other pictures need.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import network
import torch
from fastapi import FastAPI, Request

torch.set_num_threads(1)
model = network.load().to(memory_format=torch.channels_last)
threads = ThreadPoolExecutor(int(os.environ["BENCH_CPUS"]))
app = FastAPI()


def classify(data: bytes) -> dict[str, Any]:
    inputs = network.prepare(data).contiguous(memory_format=torch.channels_last)
    return network.answer(network.predict(model, inputs)[0])


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    data = await request.body()
    return await asyncio.get_running_loop().run_in_executor(threads, classify, data)
