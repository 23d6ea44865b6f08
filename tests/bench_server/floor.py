"""Decoding and inference alone, with no HTTP and no queue: the floor under this engine's server.

A process of its own in the server's environment: `floor.py MATERIAL SECONDS SET...`. It predicts as
fast as it can, in one thread and in as many as there are CPUs, and prints one line of JSON.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from model_server import logs
from model_server.cpu_limit import available_cpus
from model_server.model import Model
from tests.bench_server.material import Material
from tests.bench_server.peers import engine

WARM_UP = 16


def measure(model: Model, pictures: list[bytes], threads: int, seconds: float) -> dict[str, Any]:
    """So many threads, each predicting one picture after the other."""
    milliseconds: list[float] = []
    began = cpu = until = 0.0

    def start_the_clocks() -> None:
        nonlocal began, cpu, until
        began, cpu = time.perf_counter(), time.process_time()
        until = began + seconds

    together = threading.Barrier(threads, start_the_clocks)

    def go_on(first: int) -> None:
        for number in range(WARM_UP):
            engine.classify(model, pictures[number % len(pictures)])
        together.wait()
        number = first
        while (started := time.perf_counter()) < until:
            engine.classify(model, pictures[number % len(pictures)])
            milliseconds.append(1000 * (time.perf_counter() - started))
            number += 1

    crew = [
        threading.Thread(target=go_on, args=(index * len(pictures) // threads,))
        for index in range(threads)
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "milliseconds": milliseconds,
    }


def main() -> None:
    """Measure, and print what came out."""
    logs.configure("WARNING")  # elsewhere than what is printed
    material, seconds, names = Material(Path(sys.argv[1])), float(sys.argv[2]), sys.argv[3:]
    cpus = max(1, math.floor(available_cpus()))
    os.environ["BENCH_ARTIFACT"] = str(material.artifact)
    model = engine.load(threads=cpus)
    found = {
        name: {
            str(threads): measure(model, material.pictures(name), threads, seconds)
            for threads in sorted({1, cpus})
        }
        for name in names
    }
    sys.stdout.write(json.dumps({"engine": model.engine, "sets": found}) + "\n")


if __name__ == "__main__":
    main()
