"""Asks on behalf of passes, and lets none of them wait for long: a pass that waited for a registry
would decide by pods that it saw before, and keep its worker from everybody else.

`resolving` puts the questions; `main` runs one of these beside the workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from model_operator import reasons
from model_operator.clients.view import Key
from model_operator.errors import ResolutionAwaited

Answer = TypeVar("Answer")

PATIENCE_SECONDS = 1.0
"""How long a pass waits for an answer. Registries that are well need a tenth of it."""


@dataclass
class _Asked(Generic[Answer]):
    question: object
    answer: asyncio.Task[Answer]
    heard: bool = True
    """Whether a pass waits for it now."""


class Questions(Generic[Answer]):
    """Belongs to one event loop. A resource has one question at a time."""

    def __init__(self, notify: Callable[[Key], None], patience: float = PATIENCE_SECONDS) -> None:
        """`notify` is told whose answer has come after its pass had gone on; `patience` is in
        seconds.
        """
        self._notify = notify
        self._patience = patience
        self._asked: dict[Key, _Asked[Answer]] = {}

    def __len__(self) -> int:
        """How many resources have a question that no pass has heard the answer to."""
        return len(self._asked)

    async def answer(
        self, key: Key, question: object, ask: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Answer:
        """What `ask` returns or raises. It is not called while an equal question of the resource
        is under way, for which nobody waits once more; another one ends that. An answer is given
        once.

        Raises:
            ResolutionAwaited: there is none yet; the resource is woken when there is.

        """
        asked = self._asked.get(key)
        if asked is None or asked.question != question:
            self.forget(key)
            asked = self._asked[key] = _Asked(question, asyncio.create_task(ask()))
            asked.answer.add_done_callback(partial(self._over, key, asked))
            await asyncio.wait([asked.answer], timeout=self._patience)
            asked.heard = False
        if asked.answer.done():
            self._asked.pop(key, None)
            return asked.answer.result()
        raise ResolutionAwaited(
            reasons.RESOLVING, "the registry was asked and has not answered yet"
        )

    def _over(self, key: Key, asked: _Asked[Answer], answer: asyncio.Task[Answer]) -> None:
        if answer.cancelled():
            return
        answer.exception()  # asyncio complains of those that nobody reads
        if not asked.heard:
            self._notify(key)

    def forget(self, key: Key) -> None:
        """A resource has no question any more, or is gone."""
        asked = self._asked.pop(key, None)
        if asked is not None:
            asked.answer.cancel()

    async def run(self) -> None:
        """Until it is cancelled: then nobody wants to know any more."""
        try:
            await asyncio.Event().wait()
        finally:
            for key in list(self._asked):
                self.forget(key)
