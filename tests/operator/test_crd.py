"""The CustomResourceDefinition: structural, described, and the same wherever it is committed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import generate
from model_operator import crd

VERSION = crd.custom_resource_definition()["spec"]["versions"][0]
ROOT_SCHEMA = VERSION["schema"]["openAPIV3Schema"]


def schemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below and including this one, by its field's path."""
    yield path, schema
    for name, member in schema.get("properties", {}).items():
        yield from schemas(member, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from schemas(schema[keyword], f"{path}[]")


ALL = dict(schemas(ROOT_SCHEMA))
FIELDS = {
    path: schema
    for path, schema in ALL.items()
    if path.startswith((".spec", ".status")) and not path.endswith("[]")
}


def test_the_walk_over_the_schema_reaches_its_depths():
    assert ".spec.server.nodeSelector[]" in ALL
    assert ".status.conditions[].lastTransitionTime" in FIELDS


@pytest.mark.parametrize("path", ALL)
def test_every_schema_is_structural(path):
    schema = ALL[path]
    assert schema.get("type") or schema.get("x-kubernetes-preserve-unknown-fields"), "has no type"
    assert schema.get("type") != "null"
    forbidden = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "nullable"}
    assert not forbidden & schema.keys()
    assert schema.get("additionalProperties") is not False


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_is_described_in_one_line_for_kubectl_explain(path):
    description = FIELDS[path].get("description", "")
    assert description.endswith(".")
    assert "\n" not in description


def test_nothing_below_spec_server_has_a_default_for_it_would_change_the_id_of_every_revision():
    # The API server writes defaults into every resource, and a revision's id is taken over
    # spec.server as it is there: a default that a later release adds would start all models anew.
    below = {path: schema for path, schema in ALL.items() if path.startswith(".spec.server")}
    assert len(below) > 10
    assert [path for path, schema in below.items() if "default" in schema] == []


def test_defaults_elsewhere_hold_no_null_and_no_empty_object():
    def values(value: Any) -> Iterator[Any]:
        yield value
        if isinstance(value, dict):
            for member in value.values():
                yield from values(member)

    defaults = {path: schema["default"] for path, schema in ALL.items() if "default" in schema}
    assert defaults[".spec.replicas"] == 1
    for path, default in defaults.items():
        assert not [value for value in values(default) if value is None or value == {}], path


def test_fragments_of_pods_are_kept_whole():
    for path in (".spec.server.env[]", ".spec.server.resources", ".spec.server.affinity"):
        assert ALL[path]["x-kubernetes-preserve-unknown-fields"] is True, path


def test_the_scale_subresource_and_the_columns_name_fields_that_exist():
    scale = VERSION["subresources"]["scale"]
    columns = [column["jsonPath"] for column in VERSION["additionalPrinterColumns"]]
    for path in (*scale.values(), *columns):
        field = path.split("[?")[0].replace("[*]", "[]")
        assert field in ALL or field.startswith(".metadata."), path


@pytest.mark.parametrize(
    ("committed", "rendered"),
    [
        ("crds/modeldeployments.cvfactory.dev.yaml", crd.custom_resource_definition()),
        (
            "charts/cv-factory/templates/crd.yaml",
            generate.chart_copy(crd.custom_resource_definition()),
        ),
    ],
    ids=["crds", "chart"],
)
def test_the_committed_definition_is_the_one_that_the_types_give(
    repository: Path, committed, rendered
):
    assert yaml.safe_load((repository / committed).read_text()) == rendered


def test_helm_leaves_the_definition_and_with_it_all_models_when_a_release_is_removed():
    annotations = generate.chart_copy(crd.custom_resource_definition())["metadata"]["annotations"]
    assert annotations["helm.sh/resource-policy"] == "keep"


def test_the_charts_copy_holds_nothing_that_helm_would_take_for_a_template(repository: Path):
    assert "{{" not in (repository / "charts/cv-factory/templates/crd.yaml").read_text()
