"""What ArgoCD shows of a ModelDeployment, by the script that its ConfigMap has."""

from __future__ import annotations

import itertools

import pytest

from dev import argocd
from model_operator import reasons
from tests.gitops.argocd_lua import HEALTH, Body, health, run
from tests.gitops.states import resources
from tests.operator.builders import crashed, make_model_deployment
from tests.operator.stories import canary, until
from tests.operator.world import World

BY_PHASE = {
    "Healthy": "Healthy",
    "Paused": "Suspended",
    "Degraded": "Degraded",
    "Progressing": "Progressing",
    "Pending": "Progressing",
}
TYPES = (
    reasons.AVAILABLE,
    reasons.READY,
    reasons.MODEL_RESOLVED,
    reasons.PROGRESSING,
    reasons.STALLED,
)
REASONS = sorted(
    {value for name, value in vars(reasons).items() if name.isupper() and value not in TYPES}
)


def condition(resource: Body, kind: str) -> Body:
    found = [one for one in resource["status"]["conditions"] if one["type"] == kind]
    assert len(found) == 1
    body: Body = found[0]
    return body


def expected(resource: Body) -> str:
    """By the operator's own summary, which the script does not read."""
    status = resource.get("status", {})
    if status.get("observedGeneration") != resource["metadata"]["generation"]:
        return "Progressing"
    available = condition(resource, reasons.AVAILABLE)["reason"]
    stalled = condition(resource, reasons.STALLED)["status"] == "True"
    if available == reasons.RECREATING and not stalled and status["phase"] == "Degraded":
        return "Progressing"  # the gap that strategy Recreate asks for is no fault to page for
    return BY_PHASE[status["phase"]]


def test_the_health_agrees_with_the_operators_own_summary_in_every_state_of_many_stories():
    states = resources()
    assert len(states) > 50
    for resource in states:
        found, message = health(resource)
        assert found == expected(resource), resource.get("status")
        assert message
    seen = {expected(resource) for resource in states}
    assert seen == {"Healthy", "Suspended", "Degraded", "Progressing"}


def test_the_stories_reach_the_reasons_by_which_the_script_decides():
    states = [one for one in resources() if "status" in one]
    ready = {condition(one, reasons.READY)["reason"] for one in states}
    available = {condition(one, reasons.AVAILABLE)["reason"] for one in states}
    assert {reasons.AWAITING_PROMOTION, reasons.PAUSED, reasons.COMPLETE} <= ready
    assert {reasons.NO_READY_PODS, reasons.RECREATING, reasons.SCALED_TO_ZERO} <= available


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_that_there_is_has_an_answer_in_every_place(reason: str):
    """Statuses that no story reaches: every reason beside every outcome of the others."""
    resource = make_model_deployment().build()
    for kind, flags in itertools.product(TYPES, itertools.product(("True", "False"), repeat=2)):
        (ready, stalled), others = flags, "False"
        told = {reasons.READY: ready, reasons.STALLED: stalled}
        resource["status"] = {
            "observedGeneration": 1,
            "message": "one sentence",
            "conditions": [
                {
                    "type": one,
                    "status": told.get(one, others),
                    "reason": reason if one == kind else "Other",
                    "message": f"of {one}",
                    "observedGeneration": 1,
                }
                for one in TYPES
            ],
        }
        found, message = health(resource)
        wanted = "Degraded" if stalled == "True" else "Healthy" if ready == "True" else None
        assert found in ({wanted} if wanted else {"Progressing", "Suspended", "Degraded"})
        assert message.startswith("of ")


def test_a_resource_that_nobody_has_looked_at_and_one_that_is_deleted_are_under_way():
    new = make_model_deployment().build()
    assert health(new)[0] == "Progressing"
    new["status"] = {}
    assert health(new)[0] == "Progressing"
    world = World(make_model_deployment())
    world.settle()
    assert health(world.resource)[0] == "Healthy"
    world.resource["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert health(world.resource) == ("Progressing", "being deleted")


def test_a_status_of_the_generation_before_says_nothing_of_this_one(live: World):
    assert health(live.resource)[0] == "Healthy"
    live.edit(make_model_deployment().version(2))
    assert health(live.resource)[0] == "Progressing"


def test_a_canary_is_suspended_while_it_waits_for_people_and_healthy_when_it_is_through():
    steps = [{"setWeight": 50}, {"pause": {}}]
    world = World(canary(*steps))
    world.settle()
    world.edit(canary(*steps).version(2))
    seen: list[str] = []

    def look() -> bool:
        found, _ = health(world.resource)
        if not seen or seen[-1] != found:
            seen.append(found)
        return found == "Suspended"

    until(world, look)
    assert condition(world.resource, reasons.READY)["reason"] == reasons.AWAITING_PROMOTION
    world.ask("promote")
    world.settle()
    look()
    assert seen == ["Progressing", "Suspended", "Healthy"]


def test_a_rollout_that_failed_is_degraded_and_says_why_in_the_operators_words(live: World):
    live.container = lambda revision: (
        crashed(3, "the bytes are not those") if live.version_of(revision) == "2" else None
    )
    live.edit(make_model_deployment().version(2))
    live.settle()
    found, message = health(live.resource)
    assert found == "Degraded"
    assert "the bytes are not those" in message


def test_the_config_map_has_the_scripts_as_they_are():
    assert argocd.script("health") == HEALTH


def test_a_script_that_used_what_argocd_withholds_would_fail():
    body = make_model_deployment().build()
    for script in ("return string.upper('x')", "return ('x'):upper()", "return require('io')"):
        with pytest.raises(Exception, match="attempt to"):
            run(script, body)
