"""values.yaml and its schema: every value is explained, known, and of the right kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.chart.rendering import CHART, FLAGS, template

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OPEN = {
    *("podAnnotations", "podLabels", "nodeSelector", "affinity"),
    *("annotations", "labels", "requests", "limits"),
}
"""Members of these are the user's own."""


def paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict) and name not in OPEN:
            yield from paths(value, (*above, name))


PATHS = list(paths(VALUES))
CHECK = jsonschema.Draft7Validator(SCHEMA)


def is_valid(values: dict[str, Any]) -> bool:
    return not list(CHECK.iter_errors(values))


def known(schema: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all values that the schema names."""
    schema = resolved(schema)
    for name, member in schema.get("properties", {}).items():
        yield (*above, name)
        yield from known(member, (*above, name))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/definitions/")
    return SCHEMA["definitions"][name] if name else schema


def replaced(path: tuple[str, ...], name: str, value: object) -> dict[str, Any]:
    """The default values with one of them under another name, or with another value."""
    values = json.loads(json.dumps(VALUES))
    inner = values
    for part in path[:-1]:
        inner = inner[part]
    del inner[path[-1]]
    inner[name] = value
    return values


def test_every_value_has_a_comment_right_above_it_and_every_line_fits():
    above = ""
    for number, line in enumerate((CHART / "values.yaml").read_text().splitlines(), 1):
        assert len(line) <= 102, f"line {number} is long"
        if ":" in line and not line.lstrip().startswith("#") and "{cpu" not in line:
            indent = len(line) - len(line.lstrip())
            name = line.split(":")[0].strip()
            plain = name in ("enabled", "requests", "limits")  # said by what stands above
            alone = indent == 0 and line.rstrip().endswith(":")
            explained = above.lstrip().startswith("#")
            assert explained or plain or alone or "memory" in line, f"line {number}: {name}"
        above = line


def test_the_schema_knows_exactly_the_values_that_there_are():
    named = {path for path in known(SCHEMA) if not {"resources", "imagePullSecrets"} & {path[0]}}
    there = {path for path in PATHS if path[0] not in ("resources", "imagePullSecrets")}
    assert named - {("global",)} == there
    assert is_valid(VALUES)


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_misspelt_value_is_refused(path: tuple[str, ...]):
    inner: Any = VALUES
    for part in path:
        inner = inner[part]
    assert not is_valid(replaced(path, f"{path[-1]}s2", inner))


@pytest.mark.parametrize(
    "path", [p for p in PATHS if p[0] != "resources" or len(p) == 1], ids=".".join
)
def test_a_value_of_another_kind_is_refused(path: tuple[str, ...]):
    assert not is_valid(replaced(path, path[-1], 1.5))


def test_every_flag_of_the_chart_is_tried_in_both_positions():
    tried = set()
    for values in FLAGS.values():
        for path in paths(values):
            inner: Any = values
            for part in path:
                inner = inner[part]
            if isinstance(inner, bool):
                tried.add((path, inner))
    flags = {path for path in PATHS if isinstance(at(path), bool)}
    untried = {path for path in flags if (path, not at(path)) not in tried}
    assert untried == {("registry", "trackRollouts")}, "that one is tried in tests/operator"


def at(path: tuple[str, ...]) -> Any:
    inner: Any = VALUES
    for part in path:
        inner = inner[part]
    return inner


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"registry": {"trackingURI": "http://mlflow:5000"}}, "trackingURI"),
        ({"registry": {"trackingUri": "http://me:secret@mlflow:5000"}}, "/registry/trackingUri"),
        ({"leaseSeconds": 2}, "leaseSeconds must be at least 3"),
        ({"workers": 0}, "/workers"),
        ({"sources": {"allowedSchemes": []}}, "/sources/allowedSchemes"),
        ({"extraEnv": [{"value": "no name"}]}, "/extraEnv/0"),
    ],
)
def test_helm_itself_refuses_what_is_wrong_and_names_it(values: dict[str, Any], words: str):
    done = template(values)
    assert done.returncode != 0
    assert words in done.stderr
