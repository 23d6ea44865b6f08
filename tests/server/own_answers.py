"""Many different pictures over many connections: each answer belongs to its own picture.

`python -m tests.server.own_answers` sends 10,000 of them, each as a raw body, a fifth of them again
in forms and another fifth in JSON, in a shuffled order over 64 connections at once. Its last line
is `pictures 10000, connections 64, wrong 0`. test_own_answers sends fewer. What each answer has to
be is computed here, with the server's own Predictor; no two pictures' answers are alike.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image

from model_server import artifact as artifacts
from model_server.prediction import PixelLimits, Predictor
from model_server.torch_engine import TorchEngine
from model_server.weights import load_network
from tests.server.artifacts import encode, make_artifact, make_state
from tests.server.load import FORM_TYPE, Address, Answer, Connection, form, request
from tests.server.processes import ServerProcess

CONNECTIONS = 64
CLASSES = tuple(f"class-{number}" for number in range(16))
LIMITS = PixelLimits(picture=10_000, request=10_000)
AT_MOST = 5  # pictures in one form or list
TOLERANCE = 2e-6  # answers have six digits, and a batch's last bits depend on its size
APART = 5 * TOLERANCE
SHOWN = 10  # wrong answers that are told


@dataclass(frozen=True)
class Sent:
    """One request, and the pictures in it, in their order."""

    numbers: tuple[int, ...]
    content: bytes


@dataclass(frozen=True)
class Result:
    """What was sent, and a sentence for each wrong answer."""

    pictures: int
    requests: int
    wrong: list[str]
    seconds: float


def make_wide_artifact(folder: Path) -> Path:
    """A model whose answers tell pictures apart."""
    state = make_state(classes=len(CLASSES))
    return make_artifact(folder, state=state, classes=list(CLASSES))


def make_pictures(count: int) -> list[bytes]:
    """Small PNGs, each another."""
    pixels = np.random.default_rng(11).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [encode(Image.fromarray(each), "PNG", compress_level=1) for each in pixels]


def expect(artifact: Path, pictures: Sequence[bytes]) -> torch.Tensor:
    """Each picture's probabilities, N x classes; raises ValueError when two are alike."""
    verified = artifacts.verify(artifact)
    engine = TorchEngine(load_network(verified), verified.manifest.input)
    predict = Predictor(verified.manifest, engine, LIMITS)
    rows = [
        list(item.probabilities.values())
        for start in range(0, len(pictures), 100)
        for item in predict(pictures[start : start + 100]).items
    ]
    expected = torch.tensor(rows, dtype=torch.float64)
    for start in range(0, len(expected), 1000):
        distance = torch.cdist(expected[start : start + 1000], expected, p=torch.inf)
        distance[torch.arange(len(distance)), torch.arange(len(distance)) + start] = 1.0
        if distance.min() < APART:
            raise ValueError("two pictures have the same answer: this model tells nothing")
    return expected


def make_requests(pictures: Sequence[bytes]) -> list[Sent]:
    """Every picture alone; a fifth of them also in forms, and a fifth in JSON; shuffled."""
    random = Random(7)
    numbers = range(len(pictures))
    sent = [Sent((number,), request(pictures[number], "image/png")) for number in numbers]
    fifth = len(pictures) // 5
    for group in _groups(random, random.sample(numbers, fifth)):
        body = form([pictures[number] for number in group], "image/png")
        sent.append(Sent(group, request(body, FORM_TYPE)))
    for group in _groups(random, random.sample(numbers, fifth)):
        encoded = [base64.b64encode(pictures[number]).decode() for number in group]
        body = json.dumps({"images": encoded} if len(group) > 1 else {"image": encoded[0]}).encode()
        sent.append(Sent(group, request(body, "application/json")))
    random.shuffle(sent)
    return sent


def _groups(random: Random, numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    start = 0
    while start < len(numbers):
        end = start + random.randint(1, AT_MOST)
        yield tuple(numbers[start:end])
        start = end


async def exchange(address: Address, sent: Sequence[Sent]) -> list[tuple[Sent, Answer]]:
    """Send all of it over CONNECTIONS connections, each with one request at a time."""
    waiting = deque(sent)
    answers: list[tuple[Sent, Answer]] = []

    async def client() -> None:
        connection: Connection | None = None
        while waiting:
            each = waiting.popleft()
            connection = connection or await Connection.to(address)
            connection.writer.write(each.content)
            answer = await connection.answer()
            answers.append((each, answer))
            if answer.closing:
                await connection.close()
                connection = None
        if connection is not None:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(client())
    return answers


def judge(sent: Sent, answer: Answer, expected: torch.Tensor) -> Iterator[str]:
    """A sentence for each picture whose answer is not its own."""
    if answer.status != 200:
        yield f"pictures {sent.numbers}: {answer.status} {answer.body!r}"
        return
    content = json.loads(answer.body)
    items = content if isinstance(content, list) else [content]
    if len(items) != len(sent.numbers):
        yield f"pictures {sent.numbers}: {len(items)} answers"
        return
    for number, item in zip(sent.numbers, items, strict=True):
        said = torch.tensor([item["probabilities"][name] for name in CLASSES], dtype=torch.float64)
        if (said - expected[number]).abs().max() > TOLERANCE:
            distance, nearest = (expected - said).abs().amax(1).min(0)
            whose = f"picture {int(nearest)}'s" if distance <= TOLERANCE else "nobody's"
            yield f"picture {number}: the answer is {whose}"


def run(artifact: Path, address: Address, count: int) -> Result:
    """Send `count` different pictures to a server of that artifact."""
    pictures = make_pictures(count)
    expected = expect(artifact, pictures)
    sent = make_requests(pictures)
    started = time.monotonic()
    answers = asyncio.run(exchange(address, sent))
    seconds = time.monotonic() - started
    assert len(answers) == len(sent)
    wrong = [line for each, answer in answers for line in judge(each, answer, expected)]
    return Result(count, len(sent), wrong, seconds)


def main() -> int:
    """Starts a server and asks it; exit status 1 when an answer is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.own_answers", description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000, metavar="N")
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder:
        artifact = make_wide_artifact(Path(folder) / "artifact")
        server = ServerProcess(artifact, Path(folder) / "server", {"queue_size": CONNECTIONS})
        try:
            server.wait_ready()
            result = run(artifact, ("127.0.0.1", server.port), count)
        finally:
            server.close()
    lines = [
        *result.wrong[:SHOWN],
        f"requests {result.requests} in {result.seconds:.1f} s",
        f"pictures {result.pictures}, connections {CONNECTIONS}, wrong {len(result.wrong)}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
