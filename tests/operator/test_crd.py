"""The CustomResourceDefinition: structural, described, and the same wherever it is committed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import generate, tools
from model_operator import crd, rules, validation
from model_operator.rules import Rule
from tests.operator.conftest import Kubectl
from tests.operator.rule_examples.resources import served
from tests.operator.rule_examples.tables import EXAMPLES

WITH_RULES = crd.custom_resource_definition(cel=True)
WITHOUT_RULES = crd.custom_resource_definition(cel=False)
VERSION = WITH_RULES["spec"]["versions"][0]
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
        field = re.sub(r"\[-?\d*:?\*?\]", "[]", path.split("[?")[0])
        assert field in ALL or field.startswith(".metadata."), path


def test_the_committed_definition_is_the_one_that_the_types_give(repository: Path):
    committed = (repository / "crds/modeldeployments.cvfactory.dev.yaml").read_text()
    assert yaml.safe_load(committed) == WITH_RULES


# --- rules -----------------------------------------------------------------------------------


def test_every_rule_stands_at_its_path_with_its_sentence():
    assert len(rules.ALL) > 40
    for rule in rules.ALL:
        written = crd.node_at(ROOT_SCHEMA, rule.path)["x-kubernetes-validations"]
        assert {"rule": rule.cel, "message": rule.sentence} in written


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: f"{rule.path}-{rule.sentence[:30]}")
def test_a_rules_sentence_is_one_line_without_a_regular_expression(rule: Rule):
    assert "\n" not in rule.sentence
    assert not {"^", "$", "\\"} & set(rule.sentence)
    assert not rule.sentence.endswith(".")


def test_a_definition_for_old_api_servers_has_no_rules_but_what_stands_in_for_them():
    root = WITHOUT_RULES["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert "x-kubernetes-validations" not in str(WITHOUT_RULES)
    for rule in rules.ALL:
        node = crd.node_at(root, rule.path or "metadata.name")
        assert rule.without_cel.items() <= node.items()
        assert node["type"] == "string" or not rule.without_cel
    assert any(rule.without_cel for rule in rules.ALL)
    assert "pattern" not in str(ROOT_SCHEMA), "would answer before the rule's sentence does"


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: f"{rule.path}-{rule.sentence[:30]}")
def test_what_stands_in_for_a_rule_lets_every_good_resource_pass(rule: Rule):
    (examples,) = (examples for examples in EXAMPLES if examples.rule() == rule)
    path = "metadata.name" if rule.path == "" else rule.path
    for body in examples.good:
        for _, node in validation.nodes(served(body), path):
            if "pattern" in rule.without_cel:
                assert re.search(rule.without_cel["pattern"], node)


def test_a_field_says_that_this_release_does_not_do_it_exactly_as_long_as_a_rule_refuses_it():
    remarked = {rule.remark[0] for rule in rules.ALL if rule.remark}
    said = {path[1:] for path, schema in FIELDS.items() if "supported" in schema["description"]}
    assert said == remarked
    assert [rule for rule in rules.ALL if bool(rule.remark) != (rule in rules.NOT_YET)] == []
    later = crd.root_schema(rules.PERMANENT)["properties"]["spec"]["properties"]["model"][
        "properties"
    ]["requiredTags"]
    assert "supported" not in later["description"]


BOUNDS = {"string": "maxLength", "array": "maxItems"}


@pytest.mark.parametrize("rule", rules.ALL, ids=lambda rule: f"{rule.path}-{rule.sentence[:30]}")
def test_what_a_rule_walks_has_a_bound_by_which_the_api_server_prices_it(rule: Rule):
    parts = rule.path.replace("[]", ".[]").split(".") if rule.path else []
    prefixes = [".".join(parts[:end]).replace(".[]", "[]") for end in range(len(parts) + 1)]
    for prefix in prefixes:
        node = crd.node_at(ROOT_SCHEMA, prefix)
        bound = BOUNDS.get(node["type"])
        if "additionalProperties" in node:
            bound = "maxProperties"
        assert bound is None or bound in node, prefix


@pytest.mark.api
def test_an_api_server_that_knows_no_cel_takes_every_good_resource(kubectl: Kubectl):
    good = [body for examples in EXAMPLES for body in examples.good]
    listed = {"apiVersion": "v1", "kind": "List", "items": good}
    done = kubectl("create", "--dry-run=server", "-n", "default", "-f", "-", stdin=listed)
    assert done.stdout.count(" created (server dry run)") == len(good)


# --- the chart -------------------------------------------------------------------------------


@pytest.mark.api  # helm may have to be fetched
@pytest.mark.parametrize(
    ("version", "definition"),
    [
        ("1.20.2", WITHOUT_RULES),
        ("1.24.17", WITHOUT_RULES),
        ("1.25.0", WITH_RULES),
        ("1.25.4-gke.1600", WITH_RULES),
        ("1.30.0", WITH_RULES),
    ],
)
def test_the_chart_gives_an_api_server_the_rules_exactly_when_it_knows_cel(
    repository: Path, version: str, definition: dict[str, Any]
):
    rendered = subprocess.run(
        [
            *(tools.helm(), "template", "release", repository / "charts/cv-factory"),
            *("--show-only", "templates/crd.yaml", "--kube-version", version),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert yaml.safe_load(rendered.stdout) == generate.chart_copy(definition)


def test_helm_leaves_the_definition_and_with_it_all_models_when_a_release_is_removed():
    annotations = generate.chart_copy(WITH_RULES)["metadata"]["annotations"]
    assert annotations["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize("definition", [WITH_RULES, WITHOUT_RULES], ids=["cel", "plain"])
def test_no_text_of_the_definition_would_be_taken_for_a_template_by_helm(definition):
    assert "{{" not in generate.as_yaml(definition)
