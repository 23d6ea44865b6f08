"""`make test-first-request`: what the first client after `ready` waits, and what counting costs.

Starts a server some times. Each time its probe is asked until it is ready, as a kubelet does; the
first request comes on a new connection, then some hundred more, whose median it is compared with:
a JPEG at the first start, a PNG at the second, a WebP at the third, and so on. The last line has
the median over the starts. Exit status 1 when an answer is no 200.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from model_server import drift
from model_server.loading import load_model
from model_server.metrics import Metrics
from model_server.picture_files import judge
from model_server.preprocessing import Preprocessor, decode
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import encode, make_artifact, make_picture, make_state
from tests.server.load import Address, Connection
from tests.server.processes import ServerProcess

CHANNELS = (3, 32, 64, 128, 256)
SIDE = 128
MOST_TIMES = 1.5
MOST_SHARE = 0.01
MOST_PIXELS = 32_000_000
PICTURE = encode(make_picture(1, 500, 375), quality=95)
KINDS = {
    "JPEG": PICTURE,
    "PNG": encode(make_picture(1, 500, 375), "PNG"),
    "WebP": encode(make_picture(1, 500, 375), "WEBP"),
}


@dataclass(frozen=True)
class Start:
    """What one start's clients waited, in seconds, for pictures of one kind."""

    kind: str
    first: float
    median: float


def make_usual_artifact(folder: Path) -> Path:
    """The model that the project's figures are measured with."""
    size = {"height": SIDE, "width": SIDE, "mean": [0.5] * 3, "std": [0.25] * 3}
    architecture = {"name": "SimpleCNN", "channels": list(CHANNELS)}
    state = make_state(CHANNELS)
    return make_artifact(folder, state=state, architecture=architecture, input=size)


async def ask(address: Address, kind: str, count: int) -> Start:
    """Ask so many times, each time on a new connection."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        async with await Connection.to(address) as connection:
            answer = await connection.post(KINDS[kind])
            seconds.append(time.perf_counter() - started)
        if answer.status != 200:
            raise ValueError(f"the answer is {answer.status}: {answer.body!r}")
    return Start(kind, seconds[0], statistics.median(seconds[1:]))


def measure(artifact: Path, folder: Path, kind: str, count: int) -> Start:
    """Start a server and ask it."""
    server = ServerProcess(artifact, folder, {})
    try:
        server.wait_ready()
        return asyncio.run(ask(("127.0.0.1", server.port), kind, count))
    finally:
        server.close()


def counting_share(artifact: Path) -> float:
    """The part of a prediction's processor time that it takes to describe its picture and count it.

    All counting, not only that of the drift signals; and of decoding and inference alone, without
    HTTP: of a whole request it is less.
    """
    workers = Workers(queue_size=1, threads=1)
    try:
        predict = load_model(Settings(model_path=artifact), workers).predict
        metrics = Metrics()
        [predictions, *_] = [predict([PICTURE]) for _ in range(5)]
        resized = Preprocessor(predict.input).resize(decode(PICTURE, MOST_PIXELS))

        def count() -> None:
            pixels = judge(PICTURE, MOST_PIXELS).pixels
            metrics.predicted(replace(predictions, seen=(drift.see(pixels, resized),)))

        return _cpu_seconds(count, 2000) / _cpu_seconds(lambda: predict([PICTURE]), 50)
    finally:
        workers.close()


def _cpu_seconds(work: Callable[[], object], times: int) -> float:
    """The median of ten rounds, for one time."""
    rounds = []
    for _ in range(10):
        started = time.thread_time()
        for _ in range(times // 10):
            work()
        rounds.append((time.thread_time() - started) / (times // 10))
    return statistics.median(rounds)


def main() -> int:
    """Read the command line, measure, and say the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.first_request")
    parser.add_argument("--starts", type=int, default=9, metavar="N")
    parser.add_argument("--requests", type=int, default=200, metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = make_usual_artifact(folder / "artifact")
        starts = [
            measure(artifact, folder / str(number), kind, arguments.requests)
            for number, kind in zip(range(arguments.starts), itertools.cycle(KINDS), strict=False)
        ]
        share = counting_share(artifact)
    for start in starts:
        sys.stdout.write(
            f"{start.kind}: first {start.first * 1e3:.2f} ms, median {start.median * 1e3:.2f} ms\n"
        )
    times = statistics.median(start.first / start.median for start in starts)
    sys.stdout.write(
        f"first request after ready: target at most {MOST_TIMES} times the median, measured"
        f" {times:.2f} (median of {len(starts)} starts), {_met(times <= MOST_TIMES)};"
        f" describing and counting a picture: target less than {MOST_SHARE:.0%} of its processor"
        f" time, measured {share:.2%}, {_met(share < MOST_SHARE)}\n"
    )
    return 0


def _met(is_met: bool) -> str:
    return "met" if is_met else "not met"


if __name__ == "__main__":
    sys.exit(main())
