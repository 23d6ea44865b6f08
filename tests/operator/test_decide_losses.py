"""What is lost, late or refused costs nothing that serves: more stories of `decide`."""

from __future__ import annotations

from datetime import timedelta

from model_operator import naming, reasons, standing
from model_operator.decide import decide
from model_operator.errors import ResolutionRefused
from model_operator.observed import Refusal
from tests.operator.builders import crashed, make_model_deployment, waiting
from tests.operator.world import World


def _without_service(world: World) -> None:
    world.service = None


def test_a_deleted_endpoint_is_made_again_at_once_for_what_served(live: World):
    _without_service(live)
    live.pods[next(iter(live.pods))]["status"]["conditions"] = []
    live.one_pass()
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3}


def test_an_endpoint_deleted_in_the_middle_of_a_rollout_stops_nothing(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    _without_service(live)
    live.one_pass()
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3, "2": 3}


def test_an_endpoint_deleted_after_a_failed_rollout_is_made_again(live: World):
    live.container = lambda r: crashed(3, "no") if live.version_of(r) == "2" else None
    live.edit(make_model_deployment().version(2))
    live.settle()
    _without_service(live)
    live.settle()
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3, "2": 0}


def test_nothing_that_is_ready_is_stopped_while_nobody_knows_what_serves(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    _without_service(live)
    live.lose_status()
    live.container = lambda r: None if live.version_of(r) == "1" else waiting("ErrImagePull")
    for _ in range(5):
        live.one_pass()
        live.play_pods()
        live.wait(300)
        assert live.replicas_by_version()["1"] == 3


def test_a_lost_record_is_read_off_what_runs_and_frozen_again(live: World):
    (name,) = live.histories
    live.histories.clear()
    live.writes.clear()
    template = live.deployments[name]["spec"]["template"]
    live.settle()
    assert live.serving_version() == "1"
    assert live.histories[name]["data"]["podTemplate"] == template
    assert "scale" not in live.writes


def test_a_child_that_lost_its_labels_gets_them_back(live: World):
    (deployment,) = live.deployments.values()
    labels = dict(deployment["metadata"]["labels"])
    del deployment["metadata"]["labels"][naming.REVISION_LABEL]
    live.one_pass()
    (deployment,) = live.deployments.values()
    assert deployment["metadata"]["labels"] == labels


def test_a_revision_that_became_ready_while_nobody_looked_takes_over_even_after_the_deadline(
    live: World,
):
    live.edit(make_model_deployment().version(2).spec(progressDeadlineSeconds=60))
    live.one_pass()
    live.play_pods()
    live.wait(3600)
    live.one_pass()
    assert live.serving_version() == "2"


def test_a_third_version_right_after_the_switch_leaves_the_first_its_delay(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    live.one_pass()
    live.one_pass()
    live.edit(make_model_deployment().version(3))
    live.one_pass()
    assert live.replicas_by_version() == {"1": 3, "2": 3, "3": 3}
    live.settle()
    assert live.replicas_by_version() == {"1": 0, "2": 0, "3": 3}


def test_ready_and_available_wait_until_the_endpoint_lists_the_pods():
    world = World(make_model_deployment())
    world.one_pass()
    world.play_pods()
    world.endpoint_lags = True
    world.one_pass()
    world.one_pass()
    assert world.serving_version() == "1"
    assert world.condition("Ready") == ("False", reasons.SCALING)
    assert world.condition("Available") == ("False", reasons.NO_READY_PODS)
    assert standing.is_unavailable(world.status)
    world.endpoint_lags = False
    world.one_pass()
    assert not standing.is_unavailable(world.status)
    assert world.condition("Ready")[0] == world.condition("Available")[0] == "True"


def test_the_reason_of_a_failure_is_kept_as_long_as_the_failed_revision(live: World):
    live.container = lambda r: crashed(3, "no") if live.version_of(r) == "2" else None
    live.edit(make_model_deployment().version(2))
    live.settle()
    live.resolution_error = ResolutionRefused(reasons.MODEL_NOT_FOUND, "no such version")
    live.edit(make_model_deployment().version(9))
    live.one_pass()
    live.resolution_error = None
    live.edit(make_model_deployment().version(2))
    live.settle()
    assert live.condition("Stalled") == ("True", reasons.MODEL_REFUSED)


def test_a_refused_child_does_not_keep_what_serves_from_being_repaired(live: World):
    live.edit(make_model_deployment().version(2))
    refused = Refusal("Deployment", "cats-dogs-whatever", 422, "is invalid")
    (deployment,) = live.deployments.values()
    deployment["spec"]["replicas"] = 0
    plan = decide(live.observed().refused(refused), live.now)
    assert [(scale.deployment, scale.replicas) for scale in plan.scales] == [
        (deployment["metadata"]["name"], 3)
    ]
    assert plan.back_off == timedelta(seconds=8)


def test_a_version_that_is_wanted_again_moves_to_the_head_of_the_history(live: World):
    for version in (2, 1, 3):
        live.edit(make_model_deployment().version(version))
        live.settle()
    numbers = {
        history["data"]["version"]: history["revision"] for history in live.histories.values()
    }
    assert sorted(numbers, key=numbers.__getitem__) == ["2", "1", "3"]
    live.edit(make_model_deployment().version(3).spec(revisionHistoryLimit=1))
    live.settle()
    assert set(live.replicas_by_version()) == {"1", "3"}, "the one that served last is kept"


def test_nothing_moves_in_the_pass_that_finds_its_status_lost(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    live.lose_status()
    live.writes.clear()
    live.one_pass()
    assert live.writes == ["status"]
    assert live.serving_version() == "1"
    live.settle()
    assert live.serving_version() == "2"


def test_pods_that_are_about_to_end_take_nothing_over(live: World):
    """The old revision was just scaled to 0, and its controller has not got to it."""
    live.edit(make_model_deployment().version(2))
    live.settle()
    live.edit(make_model_deployment().version(1))
    live.one_pass()
    live.play_pods()
    live.edit(make_model_deployment().version(2))
    live.settle()
    old = live.deployments[f"cats-dogs-{live.version_revision('1')}"]
    old["spec"]["replicas"] = 3
    live.play_pods()
    old["spec"]["replicas"] = 0
    live.edit(make_model_deployment().version(1))
    live.one_pass()
    assert live.serving_version() == "2"


def test_a_verdict_is_recorded_before_the_pods_that_it_was_made_from_are_stopped(live: World):
    live.container = lambda revision: (
        crashed(3, "refused") if live.version_of(revision) == "2" else None
    )
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    live.one_pass()
    assert live.status["failedRevision"] == live.version_revision("2")
    assert live.replicas_by_version()["2"] == 3
    live.writes.clear()
    live.settle()
    assert live.replicas_by_version()["2"] == 0
    assert live.writes.count("scale") == 1


def test_a_status_that_a_later_release_wrote_is_still_read(live: World):
    live.resource["status"]["stable"]["flavour"] = "new"
    live.resource["status"]["model"]["requested"]["flavour"] = "new"
    assert live.observed().resource.status.stable is not None


def test_an_endpoint_that_somebody_moves_is_moved_back_although_the_rollout_is_paused(live: World):
    live.edit(make_model_deployment().version(2))
    live.settle()
    live.edit(make_model_deployment().version(2).paused())
    live.settle()
    assert live.service is not None
    live.service["spec"]["selector"][naming.REVISION_LABEL] = live.version_revision("1")
    live.settle()
    assert live.serving_version() == "2"


def test_a_stopped_revision_whose_record_was_lost_is_deleted(live: World):
    live.edit(make_model_deployment().version(2))
    live.settle()
    first = f"cats-dogs-{live.version_revision('1')}"
    del live.histories[first]
    live.settle()
    assert first not in live.deployments
    assert live.status["phase"] == "Healthy"


def test_an_endpoint_that_is_moved_to_where_nothing_answers_is_moved_back_at_once(live: World):
    live.edit(make_model_deployment().version(2))
    live.settle()
    assert live.service is not None
    live.service["spec"]["selector"][naming.REVISION_LABEL] = live.version_revision("1")
    live.writes.clear()
    live.one_pass()
    assert live.serving_version() == "2"
    assert "scale" not in live.writes


def test_no_address_is_told_before_there_is_an_endpoint():
    world = World(make_model_deployment())
    world.one_pass()
    assert "url" not in world.status
    world.settle()
    assert world.status["url"] == "http://cats-dogs.vision.svc"


def test_what_an_image_error_said_first_is_not_lost_to_its_back_off(live: World):
    said = {"reason": "ErrImagePull", "message": "lookup nowhere.example: no such host"}
    live.container = lambda revision: (
        waiting(said["reason"], said["message"]) if live.version_of(revision) == "2" else None
    )
    live.edit(make_model_deployment().version(2))
    for _ in range(3):
        live.one_pass()
        live.play_pods()
    before = live.status["message"]
    assert "no such host" in before
    said.update(reason="ImagePullBackOff", message="Back-off pulling image")
    live.play_pods()
    live.writes.clear()
    live.one_pass()
    assert live.writes == []
    assert live.status["message"] == before
