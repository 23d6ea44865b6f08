"""Canonical bodies, and whether a live object already is what an apply would make of it.

The API server fills in defaults and rewrites quantities, so a body that was applied never comes
back equal. It is unchanged when it is a subset of the live object: every member that is wanted
is there with the same value. Lists have the same items in the same order, except those whose
items have a key: there, items that an admission webhook has added are left alone. Used by
`resources` (to build) and `children` (to leave out writes that would change nothing).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?|[KMGTPE]i)$")
_FACTORS = {
    "": Decimal(1),
    **{s: Decimal(10) ** (3 * n) for n, s in zip((-3, -2, -1, 1), "numk", strict=True)},
    **{s: Decimal(10) ** (3 * n) for n, s in enumerate("MGTPE", start=2)},
    **{f"{s}i": Decimal(1024) ** n for n, s in enumerate("KMGTPE", start=1)},
}

_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "divisor"})
_LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("name",),
    "ownerReferences": ("uid",),
}
"""What tells the items of a list apart, by the list's name."""


def without_nulls(value: Any) -> Any:
    """Drops null members at every depth. Empty ones stay: an empty selector selects everything."""
    if isinstance(value, Mapping):
        members = {key: without_nulls(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value


def digest(value: Any) -> str:
    """SHA-256 in hex over the JSON form of `value` (no nulls, keys sorted, no white space)."""
    text = json.dumps(
        without_nulls(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
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

    Below a member named `limits` or `requests` values are compared as quantities, and so are the
    other quantities of a pod.
    """
    if wanted is live or (isinstance(wanted, str) and wanted == live):
        return True
    if isinstance(wanted, dict | Mapping):
        return isinstance(live, dict | Mapping) and all(
            is_subset(
                value,
                # The server leaves out what is empty, as in an environment variable's value.
                _alike(key, value, live.get(key, None if value else value)),
                quantities=quantities or key in _QUANTITIES,
            )
            for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(live, list | tuple)
            and len(wanted) == len(live)
            and all(
                is_subset(*pair, quantities=quantities) for pair in zip(wanted, live, strict=True)
            )
        )
    if quantities and (number := quantity(wanted)) is not None:
        return number == quantity(live)
    return bool(wanted == live)


def _alike(name: str, wanted: Any, live: Any) -> Any:
    """Of a list whose items have a key, the live items that are wanted, in the wanted order."""
    keys = _LIST_KEYS.get(name)
    if keys is None or not isinstance(wanted, list | tuple) or not isinstance(live, list | tuple):
        return live

    def identity(item: Any) -> Any:
        return tuple(item.get(key) for key in keys) if isinstance(item, Mapping) else item

    found = {identity(item): item for item in live}
    return [found.get(identity(item)) for item in wanted]


def owns_more(wanted: Mapping[str, Any], live: Mapping[str, Any], manager: str) -> bool:
    """Whether the manager's last apply set a field that is not wanted any more.

    Reads `metadata.managedFields` as the API describes it:
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
    """
    return any(
        _reaches_beyond(entry.get("fieldsV1", {}), wanted)
        for entry in live["metadata"].get("managedFields", ())
        if entry["manager"] == manager and entry["operation"] == "Apply"
    )


def applied_at(live: Mapping[str, Any], manager: str) -> str | None:
    """When an apply of the manager changed the object last, as the API server wrote it; None where
    it does not say so.
    """
    times = [
        entry.get("time")
        for entry in live["metadata"].get("managedFields", ())
        if entry["manager"] == manager and entry["operation"] == "Apply"
    ]
    return max((time for time in times if time), default=None)


def _reaches_beyond(fields: Mapping[str, Any], wanted: Any) -> bool:
    for path, below in fields.items():
        kind, _, name = path.partition(":")
        if kind == "f":
            if not isinstance(wanted, Mapping) or name not in wanted:
                return True
            member = wanted[name]
        elif kind == "k":
            key = json.loads(name)
            member = next((item for item in wanted if is_subset(key, item)), None)
            if member is None:
                return True
        else:
            continue
        if _reaches_beyond(below, member):
            return True
    return False


def others_own(
    wanted: Mapping[str, Any], live: Mapping[str, Any], manager: str, path: tuple[str, ...]
) -> bool:
    """Whether other field managers have set something at `path` that is not wanted there."""
    for entry in live["metadata"].get("managedFields", ()):
        fields = entry.get("fieldsV1", {})
        for name in path:
            fields = fields.get(f"f:{name}", {})
        if entry["manager"] != manager and _reaches_beyond(fields, wanted):
            return True
    return False
