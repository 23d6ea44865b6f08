"""The same FastAPI with this project's engine and decoding in it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import engine
from fastapi import FastAPI, Request

CPUS = int(os.environ["BENCH_CPUS"])
model = engine.load(threads=CPUS)
threads = ThreadPoolExecutor(CPUS)
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    data = await request.body()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, engine.classify, model, data)
