"""The agent: keeps HAProxy at the route that the file holds, and says what HAProxy really has.

`main` starts it; `web` asks it from other threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_router import route
from model_router.configuration import Configuration, assign, configure, divided
from model_router.errors import ProxyError, RouteError
from model_router.proxy import Proxy
from model_router.route import RouteDocument
from model_router.settings import Settings

POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What HAProxy has, just read back."""

    hash: str | None
    """Of the document in force; None while HAProxy holds something else."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Percent by revision."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By revision, those that the document names."""
    stable: str | None = None
    canary: str | None = None
    draining: bool = False
    error: str | None = None
    """Why the file, or HAProxy, is not what it should be."""

    @property
    def ready(self) -> bool:
        """Whether clients may be sent here."""
        return self.hash is not None and not self.draining

    def as_json(self) -> dict[str, Any]:
        """The body of GET /route."""
        return {
            "hash": self.hash,
            "stable": self.stable,
            "canary": self.canary,
            "weights": dict(self.weights),
            "addresses": dict(self.addresses),
            "draining": self.draining,
            "error": self.error,
        }


class Agent:
    """Applies each new document, and repairs what somebody else has changed in HAProxy."""

    def __init__(self, settings: Settings, proxy: Proxy) -> None:
        self._settings = settings
        self._proxy = proxy
        self._lock = threading.Lock()
        self._document: RouteDocument | None = None
        self._slots: dict[str, str] = {}
        self._seen: str | None = None
        self._refused: str | None = None
        self._draining = False
        self.bases: dict[str, dict[str, str]] = {}
        """HAProxy's counters by slot as they were when its revision got it."""

    @property
    def slots(self) -> Mapping[str, str]:
        """Slot by revision."""
        with self._lock:
            return dict(self._slots)

    def follow(self) -> None:
        """One look at the file and at HAProxy; what differs is set right."""
        self._proxy.check()
        with self._lock:
            document = self._read()
            if document is None:
                return
            try:
                self._apply(document)
            except ProxyError as error:
                _log.warning("not applied, trying again", extra={"reason": str(error)})

    def run(self, stop: threading.Event) -> None:
        """Follows the file until it is told to stop, and while it drains."""
        while not stop.is_set():
            self.follow()
            stop.wait(POLL_SECONDS)
        self._draining = True
        _log.info("draining", extra={"seconds": self._settings.drain_seconds})
        end = time.monotonic() + self._settings.drain_seconds
        while time.monotonic() < end:
            self.follow()
            time.sleep(POLL_SECONDS)

    def answer(self) -> Answer:
        """What is true now; HAProxy is asked each time."""
        with self._lock:
            document = self._document
            if document is None:
                return Answer(None, draining=self._draining, error=self._refused or "no route yet")
            try:
                live = self._live()
            except ProxyError as error:
                return Answer(None, draining=self._draining, error=str(error))
            wanted = configure(document, self._slots, draining=self._draining)
            same = _holds(live, wanted)
            addresses = {
                revision: str(live.servers[self._slots[revision]].address)
                for revision in document.addresses
                if self._slots[revision] in live.servers
            }
            return Answer(
                hash=document.hash if same else None,
                weights=divided(live.entries, self._slots),
                addresses=addresses,
                stable=document.stable,
                canary=document.canary,
                draining=self._draining,
                error=self._refused or (None if same else "HAProxy does not hold the route yet"),
            )

    def _read(self) -> RouteDocument | None:
        """The document in the file; where that is none, the last one that was."""
        try:
            text = self._settings.route_file.read_text()
            if text == self._seen:
                self._refused = None
                return self._document
            document = route.parse(text)
            slots = assign(self._slots, document.addresses)
        except (OSError, UnicodeDecodeError, RouteError) as error:
            if str(error) != self._refused:
                _log.error("refused the route", extra={"reason": str(error)})
            self._refused = str(error)
            return self._document
        self._note_bases(slots)
        self._seen, self._refused = text, None
        self._document, self._slots = document, slots
        return document

    def _note_bases(self, slots: Mapping[str, str]) -> None:
        """A slot's counters begin anew with its revision; HAProxy's own go on."""
        changed = {slot for revision, slot in slots.items() if self._slots.get(revision) != slot}
        if changed:
            try:
                counters = self._proxy.api.counters()
            except ProxyError:
                return
            self.bases |= {slot: row for slot, row in counters.items() if slot in changed}

    def _apply(self, document: RouteDocument) -> None:
        """New addresses first, then the route, then what is not needed any more: at no moment
        does the route lead to a slot without its address.
        """
        wanted = configure(document, self._slots, draining=self._draining)
        live = self._live()
        if _holds(live, wanted):
            return
        started = time.monotonic()
        api = self._proxy.api
        for slot, server in wanted.servers.items():
            if live.servers.get(slot) != server:
                api.set_server(slot, server)
        if live.entries != wanted.entries:
            api.exchange_entries(wanted.entries)
        for slot, server in live.servers.items():
            if slot not in wanted.servers and server.weight:
                api.set_weight(slot, 0)
        if not _holds(self._live(), wanted):
            raise ProxyError("HAProxy shows something else than it was told")
        _log.info(
            "route applied",
            extra={
                "hash": document.hash,
                "weights": divided(wanted.entries, self._slots),
                "milliseconds": round(1000 * (time.monotonic() - started), 1),
            },
        )

    def _live(self) -> Configuration:
        return Configuration(self._proxy.api.servers(), self._proxy.api.entries())


def _holds(live: Configuration, wanted: Configuration) -> bool:
    """Whether HAProxy has what is wanted, and nothing else that a request could get to."""
    others = (server for slot, server in live.servers.items() if slot not in wanted.servers)
    return (
        live.entries == wanted.entries
        and all(live.servers.get(slot) == server for slot, server in wanted.servers.items())
        and not any(server.weight for server in others)
    )
