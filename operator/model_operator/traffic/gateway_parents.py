"""What the Gateways say of an HTTPRoute: the conditions that each parent's controller writes.

Pure; read by `gateway_api`. A condition speaks of the generation that it names and of no other:
https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

KIND = "HTTPRoute"
GROUP = "gateway.networking.k8s.io"
_CONFIRMING = ("Accepted", "ResolvedRefs")

Parent = tuple[str, str, str, str, str | None, int | None]
"""Group, kind, namespace, name, sectionName and port: what tells a route's parents apart."""


def doubts(live: Mapping[str, Any]) -> Iterator[str]:
    """Why the HTTPRoute is not taken over by every parent, the gravest first; nothing if it is."""
    yield from refusals(live)
    answers, parents = _answers(live), _parents(live)
    if not parents:
        yield f"the {KIND} names no Gateway"
    for parent in parents:
        if parent not in answers:
            namespace = live["metadata"]["namespace"]
            yield (
                f"no controller has answered for {_named(parent)}: is it there, and does one of "
                f"its listeners take routes of namespace {namespace}?"
            )
        for answer in answers.get(parent, ()):
            for kind in _CONFIRMING:
                if not _is_current(answer, kind, live):
                    yield (
                        f"{_named(parent)} has not taken over generation "
                        f"{live['metadata']['generation']} of the {KIND} yet: {kind} is of another"
                    )


def refusals(live: Mapping[str, Any]) -> Iterator[str]:
    """What parents say against the HTTPRoute as it is now."""
    answers = _answers(live)
    for parent in _parents(live):
        for answer in answers.get(parent, ()):
            for kind in _CONFIRMING:
                told = _condition(answer, kind)
                if _is_current(answer, kind, live) and told["status"] != "True":
                    said = f"{told.get('reason', '')}: {told.get('message', '')}".strip(": ")
                    yield f"{_named(parent)} does not take the {KIND}: {kind} is not true: {said}"


def _is_current(answer: Mapping[str, Any], kind: str, live: Mapping[str, Any]) -> bool:
    generation = live["metadata"]["generation"]
    return bool(_condition(answer, kind).get("observedGeneration") == generation)


def _condition(answer: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = answer.get("conditions") or ()
    return next((told for told in conditions if told["type"] == kind), {})


def _parents(live: Mapping[str, Any]) -> list[Parent]:
    namespace = live.get("metadata", {}).get("namespace", "")
    references = live.get("spec", {}).get("parentRefs") or ()
    return [_identity(reference, namespace) for reference in references]


def _answers(live: Mapping[str, Any]) -> dict[Parent, list[Mapping[str, Any]]]:
    """What controllers say, by the parent that they speak of. Several may speak of one."""
    answers: dict[Parent, list[Mapping[str, Any]]] = {}
    namespace = live.get("metadata", {}).get("namespace", "")
    for answer in live.get("status", {}).get("parents") or ():
        answers.setdefault(_identity(answer["parentRef"], namespace), []).append(answer)
    return answers


def _identity(reference: Mapping[str, Any], namespace: str) -> Parent:
    """A parent, with what the API fills in where a reference is silent."""
    return (
        reference.get("group", GROUP),
        reference.get("kind", "Gateway"),
        reference.get("namespace", namespace),
        reference["name"],
        reference.get("sectionName"),
        reference.get("port"),
    )


def _named(parent: Parent) -> str:
    _, kind, namespace, name, section, port = parent
    listener = f" (listener {section})" if section else ""
    return f"{kind} {namespace}/{name}{listener}{f' port {port}' if port else ''}"
