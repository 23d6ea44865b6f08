"""The CustomResourceDefinition on an API server of today, which compiles and prices its CEL.

Runs where CRD_SERVER_KUBECONFIG names the kubeconfig of one; only its CustomResourceDefinitions
are touched, and they are removed again.
"""

from __future__ import annotations

import copy
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev import tools
from model_operator import api, crd, rules, validation
from model_operator.rules import Rule
from tests.definitions import wait_until_served
from tests.operator.rule_examples.examples import Examples, Json
from tests.operator.rule_examples.resources import model, resource, served
from tests.operator.rule_examples.tables import EXAMPLES

KUBECONFIG = os.environ.get("CRD_SERVER_KUBECONFIG")
if not KUBECONFIG:
    pytest.skip("CRD_SERVER_KUBECONFIG names no API server that knows CEL", allow_module_level=True)

LATER_GROUP = f"later.{api.GROUP}"
"""Holds the same resource under the permanent rules alone: what a later release takes."""


def kubectl(*arguments: str, stdin: list[Json] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tools.kubectl(), "--kubeconfig", str(KUBECONFIG), *arguments],
        input=None if stdin is None else yaml.safe_dump_all(stdin, sort_keys=False),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def of_group(group: str, definition: Json) -> Json:
    changed = copy.deepcopy(definition)
    changed["metadata"]["name"] = f"{api.PLURAL}.{group}"
    changed["spec"]["group"] = group
    return changed


@pytest.fixture(scope="module", autouse=True)
def definitions() -> Iterator[None]:
    """Both definitions with their rules: that they are accepted at all is the first proof."""
    wanted = [
        crd.custom_resource_definition(cel=True),
        of_group(LATER_GROUP, crd.custom_resource_definition(cel=True, table=rules.PERMANENT)),
    ]
    names = [definition["metadata"]["name"] for definition in wanted]
    done = kubectl("apply", "--server-side", "-f", "-", stdin=wanted)
    assert done.returncode == 0, done.stderr
    wait_until_served(kubectl, *names)
    yield
    kubectl("delete", "crd", *names, "--timeout=60s")


def create(body: Json) -> subprocess.CompletedProcess[str]:
    return kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=[body])


def under(rule: Rule, body: Json) -> Json:
    """The resource in the group whose definition holds the rule and does not hide it."""
    group = api.GROUP if rule in rules.NOT_YET else LATER_GROUP
    return body | {"apiVersion": f"{group}/{api.VERSION}"}


def by_words(examples: Examples) -> str:
    return f"{examples.path}-{examples.words}"


@pytest.mark.parametrize("examples", EXAMPLES, ids=by_words)
def test_the_server_takes_what_is_good_and_tells_the_rules_sentence_for_what_is_bad(examples):
    rule = examples.rule()
    for body in examples.good:
        done = create(under(rule, body))
        assert done.returncode == 0, done.stderr
    for body in examples.bad:
        done = create(under(rule, body))
        assert done.returncode == 1
        assert rule.sentence in done.stderr, body


@pytest.mark.parametrize(
    "body", [body for examples in EXAMPLES for body in (examples.good[0], examples.bad[0])]
)
def test_server_and_operator_tell_the_same_sentences(body: Json):
    done = create(body)
    told = {rule.sentence for rule in rules.ALL if rule.sentence in done.stderr}
    broken = {rule.sentence for _, rule in validation.broken(rules.ALL, served(body))}
    assert told == broken
    assert (done.returncode == 0) is (validation.refusal(body) is None)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"strategy": {"type": "Magic"}}, "strategy.type"),
        ({"strategy": {"type": "Canary", "canary": {"steps": []}}}, "canary.steps"),
        ({"replicas": -1}, "replicas"),
        ({"replicas": "many"}, "replicas"),
        ({"server": {"env": [{"value": "1"}]}}, "name"),
        ({"server": {"drainSeconds": 601}}, "drainSeconds"),
        ({"strategy": {"scaleDownDelaySeconds": 19}}, "scaleDownDelaySeconds"),
        ({"strategy": {"type": "Shadow", "shadow": {"minAgreement": 1.1}}}, "minAgreement"),
        ({"autoscaling": {"minReplicas": 1}}, "maxReplicas"),
    ],
)
def test_nonsense_is_refused_by_the_schema(spec: dict[str, Any], words: str):
    done = create(resource(**spec))
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("spec.model.uri", "models:/NAME@ALIAS"),
        ("spec.server.volumeMounts", "/models or /tmp"),
        ("spec.server.volumeMounts.mountPath", "absolute path"),
        ("spec.strategy.canary.steps.pause.duration", "30s, 5m or 1h"),
        ("spec.autoscaling.targetCPUUtilizationPercentage", "in percent"),
        ("spec.analysis.metrics.maxRatioToStable", "stable revision's"),
        ("spec.traffic.gateway.parentRefs.name", "Gateway's name"),
        ("status.analysis.verdict", "judged"),
    ],
)
def test_kubectl_explain_tells_what_a_field_is(field: str, words: str):
    text = kubectl("explain", f"{api.KIND}.{field}", f"--api-version={api.GROUP}/{api.VERSION}")
    assert words in " ".join(text.stdout.split()), text.stderr


def test_defaults_are_filled_in_everywhere_but_below_spec_server():
    done = kubectl(
        *("create", "--dry-run=server", "-o", "yaml", "-f", "-"),
        stdin=[resource(server={"image": "example/server:1"})],
    )
    spec = yaml.safe_load(done.stdout)["spec"]
    assert spec["server"] == {"image": "example/server:1"}
    plain = served(resource(server={"image": "example/server:1"}))
    assert spec == plain["spec"]


def test_status_can_be_written_on_a_resource_that_is_older_than_the_rule_it_breaks():
    # Since Kubernetes 1.30; from 1.25 to 1.29 every update of it is refused, status included.
    group = f"older.{api.GROUP}"
    pinned = model("models:/cats-dogs/1", sha256="abc")
    body = pinned | {"apiVersion": f"{group}/{api.VERSION}"}
    plural = f"{api.PLURAL}.{group}"
    without, with_rules = (
        of_group(group, crd.custom_resource_definition(cel=True, table=table))
        for table in ((), rules.ALL)
    )
    try:
        kubectl("apply", "--server-side", "-f", "-", stdin=[without])
        wait_until_served(kubectl, plural)
        created = kubectl("create", "-f", "-", stdin=[body])
        assert created.returncode == 0, created.stderr
        kubectl("apply", "--server-side", "-f", "-", stdin=[with_rules])
        wait_until_refused(body | {"metadata": {"name": "another"}})
        patch = ("patch", f"{plural}/cats-dogs", "--type=merge")
        written = kubectl(*patch, "--subresource=status", "-p", '{"status":{"message":"no"}}')
        assert written.returncode == 0, written.stderr
        refused = kubectl(*patch, "-p", '{"spec":{"strategy":{"scaleDownDelaySeconds":60}}}')
        assert "64 lowercase hexadecimal digits" in refused.stderr
    finally:
        kubectl("delete", "crd", plural, "--timeout=60s")


def wait_until_refused(body: Json) -> None:
    """A changed definition is in force a moment after it was written."""
    deadline = time.monotonic() + 30
    while create(body).returncode == 0:
        assert time.monotonic() < deadline, "the new definition is not in force"
