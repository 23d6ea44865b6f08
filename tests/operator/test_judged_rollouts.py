"""Rollouts that measurements end, hold or let go on, told as stories of one ModelDeployment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from model_operator import naming, reasons
from model_operator.measurement import Counters, Measurement, RevisionMeasurement
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.world import World

ANALYSIS = {
    "interval": "10s",
    "failureLimit": 1,
    "minRequests": 10,
    "metrics": [{"name": "error-rate", "max": 0.01}],
}
STEPS = [{"setWeight": 25}, {"pause": {"duration": "30s"}}, {"setWeight": 50}]


def judged(kind: str, **settings: Any) -> ModelDeploymentBuilder:
    return make_model_deployment().strategy(kind, **settings).spec(analysis=ANALYSIS)


def canary() -> ModelDeploymentBuilder:
    return judged("Canary", canary={"steps": STEPS})


def counted(world: World, version: str, **counters: Any) -> None:
    """From now on every look finds this of a version, and an untroubled stable one."""
    stable = Counters(requests=100, predictions={"cat": 50, "dog": 50})
    found = {
        world.version_revision("1"): RevisionMeasurement(window=stable, step=stable),
    }
    if version in {history["data"]["version"] for history in world.histories.values()}:
        of_version = Counters(**{"predictions": {"cat": 1, "dog": 1}, **counters})
        found[world.version_revision(version)] = RevisionMeasurement(
            window=of_version, step=of_version, compared=of_version
        )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    world.measurement = Measurement(moment, moment, found)


def start(resource: ModelDeploymentBuilder) -> World:
    world = World(resource)
    world.settle()
    world.edit(resource.version(2))
    world.one_pass()
    return world


def passes(world: World, count: int) -> World:
    """With a look every ten seconds; in between there is nothing new."""
    found = world.measurement
    for _ in range(count):
        world.measurement = found
        world.one_pass()
        world.measurement = None
        for _ in range(4):
            world.one_pass()
            world.play_pods()
            world.wait(0.5)
        world.wait(8)
    world.measurement = found
    return world


def test_a_canary_that_passes_its_analysis_goes_on_to_the_end():
    world = start(canary())
    counted(world, "2", requests=100)
    passes(world, 12)
    assert world.weights_by_version() == {"2": 100}
    assert world.status["phase"] == "Healthy"
    assert "analysis" not in world.status


def test_one_failure_is_forgiven_and_the_next_in_a_row_takes_the_weight_away():
    world = start(canary())
    passes(world, 1)
    counted(world, "2", requests=100, errors=50)
    world.one_pass()
    assert world.status["analysis"][0]["failures"] == 1
    assert world.weights_by_version() == {"1": 75, "2": 25}
    world.one_pass()
    world.measurement = None
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.condition("Stalled") == ("True", reasons.ANALYSIS_FAILED)
    assert world.status["lastFailure"]["reason"] == reasons.ANALYSIS_FAILED
    assert "error-rate" in world.status["message"]
    assert world.status["analysis"][0]["verdict"] == "Fail"


def test_an_operator_that_dies_after_the_weight_is_gone_remembers_the_verdict():
    world = start(canary())
    passes(world, 1)
    counted(world, "2", requests=100, errors=50)
    world.one_pass()
    world.one_pass()
    world.measurement = None
    world.one_pass(dies_after=1)
    assert world.weights_by_version() == {"1": 100}
    for _ in range(6):
        world.one_pass()
        world.play_pods()
        assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 0}


def test_a_canary_that_gets_no_requests_waits_at_its_step():
    world = start(canary())
    counted(world, "2", requests=0)
    passes(world, 20)
    assert world.weights_by_version() == {"1": 75, "2": 25}
    assert "error-rate" in world.status["message"]
    assert world.status["analysis"][0]["verdict"] == "NoData"


def test_without_any_measurement_a_timed_pause_does_not_end():
    world = start(canary())
    passes(world, 20)
    assert world.weights_by_version() == {"1": 75, "2": 25}
    assert "waiting for the analysis" in world.status["message"]


def test_a_retry_begins_with_no_failures():
    world = start(canary())
    passes(world, 1)
    counted(world, "2", requests=100, errors=50)
    passes(world, 3)
    assert world.status["failedRevision"]
    world.measurement = None
    assert world.act("retry")["accepted"]
    assert "analysis" not in world.status


def test_what_fails_after_a_blue_green_switch_is_gone_back_from_at_once():
    world = start(judged("BlueGreen", blueGreen={"autoPromote": True}))
    counted(world, "2", requests=100)
    passes(world, 2)
    assert world.weights_by_version() == {"2": 100}
    counted(world, "2", requests=100, errors=50)
    for _ in range(4):  # the verdict, what is meant instead, the switch
        world.one_pass()
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version()["1"] == 3
    world.measurement = None
    world.settle()
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    assert world.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert world.condition("Stalled")[0] == "True"
    assert "error-rate" in world.status["message"]


COMPARED = {
    "both limits": {"max": 0.05, "maxRatioToStable": 2},
    "the ratio alone": {"maxRatioToStable": 2},
}


def left_alone(world: World, **counters: Any) -> None:
    """After a switch: what clients ask is answered by version 2, and the one before hears none."""
    counted(world, "2", **counters)
    assert world.measurement
    silent = RevisionMeasurement(
        window=Counters(predictions={"cat": 0, "dog": 0}),
        step=Counters(predictions={"cat": 0, "dog": 0}),
    )
    found = {**world.measurement.revisions, world.version_revision("1"): silent}
    world.measurement = replace(world.measurement, revisions=found)


def compared(limits: dict[str, Any]) -> ModelDeploymentBuilder:
    metrics = [{"name": "error-rate", **limits}]
    analysis = {**ANALYSIS, "onNoData": "Fail", "metrics": metrics}
    promoted = {"autoPromote": True}
    return make_model_deployment().strategy("BlueGreen", blueGreen=promoted).spec(analysis=analysis)


@pytest.mark.parametrize("limits", COMPARED.values(), ids=COMPARED)
def test_a_blue_green_switch_is_not_taken_back_because_what_it_left_hears_nothing(
    limits: dict[str, Any],
):
    world = start(compared(limits))
    counted(world, "2", requests=100)
    passes(world, 2)
    assert world.weights_by_version() == {"2": 100}
    left_alone(world, requests=100)
    for _ in range(6):
        world.one_pass()
    assert world.weights_by_version() == {"2": 100}
    assert "failedRevision" not in world.status
    world.measurement = None
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_after_a_blue_green_switch_a_largest_value_is_judged_without_the_ratio():
    world = start(compared(COMPARED["both limits"]))
    counted(world, "2", requests=100)
    passes(world, 2)
    left_alone(world, requests=100, errors=50)
    for _ in range(6):
        world.one_pass()
    assert world.weights_by_version() == {"1": 100}
    assert "its limit is max 0.05" in world.status["lastFailure"]["message"]


def test_a_preview_that_promotes_itself_waits_for_its_analysis():
    world = start(judged("BlueGreen", blueGreen={"autoPromote": True}))
    passes(world, 3)
    assert world.weights_by_version() == {"1": 100}
    assert "waiting for the analysis" in world.status["message"]


def shadow(**settings: Any) -> ModelDeploymentBuilder:
    return make_model_deployment().strategy("Shadow", shadow={"minSamples": 100, **settings})


def mirrored(world: World) -> dict[str, Any] | None:
    return world.others.get(("ConfigMap", "cats-dogs-mirror"))


def test_a_shadow_gets_copies_and_no_request_until_it_agrees_often_enough():
    world = start(shadow(percent=50))
    passes(world, 2)
    assert world.weights_by_version() == {"1": 100}
    assert world.replicas_by_version() == {"1": 3, "2": 2}
    settings = mirrored(world)
    assert settings
    document = settings["data"]["mirror.json"]
    assert '"percent": 50' in document
    assert world.version_revision("1") in document
    target = world.others["Service", "cats-dogs-shadow"]["spec"]["selector"]
    assert world.version_of(target[naming.REVISION_LABEL]) == "2"
    counted(world, "2", agreed={"cat": 50}, differed={"cat": 0})
    passes(world, 3)
    assert world.weights_by_version() == {"1": 100}
    assert "50 of minSamples 100" in world.status["message"]
    counted(world, "2", agreed={"cat": 99}, differed={"cat": 1})
    passes(world, 3)
    assert world.weights_by_version() == {"2": 100}
    world.measurement = None
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert mirrored(world) is None
    assert ("Service", "cats-dogs-shadow") not in world.others


def test_every_pod_that_mirrors_is_told_of_its_settings_at_once():
    world = start(shadow())
    passes(world, 2)
    told = [pod["metadata"].get("annotations", {}) for pod in world.pods_of(world.serving() or "")]
    assert all("cvfactory.dev/mirror" in annotations for annotations in told)


def test_a_shadow_that_disagrees_is_stopped_and_its_worst_class_named():
    world = start(shadow())
    passes(world, 2)
    counted(world, "2", agreed={"cat": 60, "dog": 30}, differed={"cat": 0, "dog": 20})
    passes(world, 3)
    assert world.replicas_by_version() == {"1": 3, "2": 0}
    settings = mirrored(world)
    assert settings is None or "data" not in settings
    assert world.status["lastFailure"]["reason"] == reasons.ANALYSIS_FAILED
    assert "dog" in world.status["lastFailure"]["message"]


def test_a_shadow_can_be_promoted_before_it_was_compared():
    world = start(shadow())
    passes(world, 2)
    assert world.act("promote")["accepted"]
    passes(world, 2)
    assert world.weights_by_version() == {"2": 100}


@pytest.mark.parametrize("kind", ["Standard", "Recreate"])
def test_nothing_is_compared_where_the_strategy_sends_no_requests(kind: str):
    world = start(make_model_deployment().strategy(kind))
    passes(world, 3)
    assert "analysis" not in world.status
