"""Hostile pictures against a real server: a sentence for each, little memory, little time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.server.artifacts import encode
from tests.server.hostile_pictures import HOSTILE, JPEG, MEGABYTES, ODD, Refused, damaged
from tests.server.processes import ServerProcess
from tests.server.usage import Usage

_MOST_MEGABYTES = 120
"""What one refusal may add to the server's peak: the text of a PNG alone may be 64 MB."""
_MOST_CPU_SECONDS = 1.0


class Asked:
    """A server, a client, and what the server uses."""

    def __init__(self, server: ServerProcess) -> None:
        self.usage = Usage(server.process.pid)
        self.client = httpx.Client(base_url=server.url, timeout=30)

    def post(self, content: bytes) -> httpx.Response:
        return self.client.post("/predict", content=content, headers={"content-type": "image/jpeg"})

    def probabilities(self, content: bytes) -> dict[str, float]:
        answer = self.post(content)
        assert answer.status_code == 200, answer.text
        found: dict[str, float] = answer.json()["probabilities"]
        return found


@pytest.fixture(scope="module")
def asked(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    environment = {"inference_threads": 1, "max_body_bytes": 12 * MEGABYTES}
    server = ServerProcess(artifact, tmp_path_factory.mktemp("hostile") / "server", environment)
    try:
        asked = Asked(server.wait_ready())
        with asked.client:
            asked.probabilities(JPEG)
            yield asked
    finally:
        server.close()


@pytest.mark.parametrize("case", HOSTILE, ids=[case[0] for case in HOSTILE])
def test_a_hostile_picture_is_refused_with_a_sentence_at_little_cost(asked: Asked, case: Refused):
    _, content, status, sentence = case
    before, cpu = asked.usage.forget_peak(), asked.usage.cpu_seconds
    answer = asked.post(content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]
    assert asked.usage.peak_megabytes - before < _MOST_MEGABYTES
    assert asked.usage.cpu_seconds - cpu < _MOST_CPU_SECONDS


@pytest.mark.parametrize(
    ("content", "plain"), [case[1:] for case in ODD], ids=[case[0] for case in ODD]
)
def test_an_odd_picture_is_answered_as_the_plain_one_that_it_is(
    asked: Asked, content: bytes, plain: Image.Image
):
    expected = asked.probabilities(encode(plain.convert("RGB"), "PNG"))
    assert asked.probabilities(content) == pytest.approx(expected, abs=0.01)


def test_the_largest_picture_that_is_decoded_takes_the_documented_memory(asked: Asked):
    side = 5_656  # 31,990,336 pixels
    before = asked.usage.forget_peak()
    for kind in ("PNG", "JPEG"):
        asked.probabilities(encode(Image.new("RGB", (side, side), (9, 99, 199)), kind))
    assert asked.usage.peak_megabytes - before < 260


def test_a_damaged_picture_is_answered_or_refused_and_nothing_else(asked: Asked):
    before, seen = asked.usage.forget_peak(), set()
    for content in damaged(seed=5, count=100):
        answer = asked.post(content)
        assert answer.status_code in {200, 400, 413}, answer.text
        seen.add(answer.status_code)
    assert {200, 400} <= seen
    assert asked.usage.peak_megabytes - before < _MOST_MEGABYTES
