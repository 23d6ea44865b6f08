"""Follows the aliases of resources with updatePolicy FollowAlias: one request for each alias and
round, however many resources follow it.

A pass reads the latest answer from here; the rounds only enqueue the resources for which an answer
means something else than before. `main` runs one of these beside the workers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import structlog

from model_operator.api import ModelSource
from model_operator.clients.registry import TaggedVersion, meant
from model_operator.clients.view import Key
from model_operator.errors import ResolutionError
from model_operator.revisions import ResolvedModel, Undigested

Alias = tuple[str, str]
"""The registry as sources name it, empty for the operator's own, and the URI."""
Answer = TaggedVersion | ResolutionError
AT_ONCE = 4
"""Requests of rounds to one server that are under way together; passes ask it, too."""

log = structlog.get_logger(__name__)


class AliasRegistry(Protocol):
    """Says which version an alias names."""

    async def look_up(self, source: ModelSource) -> TaggedVersion:
        """See `MlflowRegistry.look_up`."""
        ...


class Following:
    """Belongs to one event loop."""

    def __init__(
        self,
        registry: AliasRegistry,
        notify: Callable[[Key], None],
        seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._registry = registry
        self._notify = notify
        self._seconds = seconds
        self._sleep = sleep
        self._followers: dict[Alias, dict[Key, ModelSource]] = {}
        self._followed: dict[Key, Alias] = {}
        self._answers: dict[Alias, Answer] = {}
        self._asking: defaultdict[Alias, asyncio.Lock] = defaultdict(asyncio.Lock)

    def __len__(self) -> int:
        """How many aliases are followed."""
        return len(self._followers)

    async def latest(
        self, key: Key, source: ModelSource, *, fresh: bool = False
    ) -> ResolvedModel | Undigested:
        """What an alias means for a source, which from now on is told when that changes. The last
        answer counts, unless a fresh one is wanted.

        Raises:
            ResolutionError: as `Registry.resolve`.

        """
        alias = alias_of(source)
        self._follow(key, alias, source)
        if fresh or alias not in self._answers:
            async with self._asking[alias]:
                if fresh or alias not in self._answers:
                    await self._ask(alias, source)
        return _model(source, self._answers[alias])

    def forget(self, key: Key) -> None:
        """A resource follows nothing any more, or is gone."""
        alias = self._followed.pop(key, None)
        if alias is None:
            return
        del self._followers[alias][key]
        if not self._followers[alias]:
            del self._followers[alias]
            self._answers.pop(alias, None)
            self._asking.pop(alias, None)

    async def run(self) -> None:
        """Asks for every alias that is followed, for ever; each server in rounds of its own, so
        that one which hangs makes no other's late.
        """
        rounds: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._sleep(self._seconds)
                for server, aliases in self._by_server().items():
                    if server not in rounds or rounds[server].done():
                        rounds[server] = group.create_task(self._ask_server(aliases))

    async def round(self) -> None:
        """Asks once for every alias that is followed."""
        await asyncio.gather(*map(self._ask_server, self._by_server().values()))

    def _by_server(self) -> dict[str, list[Alias]]:
        found: defaultdict[str, list[Alias]] = defaultdict(list)
        for alias in self._followers:
            found[alias[0]].append(alias)
        return found

    async def _ask_server(self, aliases: Iterable[Alias]) -> None:
        free = asyncio.Semaphore(AT_ONCE)

        async def ask(alias: Alias) -> None:
            async with free, self._asking[alias]:
                if followers := self._followers.get(alias):
                    await self._ask(alias, next(iter(followers.values())))

        await asyncio.gather(*map(ask, aliases))

    def _follow(self, key: Key, alias: Alias, source: ModelSource) -> None:
        if self._followed.get(key) != alias:
            self.forget(key)
        self._followed[key] = alias
        self._followers.setdefault(alias, {})[key] = source

    async def _ask(self, alias: Alias, source: ModelSource) -> None:
        before = self._answers.get(alias)
        now: Answer
        try:
            now = await self._registry.look_up(source)
        except ResolutionError as error:
            now = _again(error)
        if alias not in self._followers:
            return
        if before is not None and _is_the_same_trouble(before, now):
            return  # its words may differ every time, and nobody wants to know
        self._answers[alias] = now
        if before is None:
            return
        changed = [
            follower
            for follower, its_source in self._followers.get(alias, {}).items()
            if _meaning(its_source, before) != _meaning(its_source, now)
        ]
        if changed:
            log.info("an alias means something else", uri=alias[1], followers=len(changed))
        for follower in changed:
            self._notify(follower)


def alias_of(source: ModelSource) -> Alias:
    """What is asked for: the same for every source that names the same."""
    return (source.registry or "").rstrip("/"), source.uri


def _model(source: ModelSource, answer: Answer) -> ResolvedModel | Undigested:
    if isinstance(answer, ResolutionError):
        raise _again(answer)
    return meant(source, answer)


def _again(error: ResolutionError) -> ResolutionError:
    """The same without its traceback: one that is kept and raised again would hold ever more."""
    return type(error)(error.reason, error.message)


def _meaning(source: ModelSource, answer: Answer) -> object:
    """What tells two answers apart for a source: a tag that it does not ask for does not."""
    try:
        return _model(source, answer)
    except ResolutionError as error:
        return type(error), error.reason, error.message


def _is_the_same_trouble(before: Answer, now: Answer) -> bool:
    return (
        isinstance(before, ResolutionError)
        and isinstance(now, ResolutionError)
        and (type(before), before.reason) == (type(now), now.reason)
    )
