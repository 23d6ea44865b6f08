"""Writes docs/resource.md: every field and every rule of the ModelDeployment, from the types.

Called by `dev.generate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from model_operator import api, crd, rules
from model_operator.rules import Rule

Schema = dict[str, Any]

INTRODUCTION = f"""\
# The ModelDeployment resource

`{api.API_VERSION}`, namespaced, short name `md`, categories `all` and `cvfactory`.
The same text is at hand in the terminal: `kubectl explain modeldeployment.spec.strategy`.

```yaml
apiVersion: {api.API_VERSION}
kind: {api.KIND}
metadata:
  name: cats-dogs
spec:
  model:
    uri: models:/cats-dogs@champion
  replicas: 3
```

That is a whole resource: all else has a default, or is left to Kubernetes.

**Who refuses what.** An API server of Kubernetes 1.25 or later refuses a resource that breaks a
type, a bound or one of the [rules](#rules), with the sentence that stands here, and nothing of it
is stored. An older one knows no rules and refuses only types and bounds; the operator then sets
`Stalled=True` with the reason `InvalidSpec` and the same sentence, and what serves keeps serving.
`kubectl` refuses fields that do not exist, so a typo is found.

**What a change does.** After a change of `spec.model` it is looked up anew, and other bytes are a
new revision, which rolls out; so is any change of `spec.server`. A change of anything else rolls
nothing: `replicas` scales, the rest counts from now on. No field below `spec.server` has a
default, so that no later release can change what a revision is.
"""

RULES = """\
## Rules

"""

NOT_YET = """\
## Not in this release

These fields are there, so that what you write today will still be right, and are refused until
the release that does what they ask.

"""

STATUS = """\
## Status

Written by the operator alone. `kubectl wait --for=condition=Ready md/NAME` and kstatus read
`observedGeneration` and `conditions`; `phase` and `message` are for people.

"""


def reference() -> str:
    """The whole page."""
    root = crd.root_schema()["properties"]
    return "".join(
        (
            INTRODUCTION,
            *_sections(root["spec"], "spec"),
            f"\n{RULES}",
            _rules(rules.PERMANENT),
            *((f"\n{NOT_YET}", _rules(rules.NOT_YET)) if rules.NOT_YET else ()),
            f"\n{STATUS}",
            *_sections(root["status"], "status"),
        )
    )


def _sections(schema: Schema, path: str, *, level: str = "##") -> Iterator[str]:
    """A heading and a table for an object, then the same for each object below it."""
    if not schema.get("properties") or schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if path != "status":
        yield f"\n{level} {path}\n\n"
    yield from _table(schema, wanted=path.startswith("spec"))
    if path == "status.model":
        return
    for name, member in schema["properties"].items():
        items = "[]" if member.get("type") == "array" else ""
        yield from _sections(_inner(member), f"{path}.{name}{items}", level="###")


def _inner(schema: Schema) -> Schema:
    """The items of a list, or the schema itself."""
    inner: Schema = schema.get("items", schema)
    return inner


def _table(schema: Schema, *, wanted: bool) -> Iterator[str]:
    """One row for each field; what is required, or the default, only where users write it."""
    titles = ["field", "type", *(["default"] if wanted else []), "meaning"]
    yield _row(titles) + _row(["---"] * len(titles))
    for name, member in schema["properties"].items():
        default = "required" if name in schema.get("required", ()) else _default(member)
        yield _row(
            [f"`{name}`", _type(member), *([default] if wanted else []), member["description"]]
        )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _default(schema: Schema) -> str:
    default = schema.get("default")
    if default is None or isinstance(default, dict):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return "map of strings"
    bounds = [schema.get("minimum"), schema.get("maximum")]
    if None not in bounds:
        return f"{schema['type']}, {bounds[0]} to {bounds[1]}"
    return str(schema["type"])


def _rules(table: Sequence[Rule]) -> str:
    rows = [_row([f"`{rule.path or 'metadata.name'}`", rule.sentence]) for rule in table]
    return "".join((_row(["where", "what is wanted"]), _row(["---", "---"]), *rows))
