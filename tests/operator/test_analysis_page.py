"""docs/analysis.md against the code: its example, its table of metrics, its sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from model_operator import api, validation
from model_operator.rollout.analysis import judge
from tests.operator.builders import make_model_deployment
from tests.operator.measured import (
    CANARY,
    STABLE,
    make_analysis,
    make_counters,
    make_measurement,
    make_revision,
)


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/analysis.md").read_text()


def test_the_example_is_a_valid_spec(page: str):
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    body = make_model_deployment().spec(**yaml.safe_load(example)["spec"]).build()
    assert validation.refusal(body) is None


def test_the_query_of_the_example_asks_about_one_environment_alone(page: str):
    """The same bytes with the same settings are the same revision in every namespace."""
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for metric in yaml.safe_load(example)["spec"]["analysis"]["metrics"]:
        query = metric.get("prometheus", {}).get("query", "")
        assert query.count("{") == query.count('namespace="$(namespace)"')


def test_the_table_names_every_metric_that_is_built_in(page: str):
    (table,) = re.findall(r"\n\| metric \| value .*?\n\n", page, re.DOTALL)
    cells = " ".join(re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE))
    names = re.findall(r"`([^`]+)`", cells)
    assert {re.sub("^-", "latency-", name) for name in names} == api.BUILT_IN_METRICS


def test_the_sentence_of_a_failure_is_the_one_that_is_written(page: str):
    (shown,) = re.findall(r"lastFailure\.message\}'\n(.*?)```", page, re.DOTALL)
    settings = make_analysis({"name": "error-rate", "max": 0.01})
    recorded = [api.MetricStatus(name="error-rate", failures=2, verdict="Fail", message="...")]
    measurement = make_measurement(
        make_revision(make_counters(120, errors=60)),
        make_revision(make_counters(10_000, errors=8)),
    )
    failure = judge(settings, measurement, recorded, CANARY, STABLE).failure
    assert failure is not None
    assert " ".join(shown.split()) == failure.message.replace(CANARY, "9c1b04aa57")


def test_what_is_filled_into_a_query_is_in_the_page(page: str):
    assert f"`{api.REVISION_PLACEHOLDER}`" in page
