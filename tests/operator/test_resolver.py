"""Sources whose digest nobody has registered, told as stories: a Job computes it, once."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_operator import naming, reasons, resolver, resolver_job
from model_operator.decide import decide
from model_operator.errors import ResolutionAwaited
from model_operator.observed import Refusal
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.world import World
from tests.operator.world_resolver import digest_at, said

URI = "s3://models/cats-dogs/3/"
OTHER = "https://example.com/cats.tgz"


def source(uri: str = URI, **fields: object) -> ModelDeploymentBuilder:
    return make_model_deployment().spec(model={"uri": uri, **fields})


def jobs(world: World) -> list[str]:
    return [name for kind, name in world.others if kind == resolver.KIND]


def job(world: World) -> dict:
    (name,) = jobs(world)
    return world.others[resolver.KIND, name]


def ends(code: int, words: str) -> Callable[[str], tuple[int, str]]:
    return lambda uri: (code, words)


@pytest.fixture
def computing() -> World:
    """A new resource whose Job is at work."""
    world = World(source())
    world.resolver.ends = lambda uri: None
    world.one_pass()
    world.play_pods()
    world.one_pass()
    return world


def test_a_source_without_a_digest_goes_live_with_the_one_that_a_job_computes():
    world = World(source())
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.status["model"]["sha256"] == digest_at(URI)
    assert world.status["stable"]["version"] == digest_at(URI)[:12]
    assert world.resolver.made == [URI]


def test_while_it_is_computed_that_is_what_people_read_and_nothing_is_asked_again(
    computing: World,
):
    assert computing.condition("ModelResolved") == ("False", reasons.RESOLVING)
    assert computing.condition("Ready") == ("False", reasons.RESOLVING)
    assert computing.condition("Stalled") == ("False", reasons.NOT_STALLED)
    assert URI in computing.status["message"]
    assert computing.status["resolverJob"] == jobs(computing)[0]
    plan = computing.one_pass()
    assert not plan.writes
    assert plan.back_off is None
    assert plan.requeue_after is None
    assert "Warning Resolving" not in computing.events


def test_a_registry_that_is_asked_again_meanwhile_ends_no_job(computing: World):
    """A registered version without a digest is asked for in every pass, and one that is slow would
    have the Job begin its download anew each time.
    """
    before = jobs(computing), computing.status["resolverJob"]
    waits = ResolutionAwaited(reasons.RESOLVING, "the registry has not answered yet")
    computing.resolution_error = waits
    assert not computing.one_pass().writes
    assert (jobs(computing), computing.status["resolverJob"]) == before


def test_what_it_computed_is_frozen_and_the_job_goes():
    world = World(source())
    world.settle()
    assert jobs(world) == []
    assert "resolverJob" not in world.status
    world.resolver.ends = ends(0, said(digest_at("other bytes")))
    world.settle()
    assert world.resolver.made == [URI]
    assert world.status["model"]["sha256"] == digest_at(URI)


def test_a_settled_source_has_no_jobs_that_could_be_asked_for():
    world = World(source())
    world.settle()
    observed = world.observed()
    assert not resolver.must_be_read(observed.resource, observed.resolution, world.pods.values())


def test_another_source_has_a_job_of_its_own_and_the_one_before_goes(computing: World):
    before = jobs(computing)
    computing.edit(source(OTHER))
    computing.one_pass()
    assert jobs(computing) != before
    assert len(jobs(computing)) == 1
    computing.resolver.ends = lambda uri: (0, said(digest_at(uri)))
    computing.settle()
    assert computing.status["model"]["sha256"] == digest_at(OTHER)
    assert jobs(computing) == []


@pytest.mark.parametrize(
    "change",
    [
        source().server(image="example/server:2"),
        source(credentialsSecretRef={"name": "store"}),
        source().server(nodeSelector={"disk": "fast"}),
    ],
    ids=["image", "credentials", "place"],
)
def test_a_job_that_would_run_otherwise_now_is_made_anew(
    computing: World, change: ModelDeploymentBuilder
):
    before = jobs(computing)
    computing.edit(change)
    computing.one_pass()
    assert jobs(computing) != before
    assert len(jobs(computing)) == 1


def test_a_pin_that_is_given_meanwhile_ends_the_job(computing: World):
    computing.edit(source(sha256=digest_at("pinned")))
    computing.resolver.ends = lambda uri: (0, said(digest_at(uri)))
    computing.settle()
    assert computing.status["model"]["sha256"] == digest_at("pinned")
    assert jobs(computing) == []


FAILURES = {
    2: (reasons.RESOLVER_FAILED, True),
    3: (reasons.MODEL_REFUSED, True),
    4: (reasons.MODEL_MISSING, True),
    5: (reasons.SOURCE_UNREACHABLE, False),
    137: (reasons.RESOLVER_FAILED, True),
}


@pytest.mark.parametrize(("code", "expected"), FAILURES.items())
def test_the_words_of_a_job_that_fails_are_what_people_read(code: int, expected: tuple[str, bool]):
    reason, stalled = expected
    world = World(source())
    world.resolver.ends = ends(code, "The bucket is\nempty: fill it.")
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    assert world.condition("ModelResolved") == ("False", reason)
    assert world.condition("Stalled")[0] == str(stalled)
    assert world.status["message"] == "The bucket is empty: fill it."


def test_a_failed_job_is_tried_again_ever_later_and_the_words_stay_meanwhile():
    world = World(source())
    world.resolver.ends = ends(4, "gone")
    tried, told = [], set()
    for _ in range(720):
        made = len(world.resolver.made)
        world.one_pass()
        world.play_pods()
        if len(world.resolver.made) > made:
            tried.append(world.now)
        told.add(world.status["message"])
        world.wait(5)
    pauses = [(b - a).total_seconds() // 10 * 10 for a, b in itertools.pairwise(tried)]
    assert pauses[:5] == [60, 120, 240, 480, 600]
    assert told <= {"gone", f"the digest of {URI} is being computed by a Job"}
    assert world.writes.count("status") <= 2 + len(tried)
    world.resolver.ends = lambda uri: (0, said(digest_at(uri)))
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_what_serves_keeps_serving_while_a_source_cannot_be_resolved(live: World):
    live.edit(source())
    live.resolver.ends = ends(3, "no artifact")
    for _ in range(5):
        live.one_pass()
        live.play_pods()
        live.wait(1)
    assert live.condition("Available") == ("True", reasons.SERVING)
    assert live.condition("Stalled") == ("True", reasons.MODEL_REFUSED)
    assert live.serving_version() == "1"
    assert live.replicas_by_version() == {"1": 3}


@pytest.mark.parametrize(
    "words", ["", "{}", "[]", "not json", '{"sha256": "abc"}', '{"sha256": null}', "null"]
)
def test_a_job_that_ends_well_and_leaves_no_digest_has_failed(words: str):
    world = World(source())
    world.resolver.ends = ends(0, words)
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    assert world.condition("ModelResolved") == ("False", reasons.RESOLVER_FAILED)
    assert "gone, or left none" in world.status["message"]


def test_a_job_that_is_not_done_in_time_has_failed_and_says_so():
    world = World(source())
    world.resolver.ends = lambda uri: None
    world.one_pass()
    world.play_pods()
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "DeadlineExceeded",
        "message": "Job was active longer than specified deadline",
    }
    job(world)["status"] = {"conditions": [condition]}
    world.one_pass()
    assert world.condition("ModelResolved") == ("False", reasons.RESOLVER_FAILED)
    assert "longer than specified deadline" in world.status["message"]


def test_why_its_pod_does_not_run_is_told(computing: World):
    (pod,) = computing.resolver.pods.values()
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "store" not found'}
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": waiting}
    pod["status"]["conditions"] = []
    computing.one_pass()
    assert 'secret "store" not found' in computing.status["message"]
    assert computing.condition("ModelResolved") == ("False", reasons.RESOLVING)


def test_the_action_resolve_computes_anew_and_other_bytes_are_a_new_revision():
    world = World(source())
    world.settle()
    world.resolver.ends = ends(0, said(digest_at("other bytes")))
    identity = world.ask("resolve")
    world.settle()
    assert world.status["lastActionId"] == identity
    assert world.status["lastAction"]["accepted"], world.status["lastAction"]
    assert world.status["model"]["sha256"] == digest_at("other bytes")
    assert world.serving_version() == digest_at("other bytes")[:12]
    assert world.resolver.made == [URI, URI]
    assert jobs(world) == []


def test_the_action_resolve_waits_for_its_job_and_nothing_changes_meanwhile():
    world = World(source())
    world.settle()
    world.resolver.ends = lambda uri: None
    world.ask("resolve")
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    assert "lastAction" not in world.status
    assert world.condition("Ready") == ("True", reasons.COMPLETE)


def test_a_resolve_whose_job_fails_is_refused_in_its_words_and_changes_nothing():
    world = World(source())
    world.settle()
    world.resolver.ends = ends(4, "gone")
    world.ask("resolve")
    world.settle()
    assert not world.status["lastAction"]["accepted"]
    assert world.status["lastAction"]["message"] == "gone"
    assert world.status["phase"] == "Healthy"
    assert world.status["model"]["sha256"] == digest_at(URI)
    assert jobs(world) == []


def test_a_resolve_tries_a_failed_job_again_at_once():
    world = World(source())
    world.resolver.ends = ends(5, "no answer")
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    made = len(world.resolver.made)
    world.resolver.ends = lambda uri: (0, said(digest_at(uri)))
    world.ask("resolve")
    world.one_pass()
    world.play_pods()
    assert len(world.resolver.made) == made + 1
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_a_job_that_somebody_deletes_is_made_again(computing: World):
    job(computing)["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    computing.one_pass()
    assert len(jobs(computing)) == 2
    assert computing.status["resolverJob"] in jobs(computing)


def test_a_job_that_is_refused_is_told_of_and_made_once_it_is_not(live: World):
    live.edit(source())
    live.refuse = lambda body: body["kind"] == "Job"
    live.one_pass()
    assert live.condition("Stalled")[0] == "True"
    assert live.condition("Available")[0] == "True"
    live.refuse = lambda body: False
    live.settle()
    assert live.status["model"]["sha256"] == digest_at(URI)


def test_a_registered_version_without_a_digest_is_computed_too_and_keeps_its_number(live: World):
    live.edit(make_model_deployment().version(2))
    live.unregistered_digests = {"2"}
    live.settle()
    assert live.serving_version() == "2"
    assert live.status["model"]["sha256"] == digest_at("models:/cats-dogs/2")


def test_no_request_is_ever_sent_to_a_jobs_pod(computing: World):
    labels = resolver_labels(computing)
    for selector in (
        naming.server_selector("cats-dogs"),
        naming.pod_selector("cats-dogs", "0123456789"),
    ):
        assert not selector.items() <= labels.items()


def resolver_labels(world: World) -> dict[str, str]:
    (pod,) = world.resolver.pods.values()
    labels: dict[str, str] = pod["metadata"]["labels"]
    return labels


def test_a_job_is_restricted_holds_no_token_and_sees_the_secret_that_the_source_names():
    world = World(source(credentialsSecretRef={"name": "store"}))
    world.one_pass()
    body = job(world)
    spec = body["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert body["spec"]["backoffLimit"] == 0
    assert body["spec"]["activeDeadlineSeconds"] > 0
    assert body["spec"]["ttlSecondsAfterFinished"] > resolver.LONGEST_PAUSE.total_seconds()
    (owner,) = body["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert container["command"][-3:] == ["--uri", URI, "--resolve"]


def test_with_the_longest_name_a_jobs_name_is_a_label():
    assert len(naming.resolver_job("a" * 50, "0" * 64)) <= 63


def test_somebody_elses_job_under_its_name_is_left_alone(live: World):
    live.edit(source())
    observed = live.observed()
    name = resolver.name_to_be_written(observed)
    live.foreign = [{"kind": "Job", "metadata": {"name": name, "namespace": "vision"}}]
    live.one_pass()
    assert jobs(live) == []
    assert live.condition("Stalled") == ("True", reasons.NAME_CONFLICT)


def test_a_refusal_leaves_the_failed_job_with_its_words():
    world = World(source())
    world.resolver.ends = ends(4, "gone")
    for _ in range(3):
        world.one_pass()
        world.play_pods()
    world.wait(100)
    observed = world.observed()
    name = resolver.name_to_be_written(observed)
    assert name is not None
    plan = decide(observed.refused(Refusal("Job", name, 403, "quota")), world.now)
    assert [delete for delete in plan.deletes if delete.kind == "Job"] == []


def test_a_result_is_read_from_the_jobs_own_pods_alone(computing: World):
    body = job(computing)
    body["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    (pod,) = computing.resolver.pods.values()
    pod["status"]["containerStatuses"][0]["state"] = {
        "terminated": {"exitCode": 0, "message": said(digest_at("forged"))}
    }
    pod["metadata"]["ownerReferences"] = [{"uid": "another"}]
    outcome = resolver_job.outcome(body, [pod], URI)
    assert outcome is not None
    assert outcome.digest is None


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 6), max_size=30),
    st.lists(st.sampled_from([0, 3, 5]), max_size=2),
)
def test_an_operator_that_dies_at_any_write_makes_no_job_more_and_ends_the_same(
    deaths: list[int], codes: list[int]
):
    def roll_out(deaths: list[int]) -> World:
        left = [code for code in codes if code]

        def answer(uri: str) -> tuple[int, str]:
            return (left.pop(0), "no") if left else (0, said(digest_at(uri)))

        world = World(make_model_deployment())
        world.settle()
        world.resolver.ends = answer
        world.edit(source())
        for writes in deaths:
            world.one_pass(dies_after=writes)
            world.play_pods()
            world.wait(1)
        world.settle()
        return world

    calm, killed = roll_out([]), roll_out(deaths)
    assert killed.resolver.made == calm.resolver.made
    assert killed.serving_version() == calm.serving_version() == digest_at(URI)[:12]
    assert killed.status["phase"] == calm.status["phase"] == "Healthy"
    assert jobs(killed) == jobs(calm) == []
    assert killed.writes.count("apply Job") == calm.writes.count("apply Job")
