"""Holds what runs in an inference thread back until a test lets it go on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from model_server.prediction import IsWanted
from tests.server.processes import DEADLINE_SECONDS


class Gate:
    """Holds whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()
        self.count = 0
        self.is_wanted: IsWanted = lambda: False

    def hold(self, is_wanted: IsWanted) -> None:
        self.count += 1
        self.is_wanted = is_wanted
        self.entered.set()
        self.open.wait(DEADLINE_SECONDS)


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.005)
