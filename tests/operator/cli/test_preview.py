"""What `deploy --dry-run` foretells."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import revisions, rules
from model_operator.cli.preview import preview, steps
from tests.operator.builders import digest_of
from tests.operator.cli import statuses
from tests.operator.cli.statuses import CANARY, OLD

ANALYSIS = {
    "interval": "10s",
    "failureLimit": 0,
    "metrics": [{"name": "error-rate", "max": 0.01, "maxRatioToStable": 1.5}],
}


def changed(live: dict[str, Any], **spec: Any) -> dict[str, Any]:
    asked = copy.deepcopy(live)
    asked["spec"] |= spec
    return asked


def test_nothing_would_change_where_nothing_differs():
    assert preview(statuses.ready(), statuses.ready()).lines() == [
        "modeldeployment/cats-dogs in vision: nothing would change"
    ]


def test_a_change_of_replicas_starts_no_revision():
    shown = preview(statuses.ready(), changed(statuses.ready(), replicas=5)).lines()
    assert shown[1:] == [
        "  spec.replicas: 3 -> 5",
        "  the revision stays as it is: no pod starts anew",
    ]


def test_a_new_label_alone_is_a_change():
    asked = statuses.ready()
    asked["metadata"]["labels"] = {"team": "cats"}
    assert preview(statuses.ready(), asked).verb == "change"


def test_a_new_model_shows_every_step_of_its_canary_in_turn(monkeypatch):
    monkeypatch.setattr(rules, "ALL", ())  # what may be asked for has tests of its own
    live = statuses.ready()
    live["status"]["stable"]["revision"] = OLD
    model = {"uri": "models:/cats-dogs/3"}
    shown = preview(live, changed(live, model=model, strategy=CANARY, analysis=ANALYSIS)).lines()
    assert "  spec.model.uri: models:/cats-dogs/2 -> models:/cats-dogs/3" in shown
    limits = (
        "error-rate at most 0.01 and at most 1.5 times stable's; the 1st failure in a row aborts "
        "the rollout"
    )
    assert shown[-9:] == [
        "  a new revision, of models:/cats-dogs/3; its id is known when the model is resolved",
        f"  1. start it beside revision {OLD}",
        "  2. 10% of the requests to the new revision",
        "  3. wait 5m",
        "  4. 50% of the requests to the new revision",
        "  5. wait until it is promoted: kubectl md promote cats-dogs",
        "  6. all requests to the new revision",
        f"  7. keep revision {OLD} for 30s, then stop it",
        "  analysis every 10s: " + limits,
    ]


def test_the_first_revision_of_a_resource_has_nothing_to_start_beside():
    shown = preview(None, statuses.resource()).lines()
    assert shown[0].endswith("would create")
    assert shown[-1] == "  1. start it; it gets the requests when all of its pods are ready"


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ({"type": "Recreate"}, "nothing serves from here on"),
        ({"type": "BlueGreen"}, "waits on cats-dogs-preview; wait until it is promoted"),
        ({"type": "Shadow", "shadow": {"minAgreement": 0.9, "minSamples": 5}}, "90% of at least 5"),
        ({}, f"keep revision {OLD} for 30s"),
    ],
)
def test_each_strategy_has_steps_of_its_own(strategy, words):
    assert any(words in step for step in steps({"strategy": strategy}, OLD, "cats-dogs"))


def test_a_blue_green_rollout_that_promotes_itself_waits_for_nobody():
    strategy = {"type": "BlueGreen", "blueGreen": {"autoPromote": True}}
    assert not any("promoted" in step for step in steps({"strategy": strategy}, OLD, "m"))


def test_other_server_settings_name_the_very_revision_that_the_operator_will_make():
    server = {"env": [{"name": "LOG_LEVEL", "value": "DEBUG"}]}
    expected = revisions.revision_id(digest_of(2), server)
    shown = preview(statuses.ready(), changed(statuses.ready(), server=server))
    assert shown.revision == f"revision {expected}, of models:/cats-dogs/2"


@pytest.mark.parametrize(
    ("role", "words"),
    [("stable", "serves already: no pod starts"), ("failed", "is tried again by `retry` alone")],
)
def test_a_revision_that_serves_or_has_failed_is_recognised(role, words):
    model = {"uri": "models:/cats-dogs/3", "sha256": digest_of(3)}
    meant = revisions.revision_id(digest_of(3), {})
    live = statuses.ready()
    if role == "stable":
        live["status"]["stable"]["revision"] = meant
    else:
        live["status"]["failedRevision"] = meant
    assert words in preview(live, changed(live, model=model)).revision


def test_what_the_operator_would_refuse_is_told_in_its_own_sentence():
    asked = changed(statuses.ready(), strategy={"type": "Canary"}, model={"uri": "ftp://m"})
    shown = preview(statuses.ready(), asked)
    assert shown.refusal
    assert shown.lines()[-1] == f"  the operator would refuse it: {shown.refusal}"


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees, trees)
def test_something_is_said_to_differ_exactly_where_something_does(before, after):
    live, asked = statuses.ready(), statuses.ready()
    live["spec"]["server"], asked["spec"]["server"] = before, after
    assert bool(preview(live, asked).differences) == (before != after)
