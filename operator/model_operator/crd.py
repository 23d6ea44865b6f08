"""Makes the CustomResourceDefinition from the types in `api`; `make generate` writes it out.

A CRD's schema must be structural: no references, no null types, no `additionalProperties: false`
(unknown fields are refused by kubectl and by servers with field validation, and pruned
elsewhere). https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/

There are two of it: with the rules of `rules` in CEL, for Kubernetes 1.25 and later, and without
them, since older API servers refuse the keyword.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_operator import api, rules
from model_operator.rules import Rule

Schema = dict[str, Any]

NAME = f"{api.PLURAL}.{api.GROUP}"

PRINTER_COLUMNS: tuple[Schema, ...] = (
    {"name": "Model", "type": "string", "jsonPath": ".spec.model.uri"},
    {"name": "Version", "type": "string", "jsonPath": ".status.stable.version"},
    {"name": "Strategy", "type": "string", "jsonPath": ".spec.strategy.type"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
    },
    {"name": "Step", "type": "integer", "jsonPath": ".status.currentStepIndex"},
    {"name": "Weight", "type": "string", "jsonPath": ".status.traffic[-1:].actualWeight"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Message", "type": "string", "jsonPath": ".status.message"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas", "priority": 1},
    {"name": "Provider", "type": "string", "jsonPath": ".spec.traffic.provider", "priority": 1},
    {"name": "Stable", "type": "string", "jsonPath": ".status.stable.revision", "priority": 1},
    {"name": "Canary", "type": "string", "jsonPath": ".status.canary.revision", "priority": 1},
    {"name": "Digest", "type": "string", "jsonPath": ".status.stable.sha256", "priority": 1},
    {"name": "URL", "type": "string", "jsonPath": ".status.url", "priority": 1},
)


def structural(schema: Schema, definitions: Schema) -> Schema:
    """One JSON schema as pydantic writes it, as a structural schema."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "anyOf" in schema:
        (chosen,) = (option for option in schema["anyOf"] if option.get("type") != "null")
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return structural({**chosen, **rest}, definitions)
    result = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in result:
        result["enum"] = [result.pop("const")]
    if (default := without_nulls(schema.get("default"))) not in (None, {}):
        result["default"] = default
    if "properties" in schema:
        result["properties"] = {
            name: structural(value, definitions) for name, value in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = structural(schema["items"], definitions)
    match schema.get("additionalProperties"):
        case True:
            result["x-kubernetes-preserve-unknown-fields"] = True
        case dict(values):
            result["additionalProperties"] = structural(values, definitions)
        case _:
            pass
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    return result


_DROPPED = {"title", "default", "properties", "items", "additionalProperties", "$defs"}


def without_nulls(value: Any) -> Any:
    """Drops null members at every depth: a structural default may not hold any."""
    if isinstance(value, dict):
        members = {key: without_nulls(member) for key, member in value.items()}
        return {key: member for key, member in members.items() if member not in (None, {})}
    return value


def schema_of(model: type[api.ApiType]) -> Schema:
    """The structural schema of one type."""
    schema = model.model_json_schema(by_alias=True)
    return structural(schema, schema.get("$defs", {}))


def node_at(root: Schema, path: str) -> Schema:
    """The schema of the values at a rule's path."""
    node = root
    for part in path.split(".") if path else ():
        node = node["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            node = node["items"]
    return node


def add_rules(root: Schema, table: Sequence[Rule], *, cel: bool) -> None:
    """Puts every rule to its path: its expression, or what stands in for it."""
    for rule in table:
        if cel:
            validation = {"rule": rule.cel, "message": rule.sentence}
            node_at(root, rule.path).setdefault("x-kubernetes-validations", []).append(validation)
        else:
            # CEL reads a resource's name from the root; a pattern stands at the name itself.
            node_at(root, rule.path or "metadata.name").update(rule.without_cel)


def root_schema(table: Sequence[Rule] = rules.ALL) -> Schema:
    """The schema of the whole resource, with the rules' remarks and without the rules."""
    root: Schema = {
        "type": "object",
        "description": "One computer-vision model, live on this cluster: which version of which "
        "model, on how many pods, and how the next version takes over.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                # What Kubernetes allows; the rule for a name is stricter and has a sentence.
                "properties": {"name": {"type": "string", "maxLength": 253}},
            },
            "spec": schema_of(api.ModelDeploymentSpec),
            "status": schema_of(api.ModelDeploymentStatus),
        },
    }
    for rule in table:
        if rule.remark:
            path, words = rule.remark
            field = node_at(root, path)
            field["description"] = f"{field['description']} {words}"
    return root


def custom_resource_definition(*, cel: bool = False, table: Sequence[Rule] = rules.ALL) -> Schema:
    """The whole definition, ready to be applied.

    Without `cel` every API server from 1.20 on takes it. It then refuses what types, ranges and
    patterns can say; the operator says the rest.
    """
    root = root_schema(table)
    add_rules(root, table, cel=cel)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": api.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": api.KIND,
                "listKind": f"{api.KIND}List",
                "plural": api.PLURAL,
                "singular": api.KIND.lower(),
                "shortNames": ["md"],
                "categories": ["all", "cvfactory"],
            },
            "versions": [
                {
                    "name": api.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [dict(column) for column in PRINTER_COLUMNS],
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }
