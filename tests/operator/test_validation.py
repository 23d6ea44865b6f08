"""What the operator says of a ModelDeployment that is not valid: always one clear sentence."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_operator import observe, rules, validation
from model_operator.api import parse_duration
from tests.operator.builders import make_model_deployment
from tests.operator.resource_values import JSON, SPECS
from tests.operator.rule_examples.examples import Json
from tests.operator.rule_examples.resources import model, resource, served
from tests.operator.rule_examples.tables import EXAMPLES


def refusal(**spec: Any) -> str | None:
    return validation.refusal(resource(**spec))


def test_a_plain_resource_is_valid():
    assert refusal() is None


def test_a_sentence_names_the_field_and_the_item_of_a_list():
    variables = [{"name": "A"}, {"name": "PORT"}]
    sentence = refusal(server={"env": variables})
    assert sentence
    assert sentence.startswith("spec.server.env[1]: ")
    assert sentence.endswith("are set by the operator: leave them out")


def test_the_resources_own_name_is_told_without_a_path():
    sentence = validation.refusal(resource("9lives"))
    assert sentence
    assert sentence.startswith("metadata.name must begin with a lowercase letter")


def test_what_else_is_wrong_is_counted():
    sentence = refusal(replicas=-1, paused="perhaps", revisionHistoryLimit=-1)
    assert sentence
    assert sentence.startswith("spec.replicas: ")
    assert sentence.endswith(" (and 2 more)")
    several = validation.refusal(model("s3://b/k/", registry="mlflow", requiredTags={"a": "b"}))
    assert several
    assert several.endswith(" (and 2 more)")


@pytest.mark.parametrize("uri", ["ftp://m", "models:/cats-dogs", "cats", "", "models:/a/01"])
def test_a_bad_uri_is_answered_by_a_sentence_and_not_by_a_regular_expression(uri: str):
    sentence = validation.refusal(model(uri))
    assert sentence
    assert sentence.startswith("spec.model.uri: ")
    assert "models:/NAME/VERSION" in sentence
    assert "^" not in sentence


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spec": None},
        {"spec": []},
        {"spec": {"model": None}},
        {"metadata": None, "spec": {"model": {"uri": "models:/a/1"}}},
        {"metadata": {"name": 1}, "spec": {"model": {"uri": "models:/a/1"}}},
        resource(server={"env": [{"name": ["A"]}]}),
        resource(server={"volumes": [{}]}),
        resource(server={"volumeMounts": [{"name": "a"}]}),
        resource(traffic={"provider": {}}),
    ],
)
def test_what_no_api_server_would_hand_out_is_refused_in_a_sentence_too(body: Json):
    sentence = validation.refusal(body)
    assert sentence
    assert "\n" not in sentence


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(spec=JSON | st.fixed_dictionaries({"model": JSON, "server": JSON}), metadata=JSON)
def test_any_json_is_answered_by_a_sentence_or_by_none(spec: Any, metadata: Any):
    sentence = validation.refusal({"spec": spec, "metadata": metadata})
    assert sentence is None or (sentence and "\n" not in sentence)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(spec=SPECS)
def test_a_resource_is_valid_exactly_when_it_breaks_no_rule(spec: Json):
    body = resource() | {"spec": spec}
    broken = list(validation.broken(rules.ALL, served(body)))
    sentence = validation.refusal(body)
    assert (sentence is None) is not broken
    if broken:
        where, rule = broken[0]
        assert sentence
        assert sentence.startswith(f"{where}: {rule.sentence}" if where else rule.sentence)


@pytest.mark.parametrize("examples", EXAMPLES, ids=lambda one: f"{one.path}-{one.words}")
def test_a_resource_that_breaks_a_rule_gets_no_spec_to_act_on_and_a_sentence(examples):
    for body in examples.bad:
        live = make_model_deployment(body["metadata"]["name"]).build() | {"spec": body["spec"]}
        read = observe.read_resource(live)
        assert read.spec is None
        assert read.invalid


def test_a_null_counts_as_left_out():
    assert refusal(server={"env": None, "volumes": None}, autoscaling=None) is None


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1s", timedelta(seconds=1)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("99999h", timedelta(hours=99_999)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta):
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "s", "0s", "5", "1.5h", "-1s", "1d", "100000h", "5m\n", "٣s"])
def test_any_other_text_is_no_duration(text: str):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)
