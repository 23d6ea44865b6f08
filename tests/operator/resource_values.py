"""Resources made from the CustomResourceDefinition's own schema, for hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from model_operator import crd

ROOT = crd.root_schema()
SPEC = ROOT["properties"]["spec"]

# Texts that rules care about: any field may get any of them.
TEXTS = (
    *("models", "tmp", "a", "PORT", "error-rate", "latency-p95-ms", "30s", "0s", "5m", "x" * 64),
    *("/models", "/models/a", "/tmp", "/a", "/a/", "//a", "/a/../b", "/modelsx", "0" * 64),
    *("models:/m/1", "models:/m@a", "models:/m", "runs:/a/b", "s3://b/k", "https://u:p@h/x"),
    *("pvc://c/a/../b", "http://h", "http://h/p", "*.a.com", "A.com", "a\n", "/a\n", "\n"),
)

# So few that two fields often have the same: names that must differ, or must be found again.
FEW = ("a", "PORT", "tmp", "/tmp", "error-rate", "30s", "models:/m@a")


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a structural schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _OF_TYPE[schema["type"]](schema)


def _arrays(schema: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    low, high = schema.get("minItems", 0), min(schema.get("maxItems", 4), 4)
    return st.lists(values(schema["items"]), min_size=low, max_size=high)


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    low, high = schema.get("minLength", 0), schema.get("maxLength", 100)
    fitting = [text for text in TEXTS if low <= len(text) <= high]
    names = [text for text in FEW if low <= len(text) <= high]
    free = st.text(min_size=low, max_size=min(high, 20))
    return st.sampled_from(names) | st.sampled_from(fitting) | free


def _integers(schema: dict[str, Any]) -> st.SearchStrategy[int]:
    return st.integers(schema.get("minimum", -2), schema.get("maximum", 2))


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[float]:
    low, high = schema.get("minimum", -2), schema.get("maximum", 2)
    return st.floats(low, high) | st.integers(int(low), int(high))


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    properties = {name: values(member) for name, member in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    if isinstance(of := schema.get("additionalProperties"), dict):
        low, high = schema.get("minProperties", 0), min(schema.get("maxProperties", 3), 3)
        keys = st.sampled_from(("a", "cvfactory.dev/x", "app.kubernetes.io/name")) | st.text()
        return st.dictionaries(keys, values(of), min_size=low, max_size=high)
    if not properties:
        return st.just({})
    return st.fixed_dictionaries(
        {name: member for name, member in properties.items() if name in required},
        optional={name: member for name, member in properties.items() if name not in required},
    )


_OF_TYPE: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "object": _objects,
    "array": _arrays,
    "string": _texts,
    "integer": _integers,
    "number": _numbers,
    "boolean": lambda schema: st.booleans(),
}

SPECS = values(SPEC)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
