"""What the mirror is made of: its configuration, its share and its queue."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_server.mirror.config import MirrorConfigRefused, look, parse
from model_server.mirror.copies import Copies, Copy
from model_server.mirror.share import Share

GOOD = {"target": "http://shadow.vision.svc:8000", "percent": 30, "sourceRevision": "9c1b4d2e07"}


def make_copy(body: bytes) -> Copy:
    return Copy("/predict", body, "image/jpeg", None, "id", None, ("cat",))


@pytest.mark.parametrize("target", ["http://10.0.0.1:80", "http://[fd00::1]:8000", "http://a.b:1"])
def test_a_good_configuration_is_read(target: str):
    config = parse(json.dumps({**GOOD, "target": target}).encode())
    assert (config.target, config.percent, config.source_revision) == (target, 30, "9c1b4d2e07")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "json"),
        (b"[]", "object"),
        (b"\xff", "json"),
        (b'{"percent": 1, "sourceRevision": "a"}', "target"),
        ({**GOOD, "target": "https://shadow:8000"}, "target"),
        ({**GOOD, "target": "http://shadow"}, "target"),
        ({**GOOD, "target": "http://shadow:8000/"}, "target"),
        ({**GOOD, "target": "http://user:word@shadow:8000"}, "target"),
        ({**GOOD, "target": "http://shadow:8000\n"}, "target"),
        ({**GOOD, "target": "http://shadow:99999"}, "target"),
        ({**GOOD, "percent": 101}, "percent"),
        ({**GOOD, "percent": -1}, "percent"),
        ({**GOOD, "percent": 1.5}, "percent"),
        ({**GOOD, "percent": "30"}, "percent"),
        ({**GOOD, "percent": True}, "percent"),
        ({**GOOD, "sourceRevision": ""}, "sourceRevision"),
        ({**GOOD, "sourceRevision": "a b"}, "sourceRevision"),
        ({**GOOD, "retries": 3}, "retries"),
    ],
)
def test_a_wrong_configuration_is_refused_by_what_is_wrong(
    content: bytes | dict[str, Any], named: str
):
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(MirrorConfigRefused, match=f"(?i){named}"):
        parse(raw)


def test_a_look_tells_no_file_from_one_that_cannot_be_read(tmp_path: Path):
    path = tmp_path / "mirror.json"
    assert look(path).state("any") == "absent"
    os.mkfifo(path)
    assert look(path).state("any") == "refused"
    path.unlink()
    path.mkdir()
    assert look(path).state("any") == "refused"
    path.rmdir()
    path.write_bytes(b" " * 70_000)
    assert look(path).state("any") == "refused"
    path.write_text(json.dumps(GOOD))
    assert look(path).state("9c1b4d2e07") == "active"
    assert look(path).state("another") == "idle"
    assert look(path).content_hash == hashlib.sha256(path.read_bytes()).hexdigest()


@given(percent=st.integers(0, 100), skipped=st.integers(0, 300))
def test_of_any_hundred_requests_in_a_row_exactly_the_percentage_is_taken(
    percent: int, skipped: int
):
    share = Share(percent)
    for _ in range(skipped):
        share.take()
    assert sum(share.take() for _ in range(100)) == percent


@given(
    max_count=st.integers(1, 5),
    max_bytes=st.integers(1, 100),
    steps=st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from(["get", "release", "clear"])),
        max_size=60,
    ),
)
def test_the_queue_never_holds_more_than_it_may(
    max_count: int, max_bytes: int, steps: list[bytes | str]
):
    async def play() -> None:
        copies = Copies(max_count=max_count, max_bytes=max_bytes)
        waiting: deque[Copy] = deque()
        under_way: list[Copy] = []
        for step in steps:
            if isinstance(step, bytes):
                copy = make_copy(step)
                held = sum(len(other.body) for other in [*waiting, *under_way])
                fits = len(waiting) < max_count and held + len(step) <= max_bytes
                assert copies.put(copy) == fits
                if fits:
                    waiting.append(copy)
            elif step == "get" and waiting:
                assert await copies.get() is waiting[0]
                under_way.append(waiting.popleft())
            elif step == "release" and under_way:
                copies.release(under_way.pop())
            elif step == "clear":
                assert copies.clear() == len(waiting)
                waiting.clear()
            assert copies.waiting == len(waiting) <= max_count
            held = sum(len(other.body) for other in [*waiting, *under_way])
            assert copies.held_bytes == held <= max_bytes

    asyncio.run(play())
