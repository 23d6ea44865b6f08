"""The state of a namespace, with everything taken out that two equal runs may differ in.

What is masked: uids, versions, addresses, times, how many requests were counted until then, and
random names. What is not: everything else,
of every kind that the API server has, the field managers and generations included.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.fault.admin import Admin

Body = dict[str, Any]
NOT_COMPARED = frozenset({"events", "leases", "secrets", "serviceaccounts"})
"""News and clocks, and what each namespace has of its own."""
_MASKED = frozenset(
    {
        *("uid", "resourceVersion", "selfLink", "time", "startTime"),
        *("creationTimestamp", "deletionTimestamp", "stepStartedAt", "timestamp"),
        *("analysedAt", "pausedAt"),
        *("startedAt", "switchedAt", "endedAt", "samples"),
        *("lastTransitionTime", "lastUpdateTime", "lastProbeTime", "lastHeartbeatTime"),
        *("podIP", "podIPs", "ip", "clusterIP", "clusterIPs", "nodePort", "addresses"),
        "endpoints.kubernetes.io/last-change-trigger-time",
    }
)
_MASKED_KEYS = ('k:{"uid"', 'k:{"ip"')
"""Of managedFields, which name a list's elements by their content."""
_OF_CONTROLLERS = ("/replicasets", "/endpointslices")
"""Kinds that controllers write, as often as they happen to see changes: generations say nothing."""
_WITH_NEWS = ("/endpoints", "/endpointslices", "/pods")
"""Kinds whose annotations say when a change was seen or told of last, or nothing when none was."""
_BY_TYPE = frozenset({"conditions", "managedFields", "ownerReferences", "ports"})
"""Lists whose order says nothing."""


async def kinds(admin: Admin) -> list[str]:
    """The path of every namespaced collection, `{}` in the namespace's place."""
    groups = (await admin.call("GET", "/apis"))["groups"]
    prefixes = ["/api/v1", *(f"/apis/{g['preferredVersion']['groupVersion']}" for g in groups)]
    lists = await asyncio.gather(*(admin.call("GET", prefix) for prefix in prefixes))
    found = {}
    for prefix, listed in zip(prefixes, lists, strict=True):
        for kind in listed["resources"]:
            plural = kind["name"]
            if kind["namespaced"] and "list" in kind["verbs"] and plural not in NOT_COMPARED:
                found[plural] = f"{prefix}/namespaces/{{}}/{plural}"
    return sorted(found.values())


async def end_state(admin: Admin, paths: list[str], namespace: str) -> dict[str, Body]:
    """Every object of the namespace by kind and masked name, masked."""
    lists = await asyncio.gather(*(admin.items(path.format(namespace)) for path in paths))
    random = _random_names(namespace, zip(paths, lists, strict=True))
    found: dict[str, list[Body]] = {}
    for path, items in zip(paths, lists, strict=True):
        for body in items:
            masked = mask(body, random)
            if path.endswith(_OF_CONTROLLERS):
                masked["metadata"].pop("generation")
                masked.get("status", {}).pop("observedGeneration", None)
            if path.endswith(_WITH_NEWS):
                masked["metadata"].pop("annotations", None)
                masked["metadata"].pop("managedFields", None)
            identity = f"{path.rsplit('/', 1)[1]} {masked['metadata']['name']}"
            found.setdefault(identity, []).append(masked)
    return {
        f"{identity} {number}": body
        for identity, bodies in found.items()
        for number, body in enumerate(sorted(bodies, key=_as_text))
    }


def _random_names(namespace: str, found: Iterable[tuple[str, list[Body]]]) -> dict[str, str]:
    """What is called differently in each run, and what is said instead."""
    random = {namespace: "NAMESPACE"}
    for path, items in found:
        for body in items:
            name = body["metadata"]["name"]
            if prefix := body["metadata"].get("generateName"):
                random[name] = f"{prefix}*"
            if path.endswith("/services"):
                random[body["spec"]["clusterIP"]] = f"ADDRESS OF {name}"
    # The longest first: one address may be the beginning of another.
    return dict(sorted(random.items(), key=lambda item: -len(item[0])))


def mask(value: Any, random: Mapping[str, str]) -> Any:
    """A copy without what two equal runs may differ in."""
    if isinstance(value, Mapping):
        return {
            _renamed(key, random): _sorted(key, mask(inner, random))
            for key, inner in value.items()
            if key not in _MASKED and not key.startswith(_MASKED_KEYS)
        }
    if isinstance(value, list):
        return [mask(inner, random) for inner in value]
    return _renamed(value, random) if isinstance(value, str) else value


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Where two end states differ, each in one line."""
    return list(_differ("", expected, found))


def _differ(path: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in sorted({*expected, *found}):
            yield from _differ(f"{path}/{key}", expected.get(key), found.get(key))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _differ(f"{path}/{number}", one, other)
    elif expected != found:
        yield f"{path}: {_short(found)} instead of {_short(expected)}"


def _renamed(text: str, random: Mapping[str, str]) -> str:
    for name, instead in random.items():
        text = text.replace(name, instead)
    return text


def _sorted(key: str, value: Any) -> Any:
    return sorted(value, key=_as_text) if key in _BY_TYPE and isinstance(value, list) else value


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    text = _as_text(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
