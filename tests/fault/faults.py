"""What can go wrong between the operator and the API server: small declarative objects.

A proxy asks each of its faults in turn what becomes of a call. A fault is added and taken away
by the test that owns it; nothing here knows how a proxy works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from tests.fault.paths import Request
from tests.fault.record import Record

Event = dict[str, Any]
Matcher = Callable[[Request], bool]


class When(Enum):
    """Which side of a write the operator dies on."""

    BEFORE = "before it was sent"
    AFTER = "after it was committed, unanswered"


@dataclass(frozen=True)
class WriteName:
    """One write of a run: the nth with this label."""

    label: str
    nth: int

    def __str__(self) -> str:
        return f"{self.label} #{self.nth}"


@dataclass
class Death:
    """The operator is killed at one write, once."""

    at: WriteName
    when: When
    since: int = 0
    """From which entry of the record on the writes are counted."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def strikes(self, request: Request, record: Record) -> bool:
        """Whether this write is the one, if it is accepted."""
        if self.happened.is_set() or not request.writes or request.label != self.at.label:
            return False
        return record.times(request.label, self.since) + 1 == self.at.nth


@dataclass(frozen=True)
class Answer:
    """These calls are answered with an error, and the API server never sees them."""

    matches: Matcher
    code: int
    reason: str = "InternalError"
    retry_after: int | None = None


@dataclass
class Silence:
    """These calls are accepted and not answered until `end`; then their connections break."""

    matches: Matcher
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class MuteStreams:
    """Watches that are open, and those that are opened, stay open and tell nothing, for ever."""

    matches: Matcher
    muted: set[str] = field(default_factory=set)
    """By plural."""
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def mutes(self, request: Request) -> bool:
        """Whether this stream tells nothing more; notes it."""
        if not self.matches(request):
            return False
        self.muted.add(request.plural)
        self.happened.set()
        return True


@dataclass
class DropEvents:
    """Watch events that never arrive: the first `count` that match."""

    matches: Callable[[Request, Event], bool]
    count: int = 1
    dropped: list[Event] = field(default_factory=list)

    def swallows(self, request: Request, event: Event) -> bool:
        """Whether this event is lost; counts it."""
        if len(self.dropped) >= self.count or not self.matches(request, event):
            return False
        self.dropped.append(event)
        return True


@dataclass(frozen=True)
class ErrorEvent:
    """Open watches get an ERROR event and end; so do those that are opened."""

    matches: Matcher
    code: int = 500


@dataclass
class OldLists:
    """Until its watch begins, an informer's list is an older one, as a cache may answer it."""

    lists: dict[str, bytes]
    """By plural. The watch goes on from the resourceVersion in it, so nothing is skipped."""
    replayed: set[str] = field(default_factory=set)

    def answer(self, request: Request) -> bytes | None:
        """The old list, for a list of all namespaces."""
        if request.verb != "list" or not request.everywhere or request.plural not in self.lists:
            return None
        self.replayed.add(request.plural)
        return self.lists[request.plural]

    def watch_begins(self, request: Request) -> None:
        """From now on lists of this kind are fresh again."""
        self.lists.pop(request.plural, None)


Fault = Death | Answer | Silence | MuteStreams | DropEvents | ErrorEvent | OldLists


def everything(request: Request) -> bool:
    """Matches each call for a resource."""
    return bool(request.verb)


def writes(request: Request) -> bool:
    """Matches each write."""
    return request.writes


def reads(request: Request) -> bool:
    """Matches gets and lists."""
    return request.verb in ("get", "list")


def streams(request: Request) -> bool:
    """Matches watches."""
    return request.verb == "watch"


def lists_and_watches(request: Request) -> bool:
    """Matches what informers do."""
    return request.verb in ("list", "watch")
