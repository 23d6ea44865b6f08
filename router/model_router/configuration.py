"""What HAProxy must hold for a route: servers in slots, and one map. Pure.

HAProxy's configuration is fixed and never read again. What changes lives in eight servers, of
which each revision has one for as long as a route names it, and in one map, which is exchanged
as a whole: every request sees one route.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_router.errors import RouteError
from model_router.route import Address, RouteDocument

SLOTS = tuple(f"slot{number}" for number in range(1, 9))
"""The servers of haproxy.cfg."""
ROUTE_KEY = "route"


@dataclass(frozen=True)
class Server:
    """One slot."""

    address: Address
    weight: int
    """1 where a request may go after another revision did not take it, else 0. It has no part in
    dividing requests.
    """


@dataclass(frozen=True)
class Configuration:
    """All that changes at run time."""

    servers: Mapping[str, Server]
    """By slot, those that the route needs."""
    entries: Mapping[str, str]
    """The map."""


def assign(before: Mapping[str, str], revisions: Iterable[str]) -> dict[str, str]:
    """Slot by revision, the most recently needed ones last. Whoever has a slot keeps it, and a
    newcomer gets one that was never used or else the one that has been idle longest.

    Raises:
        RouteError: there are more revisions than slots.

    """
    wanted = list(revisions)
    if len(wanted) > len(SLOTS):
        raise RouteError(f"a route has at most {len(SLOTS)} revisions, not {len(wanted)}")
    idle = {revision: slot for revision, slot in before.items() if revision not in wanted}
    kept = {revision: before[revision] for revision in wanted if revision in before}
    unused = [slot for slot in SLOTS if slot not in before.values()]
    for revision in wanted:
        if revision not in kept:
            kept[revision] = unused.pop(0) if unused else idle.pop(next(iter(idle)))
    return {**idle, **kept}


def configure(
    document: RouteDocument, slots: Mapping[str, str], *, draining: bool
) -> Configuration:
    """The servers and the map of a document. What stable does not take goes to the canary only
    where it has requests anyway; what the canary does not take always goes to stable.
    """
    fallbacks = {document.stable, document.canary if document.weight else None}
    servers = {
        slots[revision]: Server(address, int(revision in fallbacks))
        for revision, address in document.addresses.items()
    }
    stable = slots[document.stable]
    canary = slots[document.canary or document.stable]
    entries = {ROUTE_KEY: f"{stable}:{canary}:{document.weight}"}
    entries |= {"to:stable": stable, "to:canary": canary}
    entries |= {f"to:{revision}": slots[revision] for revision in document.addresses}
    if document.sticky:
        entries["sticky"] = f"{document.sticky.kind}:{document.sticky.name}"
    if document.force_header:
        entries["force"] = f"header:{document.force_header}"
    if draining:
        entries["draining"] = "1"
    return Configuration(servers, entries)


def divided(entries: Mapping[str, str], slots: Mapping[str, str]) -> dict[str, int]:
    """Percent by revision that a map gives; empty without a route that makes sense.

    >>> divided({"route": "slot1:slot2:10"}, {"a": "slot1", "b": "slot2"})
    {'a': 90, 'b': 10}
    """
    revisions = {slot: revision for revision, slot in slots.items()}
    parts: Sequence[str] = entries.get(ROUTE_KEY, "").split(":")
    if len(parts) != 3 or not {*parts[:2]} <= revisions.keys() or not parts[2].isdecimal():
        return {}
    stable, canary, weight = revisions[parts[0]], revisions[parts[1]], int(parts[2])
    return {stable: 100} if stable == canary else {stable: 100 - weight, canary: weight}
