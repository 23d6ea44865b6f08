"""What a revision's pods are, and what makes a revision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import api, naming, observe, resources
from model_operator.observed import Defaults
from tests.operator.builders import ModelDeploymentBuilder, digest_of, make_model_deployment
from tests.operator.world import DEFAULTS, World

LONGEST_NAME = "a" * api.NAME_MAX_LENGTH


def children(
    resource: ModelDeploymentBuilder, defaults: Defaults = DEFAULTS, **metadata: Any
) -> dict[str, Mapping[str, Any]]:
    """What the operator applies for a new resource, before and after its pods are ready."""
    world = World(resource)
    world.defaults = defaults
    world.resource["metadata"] |= metadata
    first = world.one_pass()
    world.play_pods()
    return {body["kind"]: body for body in (*first.applies, *world.one_pass().applies)}


def template(resource: ModelDeploymentBuilder) -> dict[str, Any]:
    return children(resource)["Deployment"]["spec"]["template"]


def containers(pod: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])}


def values_of(container: Mapping[str, Any]) -> dict[str, str]:
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names)), "a variable is there twice"
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


# --- the pods --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fetch", "server"])
def test_every_container_is_hardened(name):
    pod = template(make_model_deployment())
    assert set(containers(pod)) == {"fetch", "server"}
    assert containers(pod)[name]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_pod_runs_as_nobody_in_particular_and_holds_no_token():
    spec = template(make_model_deployment().server(serviceAccountName="somebody"))["spec"]
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds == {"emptyDir", "configMap"}


def test_every_pod_can_mirror_without_a_restart_once_there_is_a_config_map():
    spec = template(make_model_deployment("cats"))["spec"]
    (volume,) = (v for v in spec["volumes"] if v["name"] == "mirror")
    assert volume["configMap"] == {"name": "cats-mirror", "optional": True}
    server = containers(template(make_model_deployment("cats")))["server"]
    (mount,) = (m for m in server["volumeMounts"] if m["name"] == "mirror")
    (variable,) = (e for e in server["env"] if e["name"] == "MIRROR_CONFIG")
    assert variable["value"] == f"{mount['mountPath']}/mirror.json"


def test_only_the_fetching_container_may_write_the_model_and_sees_credentials():
    resource = make_model_deployment().model(credentialsSecretRef={"name": "mlflow-login"})
    found = containers(template(resource))
    assert found["fetch"]["envFrom"] == [{"secretRef": {"name": "mlflow-login"}}]
    assert "mlflow-login" not in json.dumps(found["server"])
    assert "envFrom" not in found["server"]
    (models,) = (m for m in found["server"]["volumeMounts"] if m["name"] == "models")
    assert models["readOnly"] is True


def test_the_operators_own_credentials_are_handed_to_nobody():
    assert set(values_of(containers(template(make_model_deployment()))["fetch"])) == {
        "MLFLOW_TRACKING_URI",
        "HOME",
    }


def test_the_registry_that_a_source_names_is_asked_by_the_pods_and_may_lead_nowhere_else():
    named = make_model_deployment().model(registry="http://mlflow.ml:5000")
    values = values_of(containers(template(named))["fetch"])
    assert values["MLFLOW_TRACKING_URI"] == "http://mlflow.ml:5000"
    assert values["MLFLOW_ALLOW_HTTP_REDIRECTS"] == "false"
    own = make_model_deployment().model(registry=f"{DEFAULTS.tracking_uri}/")
    assert "MLFLOW_ALLOW_HTTP_REDIRECTS" not in values_of(containers(template(own))["fetch"])


PIN = digest_of(5)


def pinned(uri: str, **fields: Any) -> dict[str, Any]:
    return template(make_model_deployment().spec(model={"uri": uri, "sha256": PIN, **fields}))


def test_a_claim_is_mounted_read_only_and_in_the_fetching_container_alone():
    pod = pinned("pvc://models/cats-dogs/3")
    (volume,) = (v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v)
    assert volume["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    found = containers(pod)
    (mount,) = (m for m in found["fetch"]["volumeMounts"] if m["name"] == volume["name"])
    assert mount["readOnly"] is True
    assert mount["mountPath"] == f"{values_of(found['fetch'])['PVC_ROOT']}/models"
    assert volume["name"] not in json.dumps(found["server"])
    assert volume["name"] in api.RESERVED_VOLUMES


@pytest.mark.parametrize("uri", ["s3://models/cats-dogs/3/", "https://example.com/cats.tgz"])
def test_a_source_outside_mlflow_is_fetched_without_a_registry_and_with_its_own_secret(uri):
    found = containers(pinned(uri, credentialsSecretRef={"name": "store"}))
    assert "MLFLOW_TRACKING_URI" not in values_of(found["fetch"])
    assert found["fetch"]["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert "store" not in json.dumps(found["server"])
    command = found["fetch"]["command"]
    assert command[command.index("--uri") + 1] == uri
    assert command[command.index("--sha256") + 1] == PIN


def test_a_server_of_a_source_without_a_number_is_told_the_beginning_of_the_digest():
    found = containers(pinned("s3://models/cats-dogs/3/"))
    assert values_of(found["server"])["MODEL_VERSION"] == PIN[:12]


def test_both_containers_are_told_the_same_digest_as_was_resolved():
    found = containers(template(make_model_deployment().version(2)))
    assert values_of(found["server"])["MODEL_SHA256"] == digest_of(2)
    command = found["fetch"]["command"]
    assert command[command.index("--sha256") + 1] == digest_of(2)
    assert command[command.index("--uri") + 1] == "models:/cats-dogs/2"


def test_a_users_variables_are_added():
    plain = values_of(containers(template(make_model_deployment()))["server"])
    mine = [{"name": "OMP_NUM_THREADS", "value": "1"}]
    values = values_of(containers(template(make_model_deployment().server(env=mine)))["server"])
    assert values == plain | {"OMP_NUM_THREADS": "1", "REVISION": values["REVISION"]}


def test_every_variable_of_the_operators_own_is_reserved_and_may_not_be_set():
    plain = values_of(containers(template(make_model_deployment()))["server"])
    assert set(plain) == api.RESERVED_ENVIRONMENT
    for name in plain:
        body = make_model_deployment().server(env=[{"name": name, "value": "mine"}]).build()
        sentence = observe.read_resource(body).invalid
        assert sentence
        assert sentence.startswith("spec.server.env[0]: ")
        assert name in sentence


@pytest.mark.parametrize(("asked", "drain"), [(None, 15), (0, 0), (60, 60)])
def test_a_pod_may_take_as_long_to_end_as_it_drains_and_answers_and_five_seconds_more(asked, drain):
    fields = {} if asked is None else {"drainSeconds": asked}
    pod = template(make_model_deployment().server(**fields))
    server = values_of(containers(pod)["server"])
    assert server["DRAIN_SECONDS"] == str(drain)
    timeout = int(server["REQUEST_TIMEOUT_SECONDS"])
    assert pod["spec"]["terminationGracePeriodSeconds"] == drain + timeout + 5


def test_a_users_labels_are_added_to_the_pods():
    deployment = children(make_model_deployment().server(podLabels={"team": "vision"}))[
        "Deployment"
    ]
    found = deployment["spec"]["template"]["metadata"]["labels"]
    assert found["team"] == "vision"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= found.items()


@pytest.mark.parametrize("label", naming.revision_labels("cats-dogs", "9c1b04aa57"))
def test_labels_that_would_take_pods_away_from_their_revision_are_refused(label):
    body = make_model_deployment().server(podLabels={label: "x"}).build()
    sentence = observe.read_resource(body).invalid
    assert sentence
    assert sentence.startswith("spec.server.podLabels: ")


# --- all children ----------------------------------------------------------------------------


def names_and_values(value: Any) -> Iterator[str]:
    """Names and values of labels and selectors, and names of objects and containers."""
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str):
            yield value["name"]
        for key, member in value.items():
            if key in ("labels", "matchLabels", "selector") and isinstance(member, Mapping):
                yield from (text for text in member.values() if isinstance(text, str))
            yield from names_and_values(member)
    elif isinstance(value, list):
        for item in value:
            yield from names_and_values(item)


def test_with_the_longest_name_every_name_and_label_fits_in_63_characters():
    found = children(make_model_deployment(LONGEST_NAME))
    assert set(found) == {"ControllerRevision", "Deployment", "PodDisruptionBudget", "Service"}
    texts = [text for body in found.values() for text in names_and_values(body)]
    assert max(map(len, texts)) == api.NAME_MAX_LENGTH + 11
    assert max(map(len, texts)) <= 63


def test_nothing_of_the_resources_own_labels_and_annotations_is_copied_to_a_child():
    marked = {"argocd.argoproj.io/instance": "marker"}
    found = children(make_model_deployment(), labels=marked, annotations=marked)
    assert set(found) == {"ControllerRevision", "Deployment", "PodDisruptionBudget", "Service"}
    for kind, body in found.items():
        assert "marker" not in json.dumps(body), kind


def test_every_child_is_found_by_its_labels_and_goes_with_its_resource():
    for kind, body in children(make_model_deployment()).items():
        labels = body["metadata"]["labels"]
        assert naming.identity_labels("cats-dogs").items() <= labels.items(), kind
        (owner,) = body["metadata"]["ownerReferences"]
        assert owner["controller"] is True
        assert owner["uid"] == make_model_deployment().build()["metadata"]["uid"]


def test_no_child_carries_a_replica_count_for_an_autoscaler_must_not_be_fought():
    assert "replicas" not in children(make_model_deployment().replicas(7))["Deployment"]["spec"]


# --- what makes a revision -------------------------------------------------------------------

SERVER = {"resources": {"limits": {"cpu": "1"}}, "drainSeconds": 20}
BASE = make_model_deployment().server(**SERVER)


def revision(resource: ModelDeploymentBuilder, **others: Any) -> str:
    body = children(resource, **others)["ControllerRevision"]
    found: str = body["metadata"]["labels"][naming.REVISION_LABEL]
    return found


ELSEWHERE = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 1000),
        "minReadySeconds": st.integers(0, 599),
        "progressDeadlineSeconds": st.integers(601, 86_400),
        "revisionHistoryLimit": st.integers(0, 100),
        "strategy": st.fixed_dictionaries({"scaleDownDelaySeconds": st.integers(20, 86_400)}),
        "traffic": st.fixed_dictionaries(
            {"service": st.fixed_dictionaries({"type": st.sampled_from(["ClusterIP", "NodePort"])})}
        ),
    },
)
LABELS = st.dictionaries(st.text("abc", min_size=1), st.text("abc"), max_size=3)
OPERATORS = st.builds(
    Defaults,
    server_image=st.text("abc:1", min_size=1),
    tracking_uri=st.none() | st.just("http://elsewhere:5000"),
    cluster_domain=st.text("abc", min_size=1),
)


@given(elsewhere=ELSEWHERE, labels=LABELS, generation=st.integers(1, 99), operator=OPERATORS)
def test_a_revision_stays_the_same_whatever_else_changes_in_the_resource_or_the_operator(
    elsewhere, labels, generation, operator
):
    metadata = {"labels": labels, "annotations": labels, "generation": generation}
    assert revision(BASE.spec(**elsewhere), defaults=operator, **metadata) == revision(BASE)


def test_a_secret_for_fetching_and_another_uri_of_the_same_bytes_make_no_new_revision():
    same = {"uri": "models:/renamed/9", "sha256": digest_of(1)}
    assert revision(BASE.model(credentialsSecretRef={"name": "s"})) == revision(BASE)
    assert revision(BASE.model(**same)) == revision(BASE)


SERVERS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(["a:1", "a:2"]),
        "drainSeconds": st.integers(0, 3),
        "env": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("AB")}),
            min_size=1,
            unique_by=lambda variable: variable["name"],
        ),
        "podLabels": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), min_size=1),
    },
)


@given(
    versions=st.tuples(st.integers(1, 3), st.integers(1, 3)), servers=st.tuples(SERVERS, SERVERS)
)
def test_two_revisions_are_the_same_exactly_when_their_digest_and_server_settings_are(
    versions, servers
):
    first, second = (
        revision(make_model_deployment().version(version).server(**server))
        for version, server in zip(versions, servers, strict=True)
    )
    same = versions[0] == versions[1] and servers[0] == servers[1]
    assert (first == second) is same


def test_the_record_of_a_revision_holds_the_very_template_that_its_pods_get():
    found = children(BASE)
    template = found["ControllerRevision"]["data"]["podTemplate"]
    assert template == found["Deployment"]["spec"]["template"]
    assert template["spec"]["containers"][0]["ports"][0]["containerPort"] == resources.SERVER_PORT
