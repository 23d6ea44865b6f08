"""Says in one sentence why a ModelDeployment is not valid; `observe` asks for every resource.

The API server refuses most of this earlier, with the same sentences, by the rules in the
CustomResourceDefinition. It cannot where it is older than CEL, and a resource may have been
written before a rule was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from model_operator import api, rules
from model_operator.rules import Rule


def refusal(body: Mapping[str, Any]) -> str | None:
    """What is wrong first, by the field's path, and how many things more; None when valid.

    Total: any JSON object may come.
    """
    spec = body.get("spec")
    try:
        parsed = api.ModelDeploymentSpec.model_validate({} if spec is None else spec)
    except ValidationError as error:
        return _of_types(error)
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    found = list(broken(rules.ALL, as_served(str(name or ""), parsed)))
    if not found:
        return None
    where, rule = found[0]
    return _with_more(f"{where}: {rule.sentence}" if where else rule.sentence, len(found) - 1)


def as_served(name: str, spec: api.ModelDeploymentSpec) -> dict[str, Any]:
    """The part of a resource that rules see, as the API server has it: defaults filled in."""
    return {
        "metadata": {"name": name},
        "spec": spec.model_dump(by_alias=True, exclude_none=True),
    }


def broken(table: tuple[Rule, ...], resource: Mapping[str, Any]) -> Iterator[tuple[str, Rule]]:
    """Every value that breaks a rule, by its path with indices, in the order of the table."""
    for rule in table:
        for where, node in nodes(resource, rule.path):
            if not rule.holds(node):
                yield where, rule


def nodes(resource: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """The values at a rule's path, each by its path with indices; none where a field is absent.

    >>> list(nodes({"spec": {"env": [{"name": "A"}, {"name": "B"}]}}, "spec.env[]"))
    [('spec.env[0]', {'name': 'A'}), ('spec.env[1]', {'name': 'B'})]
    """
    found: list[tuple[str, Any]] = [("", resource)]
    for part in path.split(".") if path else ():
        name = part.removesuffix("[]")
        found = [
            (f"{where}.{name}".removeprefix("."), node[name])
            for where, node in found
            if name in node
        ]
        if part.endswith("[]"):
            found = [
                (f"{where}[{index}]", item)
                for where, items in found
                for index, item in enumerate(items)
            ]
    yield from found


def _of_types(error: ValidationError) -> str:
    errors = error.errors()
    field = ".".join(["spec", *(str(part) for part in errors[0]["loc"])])
    words = errors[0]["msg"].removeprefix("Value error, ")
    return _with_more(f"{field}: {words}", len(errors) - 1)


def _with_more(sentence: str, more: int) -> str:
    return f"{sentence} (and {more} more)" if more else sentence
