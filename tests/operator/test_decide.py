"""What one pass decides, told as stories of one ModelDeployment."""

from __future__ import annotations

import dataclasses

import pytest

from model_operator import reasons
from model_operator.errors import ResolutionDelayed, ResolutionRefused
from model_operator.rollout import safety
from tests.operator.builders import crashed, digest_of, make_model_deployment, waiting
from tests.operator.world import InvariantBroken, World


def test_a_new_resource_becomes_healthy_with_one_revision():
    world = World(make_model_deployment())
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.condition("Ready") == ("True", reasons.COMPLETE)
    assert world.condition("Available") == ("True", reasons.SERVING)
    assert world.serving_version() == "1"
    assert world.replicas_by_version() == {"1": 3}
    assert world.status["traffic"][0]["actualWeight"] == 100
    assert world.status["observedGeneration"] == 1


def test_no_endpoint_exists_before_every_pod_is_ready():
    world = World(make_model_deployment())
    world.one_pass()
    assert world.service is None
    assert world.condition("Available") == ("False", reasons.NO_STABLE_REVISION)
    assert world.condition("Ready") == ("False", reasons.STARTING)


def test_a_settled_resource_is_written_no_more(live: World):
    live.writes.clear()
    for _ in range(5):
        live.wait(3600)
        live.one_pass()
    assert live.writes == []


def test_a_new_version_takes_over_only_with_all_its_pods_ready(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.one_pass()
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3, "2": 3}
    assert live.condition("Ready") == ("False", reasons.STARTING)
    assert live.status["canary"]["version"] == "2"
    live.play_pods()
    live.one_pass()
    assert live.serving_version() == "2"


def test_the_old_version_keeps_its_size_for_the_delay_after_the_switch(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    live.one_pass()
    for _ in range(29):
        live.one_pass()
        live.wait(1)
        assert live.replicas_by_version()["1"] == 3
        assert live.condition("Ready")[0] == "False"
    live.settle()
    assert live.replicas_by_version() == {"1": 0, "2": 3}
    assert live.condition("Ready") == ("True", reasons.COMPLETE)


def test_a_commit_whose_status_was_never_written_is_not_undone_and_the_delay_is_kept(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    status = dict(live.status)
    live.one_pass()
    live.resource["status"] = status
    live.one_pass()
    assert live.serving_version() == "2"
    assert live.replicas_by_version() == {"1": 3, "2": 3}
    live.settle()
    assert live.replicas_by_version() == {"1": 0, "2": 3}


def test_lost_status_moves_nothing_and_is_written_anew(live: World):
    live.edit(make_model_deployment().version(2))
    live.settle()
    before = dict(live.status)
    live.lose_status()
    live.writes.clear()
    live.settle()
    assert set(live.writes) == {"status"}
    assert live.status["stable"] == before["stable"]
    assert live.status["phase"] == "Healthy"


def test_the_spec_back_at_stable_cancels_the_rollout(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.edit(make_model_deployment().version(1))
    live.settle()
    assert live.replicas_by_version() == {"1": 3, "2": 0}
    assert live.serving_version() == "1"
    assert "failedRevision" not in live.status


def test_a_third_version_in_the_middle_replaces_the_second(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.edit(make_model_deployment().version(3))
    live.one_pass()
    assert live.replicas_by_version() == {"1": 3, "2": 0, "3": 3}
    live.settle()
    assert live.serving_version() == "3"


def test_going_back_to_a_version_that_still_runs_waits_for_no_pods(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.play_pods()
    live.one_pass()
    live.one_pass()
    live.edit(make_model_deployment().version(1))
    live.one_pass()  # first status says what is meant
    live.one_pass()
    assert live.serving_version() == "1"


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (crashed(3, "digest mismatch: expected a, got b", name="fetch"), reasons.MODEL_REFUSED),
        (crashed(4, "models:/cats-dogs/2 does not exist", name="fetch"), reasons.MODEL_MISSING),
    ],
)
def test_bytes_that_are_refused_end_the_rollout_at_once(live: World, container: dict, reason: str):
    live.container = lambda revision: container if live.version_of(revision) == "2" else None
    live.edit(make_model_deployment().version(2))
    live.settle(seconds=5)
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3, "2": 0}
    assert live.condition("Stalled") == ("True", reason)
    assert live.condition("Available")[0] == "True"
    assert live.condition("Ready") == ("False", reasons.ROLLED_BACK)
    assert live.status["phase"] == "Degraded"
    assert container["lastState"]["terminated"]["message"] in live.status["message"]
    assert live.status["lastFailure"]["reason"] == reason


def test_an_image_that_cannot_be_pulled_is_said_at_once_and_ends_the_rollout_at_the_deadline(
    live: World,
):
    trouble = waiting("ImagePullBackOff", "no such image")
    live.container = lambda revision: trouble if live.version_of(revision) == "2" else None
    live.edit(make_model_deployment().version(2).spec(progressDeadlineSeconds=60))
    for _ in range(3):
        live.one_pass()
        live.play_pods()
    assert "no such image" in live.status["message"]
    assert live.condition("Stalled")[0] == "False"
    assert live.replicas_by_version() == {"1": 3, "2": 3}
    live.settle()
    assert live.condition("Stalled") == ("True", reasons.IMAGE_PULL_FAILED)
    assert live.replicas_by_version() == {"1": 3, "2": 0}


def test_a_failed_version_is_not_tried_again_and_another_one_is(live: World):
    live.container = lambda r: crashed(3, "no") if live.version_of(r) == "2" else None
    live.edit(make_model_deployment().version(2))
    live.settle()
    live.edit(make_model_deployment().version(2).replicas(4))
    live.settle()
    assert live.replicas_by_version() == {"1": 4, "2": 0}
    live.edit(make_model_deployment().version(3))
    live.settle()
    assert live.serving_version() == "3"
    assert live.status["phase"] == "Healthy"
    assert "failedRevision" not in live.status


def test_the_first_version_is_kept_trying_because_nothing_else_serves():
    world = World(make_model_deployment())
    world.container = lambda revision: crashed(3, "digest mismatch")
    world.settle()
    assert world.replicas_by_version() == {"1": 3}
    assert world.condition("Stalled") == ("True", reasons.MODEL_REFUSED)
    assert world.status["phase"] == "Degraded"
    world.container = lambda revision: None
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_a_registry_that_does_not_answer_changes_nothing_and_is_asked_again(live: World):
    live.resolution_error = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, "no answer")
    live.edit(make_model_deployment().version(2).replicas(5))
    plan = live.one_pass()
    assert plan.back_off
    assert live.condition("ModelResolved") == ("False", reasons.REGISTRY_UNREACHABLE)
    assert live.condition("Stalled")[0] == "False"
    assert live.condition("Available")[0] == "True"
    assert live.status["message"] == "no answer"
    assert live.replicas_by_version() == {"1": 5}
    live.resolution_error = None
    live.settle()
    assert live.serving_version() == "2"


def test_a_model_that_does_not_exist_stalls_and_what_serves_goes_on(live: World):
    live.resolution_error = ResolutionRefused(reasons.MODEL_NOT_FOUND, "models:/cats-dogs/9: no")
    live.edit(make_model_deployment().version(9))
    plan = live.one_pass()
    assert not plan.back_off
    assert live.condition("Stalled") == ("True", reasons.MODEL_NOT_FOUND)
    assert live.condition("Available")[0] == "True"
    assert live.status["message"] == "models:/cats-dogs/9: no"


def test_an_invalid_spec_touches_nothing(live: World):
    live.edit(make_model_deployment().version(2).spec(replicas=-1, nonsense=True))
    live.writes.clear()
    live.one_pass()
    assert live.writes == ["status"]
    assert live.condition("Stalled") == ("True", reasons.INVALID_SPEC)
    assert live.condition("Available")[0] == "True"
    assert "spec.replicas" in live.status["message"]


def test_an_object_of_somebody_else_is_never_taken_over():
    world = World(make_model_deployment())
    world.foreign = [{"kind": "Service", "metadata": {"name": "cats-dogs"}}]
    world.one_pass()
    assert world.writes == ["status"]
    assert world.condition("Stalled") == ("True", reasons.NAME_CONFLICT)


def test_children_of_a_deleted_resource_of_the_same_name_are_waited_for():
    world = World(make_model_deployment())
    owner = {"kind": "ModelDeployment", "name": "cats-dogs", "uid": "gone", "controller": True}
    world.foreign = [
        {"kind": "Service", "metadata": {"name": "cats-dogs", "ownerReferences": [owner]}}
    ]
    plan = world.one_pass()
    assert plan.requeue_after is not None
    assert world.writes == ["status"]
    assert world.condition("Ready") == ("False", reasons.WAITING_FOR_PREDECESSOR)
    assert world.condition("Stalled")[0] == "False"
    world.foreign = []
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_a_new_operator_with_other_defaults_and_another_template_rolls_nothing(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    live.defaults = dataclasses.replace(live.defaults, server_image="example/server:2")
    monkeypatch.setattr("model_operator.resources.DRAIN_SECONDS", 99)
    live.writes.clear()
    live.settle()
    assert live.writes == []
    live.edit(make_model_deployment().version(2))
    live.settle()
    images = {
        d["spec"]["template"]["spec"]["containers"][0]["image"] for d in live.deployments.values()
    }
    assert images == {"example/server:1", "example/server:2"}


def test_a_deployment_that_somebody_changed_or_deleted_is_put_right(live: World):
    (name, deployment) = next(iter(live.deployments.items()))
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "example/other"
    live.one_pass()
    container = live.deployments[name]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "example/server:1"
    del live.deployments[name]
    live.settle()
    assert live.replicas_by_version() == {"1": 3}


def test_a_selector_with_one_label_too_many_is_put_right(live: World):
    live.service["spec"]["selector"]["extra"] = "yes"
    live.one_pass()
    assert "extra" not in live.service["spec"]["selector"]


def test_replicas_alone_make_no_new_revision(live: World):
    live.edit(make_model_deployment().replicas(5))
    live.settle()
    assert live.replicas_by_version() == {"1": 5}
    assert len(live.histories) == 1


def test_server_settings_make_a_new_revision(live: World):
    live.edit(make_model_deployment().server(env=[{"name": "LOG_LEVEL", "value": "debug"}]))
    live.settle()
    assert len(live.histories) == 2


def test_no_replicas_is_ready_and_not_available(live: World):
    live.edit(make_model_deployment().replicas(0))
    live.settle()
    assert live.condition("Available") == ("False", reasons.SCALED_TO_ZERO)
    assert live.condition("Ready")[0] == "True"


def test_a_new_version_at_size_zero_is_progress_and_nothing_is_said_to_serve(live: World):
    live.edit(make_model_deployment().replicas(0))
    live.settle()
    live.edit(make_model_deployment().version(2).replicas(0))
    phases, messages = set(), []
    for _ in range(4):
        live.one_pass()
        live.play_pods()
        phases.add(live.status["phase"])
        messages.append(live.status["message"])
    live.settle()
    assert live.serving_version() == "2"
    assert "Degraded" not in phases
    assert not any("serves" in message for message in messages), messages
    assert "replicas is 0" in live.status["message"]


def test_history_is_kept_up_to_its_limit_and_the_oldest_goes_first(live: World):
    for version in range(2, 8):
        live.edit(make_model_deployment().version(version).spec(revisionHistoryLimit=2))
        live.settle()
    versions = sorted(h["data"]["version"] for h in live.histories.values())
    assert versions == ["5", "6", "7"]
    assert len(live.deployments) == 3


def test_a_revision_beyond_the_history_is_kept_until_its_last_pod_has_ended(live: World):
    first = live.version_revision("1")
    (pod,) = [pod for name, pod in live.pods.items() if name.endswith(f"{first}-0")]
    live.edit(make_model_deployment().version(2).spec(revisionHistoryLimit=0))
    for _ in range(40):
        live.one_pass()
        live.play_pods()
        live.pods[pod["metadata"]["name"]] = pod
        live.wait(1)
    assert live.replicas_by_version() == {"1": 0, "2": 3}
    live.settle()
    assert live.replicas_by_version() == {"2": 3}


def test_a_repair_that_is_refused_is_left_out_of_the_pass(live: World):
    (deployment,) = live.deployments.values()
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    live.refuse = lambda body: body["kind"] == "Deployment"
    assert not live.one_pass().applies
    assert live.condition("Stalled") == ("True", reasons.INVALID_SPEC)


def test_events_tell_of_transitions_only(live: World):
    live.events.clear()
    live.wait(3600)
    live.one_pass()
    assert live.events == []
    live.edit(make_model_deployment().version(2))
    live.settle()
    assert live.events == [
        "Normal Resolved",
        "Normal Starting",
        "Normal Switched",
        "Normal Complete",
    ]


def test_last_transition_time_moves_only_with_the_status(live: World):
    before = {c["type"]: c["lastTransitionTime"] for c in live.status["conditions"]}
    live.wait(100)
    live.edit(make_model_deployment().replicas(4))
    live.one_pass()
    after = {c["type"]: c["lastTransitionTime"] for c in live.status["conditions"]}
    assert after["Available"] == before["Available"]
    assert after["Ready"] != before["Ready"]


def test_a_pinned_digest_is_what_the_pods_verify():
    world = World(make_model_deployment().model(sha256=digest_of(77)))
    world.settle()
    (deployment,) = world.deployments.values()
    (fetch,) = deployment["spec"]["template"]["spec"]["initContainers"]
    assert digest_of(77) in fetch["command"]


def test_without_the_take_over_rule_the_invariants_notice(
    live: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(safety, "may_take_over", lambda view: True)
    live.container = lambda revision: waiting("ContainerCreating")
    live.edit(make_model_deployment().version(2))
    with pytest.raises(InvariantBroken):
        live.settle()


def test_a_rollout_that_is_taken_back_leaves_no_canary_in_any_status(live: World):
    live.edit(make_model_deployment().version(2))
    live.one_pass()
    live.edit(make_model_deployment())
    live.one_pass()
    assert "canary" not in live.status
