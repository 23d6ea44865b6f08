"""Waiting that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, result: Awaitable[T]) -> T:
    """`result`, awaited in place. Raises TimeoutError.

    `asyncio.wait_for` awaits in a task of its own before Python 3.12, and loses a cancellation
    that comes as that task ends: what was cancelled then never ends.
    """
    async with asyncio.timeout(seconds):
        return await result
