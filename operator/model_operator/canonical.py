"""Canonical bodies, and whether a live object already is what an apply would make of it.

The API server fills in defaults and rewrites quantities, so a body that was applied never comes
back equal. It is unchanged when it is a subset of the live object: every member that is wanted
is there with the same value, and lists have the same items in the same order. Used by
`resources` (to build) and `decide` (to leave out writes that would change nothing).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

Body = dict[str, Any]

_QUANTITY = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?|[KMGTPE]i)$")
_FACTORS = {
    "": Decimal(1),
    **{s: Decimal(10) ** (3 * n) for n, s in zip((-3, -2, -1, 1), "numk", strict=True)},
    **{s: Decimal(10) ** (3 * n) for n, s in enumerate("MGTPE", start=2)},
    **{f"{s}i": Decimal(1024) ** n for n, s in enumerate("KMGTPE", start=1)},
}


def canonical(value: Any) -> Any:
    """Drops nulls, empty lists and empty mappings at every depth; 0, "" and False stay."""
    if isinstance(value, Mapping):
        members = {key: canonical(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, [], {})}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def digest(value: Any) -> str:
    """SHA-256 in hex over the canonical JSON form of `value` (keys sorted, no white space)."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def quantity(text: object) -> Decimal | None:
    """The number that a Kubernetes quantity stands for; None when it is not one.

    >>> quantity("500m") == quantity("0.5")
    True
    >>> quantity("1Gi")
    Decimal('1073741824')
    """
    match = _QUANTITY.match(str(text))
    return Decimal(match[1]) * _FACTORS[match[2]] if match else None


def is_subset(wanted: Any, live: Any, *, quantities: bool = False) -> bool:
    """Whether `live` already has everything that `wanted` says.

    Below a member named `limits` or `requests` values are compared as quantities.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            is_subset(
                value,
                # The server leaves out empty strings, as in an environment variable's value.
                live.get(key, "" if value == "" else None),
                quantities=quantities or key in ("limits", "requests"),
            )
            for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(live, Sequence)
            and len(wanted) == len(live)
            and all(
                is_subset(*pair, quantities=quantities) for pair in zip(wanted, live, strict=True)
            )
        )
    if quantities and (number := quantity(wanted)) is not None:
        return number == quantity(live)
    return bool(wanted == live)
