"""Every rule's CEL expression and its Python predicate say the same: in a CEL library's eyes."""

from __future__ import annotations

import functools
import itertools
import json
from typing import Any

import celpy
import pytest
from celpy import celtypes
from hypothesis import HealthCheck, given, settings

from model_operator import crd, rules, validation
from model_operator.rules import Rule
from tests.operator.resource_values import ROOT, SPECS
from tests.operator.rule_examples.examples import Examples, Json
from tests.operator.rule_examples.not_yet import NOT_YET
from tests.operator.rule_examples.resources import served
from tests.operator.rule_examples.tables import EXAMPLES, PERMANENT

ENVIRONMENT = celpy.Environment()


def is_sorted(values: celtypes.ListType) -> celtypes.BoolType:
    """Kubernetes' own addition to CEL. https://kubernetes.io/docs/reference/using-api/cel/"""
    return celtypes.BoolType(all(a <= b for a, b in itertools.pairwise(values)))


@functools.cache
def program(cel: str) -> celpy.Runner:
    return ENVIRONMENT.program(ENVIRONMENT.compile(cel), functions={"isSorted": is_sorted})


def as_cel(schema: dict[str, Any], value: Any) -> Any:
    """A JSON value as the API server hands it to CEL: typed by its schema, the rest invisible."""
    match schema.get("type"):
        case "object":
            known, others = schema.get("properties", {}), schema.get("additionalProperties")
            return celtypes.MapType(
                {
                    celtypes.StringType(key): as_cel(known.get(key) or others, member)
                    for key, member in value.items()
                    if key in known or others
                }
            )
        case "array":
            return celtypes.ListType([as_cel(schema["items"], item) for item in value])
        case "number":
            return celtypes.DoubleType(value)
        case _:
            return celpy.json_to_cel(value)


def cel_holds(rule: Rule, served: Json) -> bool:
    """What the API server says of a resource; an expression that cannot be evaluated raises."""
    return all(
        evaluate(rule.cel, rule.path, json.dumps(node, sort_keys=True))
        for _, node in validation.nodes(served, rule.path)
    )


@functools.cache
def evaluate(cel: str, path: str, node: str) -> bool:
    """What an expression says of a node, given as JSON: two of three nodes have come before."""
    value = as_cel(crd.node_at(ROOT, path), json.loads(node))
    return bool(program(cel).evaluate({"self": value}))


def python_holds(rule: Rule, served: Json) -> bool:
    return not list(validation.broken((rule,), served))


def every(kind: str) -> list[Any]:
    return [
        pytest.param(examples, body, id=f"{examples.path}-{examples.words}-{index}")
        for examples in EXAMPLES
        for index, body in enumerate(getattr(examples, kind))
    ]


@pytest.mark.parametrize(
    ("table", "examples"),
    [(rules.PERMANENT, PERMANENT), (rules.NOT_YET, NOT_YET)],
    ids=["permanent", "not yet"],
)
def test_every_rule_of_a_table_has_good_and_bad_examples_in_the_table_of_its_own(table, examples):
    tried = [one.rule() for one in examples]
    assert [rule for rule in table if tried.count(rule) != 1] == []
    assert len(tried) == len(table)
    assert all(one.good and one.bad for one in examples)


@pytest.mark.parametrize(("examples", "body"), every("good"))
def test_a_good_resource_keeps_the_rule(examples: Examples, body: Json):
    rule = examples.rule()
    assert cel_holds(rule, served(body))
    assert python_holds(rule, served(body))


@pytest.mark.parametrize(("examples", "body"), every("bad"))
def test_a_bad_resource_breaks_the_rule(examples: Examples, body: Json):
    rule = examples.rule()
    assert not cel_holds(rule, served(body))
    assert not python_holds(rule, served(body))


@pytest.mark.parametrize(
    ("examples", "body"), [case for case in every("good") if case.values[0].rule().path]
)
def test_a_good_resource_keeps_every_rule_but_that_its_release_may_not_do_it_yet(examples, body):
    assert list(validation.broken(rules.PERMANENT, served(body))) == []
    if examples.rule() in rules.NOT_YET:
        assert validation.refusal(body) is None


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(spec=SPECS)
def test_cel_and_python_agree_on_every_rule_for_any_resource_that_the_schema_allows(spec):
    resource = served({"metadata": {"name": "cats-dogs"}, "spec": spec})
    for rule in rules.ALL:
        assert cel_holds(rule, resource) == python_holds(rule, resource), rule.sentence
