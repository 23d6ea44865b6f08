"""What is known of the objects of one kind: who exists, whose it is, and in which state.

A watch tells it, a list replaces it, and a sweep compares it with the cluster. Whoever finds a
difference, its ModelDeployment is told of once: what is already known is no news. No bodies are
kept. The informer, kopf's handler and the sweep share one view per kind; `main` makes them. By
what children are called (`names_of`) `clients.children` reads them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_operator import api, naming

Key = tuple[str, str]
"""Namespace and name of a ModelDeployment."""

Expect = Callable[[Mapping[str, Any]], None]
"""Takes the metadata of what we wrote: its version is no news."""

TRUSTED_SECONDS = 90.0
"""For so long a watch may be silent and is believed all the same: bookmarks come every minute."""
PATIENCE_SECONDS = 10.0
"""What a sweep has found, a watch that works has told by then."""


@dataclass(frozen=True, slots=True)
class Known:
    """One object."""

    key: Key
    version: str
    """Its resourceVersion: equal or not, nothing else is made of it."""
    name: str


def owner_key(kind: str, metadata: Mapping[str, Any]) -> Key | None:
    """The ModelDeployment that an object is or, by its labels, belongs to."""
    if kind == api.KIND:
        return metadata["namespace"], metadata["name"]
    owner = metadata.get("labels", {}).get(naming.OWNER_LABEL)
    return (metadata["namespace"], owner) if owner else None


def known(kind: str, metadata: Mapping[str, Any]) -> Known | None:
    """What is kept of an object; None when it belongs to no ModelDeployment."""
    key = owner_key(kind, metadata)
    return Known(key, metadata.get("resourceVersion", ""), metadata["name"]) if key else None


class View:
    """Belongs to one event loop."""

    def __init__(
        self,
        kind: str,
        namespace: str | None,
        notify: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        greet: Callable[[Key], None] | None = None,
    ) -> None:
        """`notify` is told whose objects have changed; `greet`, if there is one, whose existed
        already when they were listed for the first time.
        """
        self.kind = kind
        self.namespace = namespace
        """None: all of them."""
        self.listed = False
        """Whether everything that exists has been told of once."""
        self._notify = notify
        self._greet = greet or notify
        self._clock = clock
        self._objects: dict[str, Known] = {}
        """By uid."""
        self._of: dict[Key, tuple[str, ...]] = {}
        """The uids of each ModelDeployment's objects."""
        self._written: dict[Key, set[str]] = {}
        """Names of what we wrote and the watch has not told of yet."""
        self._told_meanwhile: dict[str, list[str]] = {}
        """Of what we are writing just now: the versions that were told, "" where it was deleted."""
        self._touched: set[str] | None = None
        """What was told while a sweep was under way: the sweep knows less of it."""
        self._found: dict[str, float] = {}
        """What a sweep has found and the watch has not told yet, and since when."""
        self._last_sign = self._last_told = clock()
        self.swept_every = 0.0
        """Seconds: where nothing happens, a sweep may be the only sign for so long."""

    def __len__(self) -> int:
        """How many objects are known."""
        return len(self._objects)

    @property
    def age(self) -> float:
        """Seconds since the last sign that the watch works."""
        return self._clock() - self._last_sign

    @property
    def overdue(self) -> float:
        """Seconds since such a sign was due, even where nothing happens."""
        return max(0.0, self.age - self.swept_every)

    def names_of(self, key: Key) -> frozenset[str] | None:
        """What the objects of a ModelDeployment are called, those included that we wrote just now;
        None while nobody can tell: nothing was listed yet, or the watch has long been silent.
        """
        if not self.listed or self.age > TRUSTED_SECONDS:
            return None
        told = (self._objects[uid].name for uid in self._of.get(key, ()))
        return frozenset(told) | self._written.get(key, set())

    def wrote(self, key: Key, name: str) -> None:
        """We write an object; the watch will tell of it."""
        names = self.names_of(key)
        if names is not None and name not in names:
            self._written.setdefault(key, set()).add(name)

    def did_not_write(self, key: Key, name: str) -> None:
        """The API server did not take it; there is nothing that the watch would tell."""
        self._no_longer_awaited(key, name)

    @contextlib.contextmanager
    def writing(self, metadata: Mapping[str, Any]) -> Iterator[Expect]:
        """While we write an object, one of us at a time. The watch may tell before we are answered.

        What it tells meanwhile is news for the owner when this ends, but for the version that was
        read and one that is expected by then.
        """
        uid = metadata["uid"]
        told = self._told_meanwhile[uid] = list[str]()
        expected = [metadata["resourceVersion"]]

        def expect(written: Mapping[str, Any]) -> None:
            # What was told meanwhile may be younger: the watch need not have told of ours.
            if set(told) <= set(expected) and (before := self._objects.get(uid)) is not None:
                self._objects[uid] = replace(before, version=written["resourceVersion"])
                if self._touched is not None:
                    self._touched.add(uid)
            expected.append(written["resourceVersion"])

        try:
            yield expect
        finally:
            del self._told_meanwhile[uid]
            owner = owner_key(self.kind, metadata)
            if owner is not None and not set(told) <= set(expected):
                self._notify(owner)

    def alive(self) -> None:
        """The watch gave a sign of life: it was opened, or sent a bookmark."""
        self._last_sign = self._clock()

    def tell(self, change: str | None, metadata: Mapping[str, Any]) -> None:
        """An event of the watch: ADDED, MODIFIED, DELETED, or None where kopf lists."""
        uid = metadata["uid"]
        self._last_told = self._last_sign = self._clock()
        self._found.pop(uid, None)
        if self._touched is not None:
            self._touched.add(uid)
        self._note(uid, None if change == "DELETED" else known(self.kind, metadata))

    def replace(self, present: Mapping[str, Known]) -> None:
        """A whole list, by which a watch begins."""
        tell = self._notify if self.listed else self._greet
        for uid in {*self._objects, *present}:
            self._note(uid, present.get(uid), tell)
        self._written.clear()
        self._touched = None  # a sweep that is under way knows less of everything
        self._found.clear()
        self._last_told = self._last_sign = self._clock()
        self.listed = True

    def begin_sweep(self) -> None:
        """A list begins that will be compared."""
        self._touched = set()

    def end_sweep(self, present: Mapping[str, Known]) -> int:
        """Takes over what differs from the whole list; returns how much that was."""
        touched, self._touched = self._touched, None
        if touched is None:
            return 0
        differing = [
            uid
            for uid in {*self._objects, *present} - touched
            if self._objects.get(uid) != present.get(uid)
        ]
        for uid in differing:
            self._note(uid, present.get(uid))
            self._found.setdefault(uid, self._clock())
        if not self._found:
            self._last_sign = self._clock()  # nothing was missed: whatever it does, it works
        return len(differing)

    def missed(self) -> tuple[int, bool]:
        """How many findings of sweeps the watch has not told in time (each is counted once), and
        whether it has told nothing else since: it is deaf then.
        """
        now = self._clock()
        late = {uid: at for uid, at in self._found.items() if now - at >= PATIENCE_SECONDS}
        for uid in late:
            del self._found[uid]
        return len(late), any(self._last_told < at for at in late.values())

    def _note(self, uid: str, now: Known | None, tell: Callable[[Key], None] | None = None) -> None:
        before = self._objects.pop(uid, None)
        if before is not None:
            self._unlink(uid, before.key)
        if now is not None:
            self._objects[uid] = now
            self._of[now.key] = (*self._of.get(now.key, ()), uid)
            self._no_longer_awaited(now.key, now.name)
        if before != now and (meanwhile := self._told_meanwhile.get(uid)) is not None:
            meanwhile.append(now.version if now else "")
        elif before != now:
            for key in {one.key for one in (before, now) if one is not None}:
                (tell or self._notify)(key)

    def _unlink(self, uid: str, key: Key) -> None:
        others = tuple(other for other in self._of[key] if other != uid)
        if others:
            self._of[key] = others
        else:
            del self._of[key]

    def _no_longer_awaited(self, key: Key, name: str) -> None:
        if (names := self._written.get(key)) is not None:
            names.discard(name)
            if not names:
                del self._written[key]
