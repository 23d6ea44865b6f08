"""The route document: what the operator writes and the agent applies. Pure.

    {"stable": REV, "canary": REV or null, "weight": 0 to 100,
     "revisions": {REV: {"address": "IP:PORT"}},
     "sticky": {"header": NAME} or {"cookie": NAME} or null, "forceHeader": NAME or null}

Its hash is a SHA-256 over its very text, so that nobody has to agree on how JSON is written.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_router.errors import RouteError

_REVISION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")  # RFC 9110, the name of a field


@dataclass(frozen=True)
class Address:
    """Where a revision's pods are reached."""

    host: str
    port: int

    def __str__(self) -> str:
        """As the document has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Sticky:
    """What of a request says whose it is."""

    kind: str
    """header or cookie."""
    name: str


@dataclass(frozen=True)
class RouteDocument:
    """How requests are divided."""

    hash: str
    stable: str
    canary: str | None
    weight: int
    """Percent of the requests for the canary."""
    addresses: Mapping[str, Address]
    """By revision."""
    sticky: Sticky | None = None
    force_header: str | None = None


def digest(text: str) -> str:
    """The hash by which operator and agent name a document."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> RouteDocument:
    """Raises RouteError with the sentence that says what is wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise RouteError(f"the route is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RouteError("the route must be a JSON object")
    addresses = _addresses(document.get("revisions"))
    stable, canary = document.get("stable"), document.get("canary")
    if not isinstance(stable, str) or stable not in addresses:
        raise RouteError(f"stable must be one of the revisions, not {stable!r}")
    if canary is not None and (not isinstance(canary, str) or canary not in addresses):
        raise RouteError(f"canary must be null or one of the revisions, not {canary!r}")
    weight = document.get("weight")
    if type(weight) is not int or not 0 <= weight <= 100:
        raise RouteError(f"weight must be a whole number from 0 to 100, not {weight!r}")
    if weight and canary in (None, stable):
        raise RouteError(f"weight is {weight}, and there is no canary that it could be for")
    return RouteDocument(
        hash=digest(text),
        stable=stable,
        canary=None if canary == stable else canary,
        weight=weight,
        addresses=addresses,
        sticky=_sticky(document.get("sticky")),
        force_header=_token(document.get("forceHeader"), "forceHeader"),
    )


def _addresses(revisions: Any) -> dict[str, Address]:
    if not isinstance(revisions, dict) or not revisions:
        raise RouteError("revisions must say where each revision is: {REVISION: {address}}")
    found = {}
    for revision, entry in revisions.items():
        if not _REVISION.fullmatch(revision):
            raise RouteError(f"{revision!r} is not the id of a revision")
        text = entry.get("address") if isinstance(entry, dict) else None
        host, _, port = str(text).rpartition(":")
        try:
            host = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        except ValueError as error:
            raise RouteError(f"revision {revision}: {text!r} is not IP:PORT") from error
        if not (port.isdecimal() and 1 <= int(port) <= 65_535):
            raise RouteError(f"revision {revision}: {text!r} is not IP:PORT")
        found[revision] = Address(host, int(port))
    return found


def _sticky(value: Any) -> Sticky | None:
    if value is None:
        return None
    if isinstance(value, dict) and len(value) == 1:
        ((kind, name),) = value.items()
        if kind in ("header", "cookie") and (token := _token(name, f"sticky.{kind}")):
            return Sticky(kind, token)
    raise RouteError('sticky must be null, {"header": NAME} or {"cookie": NAME}')


def _token(value: Any, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise RouteError(f"{field} must be the name of a header or cookie, not {value!r}")
    return value
