"""Every object that the chart makes, by Kubernetes' own schemas and the restricted standard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_operator import naming
from model_operator.settings import Settings
from tests.chart import schemas
from tests.chart.rendering import (
    CHART,
    FLAGS,
    NEWEST,
    PLACES,
    TRUST,
    Body,
    lint,
    of_kind,
    pods_of,
    rendered,
    template,
)
from tests.chart.schemas import OTHERS, VERSIONS


@pytest.fixture(scope="module", autouse=True)
def _each_schema_is_read_once():
    with schemas.read_once():
        yield


def test_the_newest_version_that_there_are_schemas_of_is_tried():
    assert f"{VERSIONS[-1]}.0" == NEWEST
    assert VERSIONS[0] == "1.30"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_this_kubernetes_takes(version: str):
    assert schemas.refusals(version) == []


def test_a_field_that_kubernetes_does_not_know_is_found_and_named(monkeypatch: pytest.MonkeyPatch):
    (deployment,) = of_kind(rendered("nothing"), "Deployment")
    broken = json.loads(json.dumps(deployment))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    monkeypatch.setattr(schemas, "distinct", lambda: [deployment, broken])
    (refusal,) = schemas.refusals("1.30")
    assert refusal.startswith("Kubernetes 1.30 refuses Deployment cv-factory-operator: ")
    assert "readynessProbe" in refusal


@pytest.mark.parametrize("flag", FLAGS)
def test_helm_finds_no_fault_with_the_chart(flag: str):
    done = lint(flag)
    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout


@pytest.mark.parametrize("flag", FLAGS)
def test_every_pod_keeps_to_the_restricted_standard(flag: str):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pods = pods_of(rendered(flag))
    assert len(pods) >= 2, "the operator's and that of helm test"
    for name, spec in pods.items():
        assert breaches(spec) == [], name


def breaches(spec: Body) -> list[str]:
    """What the restricted standard would object to."""
    pod = spec["securityContext"]
    found = [
        word
        for word, wrong in {
            "runAsNonRoot": pod.get("runAsNonRoot") is not True,
            "runAsUser": pod.get("runAsUser") == 0,
            "seccompProfile": pod.get("seccompProfile") != {"type": "RuntimeDefault"},
            "host": any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
            "volumes": any("hostPath" in volume for volume in spec.get("volumes", ())),
        }.items()
        if wrong
    ]
    for container in [*spec["containers"], *spec.get("initContainers", ())]:
        own = container["securityContext"]
        expected: dict[str, Any] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,  # stricter than the standard
        }
        found += [key for key, value in expected.items() if own.get(key) != value]
        found += [] if container["resources"]["limits"]["memory"] else ["memory"]
    return found


def test_the_rules_of_the_network_let_the_operator_reach_what_it_must_and_no_more():
    (policy,) = of_kind(rendered("everything"), "NetworkPolicy")
    spec = policy["spec"]
    (deployment,) = of_kind(rendered("everything"), "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = spec["ingress"]
    health = Settings(server_image="x").health_port
    assert [port["port"] for port in ingress["ports"]] == [health]
    assert ingress["from"], "who may read /metrics is the chart's value"
    ports = [port["port"] for rule in spec["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 16443, 5000, 9090, 5000]


def test_pods_are_reached_by_the_label_that_the_operator_gives_them_and_not_when_proxied():
    (policy,) = of_kind(rendered("network policy"), "NetworkPolicy")
    (pods,) = [rule for rule in policy["spec"]["egress"] if "to" in rule]
    assert [port["port"] for port in pods["ports"]] == [8000, 8001]
    (peer,) = pods["to"]
    (label, value) = next(iter(peer["podSelector"]["matchLabels"].items()))
    assert naming.identity_labels("cats-dogs")[label] == value
    (proxied,) = of_kind(rendered("everything"), "NetworkPolicy")
    assert not [rule for rule in proxied["spec"]["egress"] if "to" in rule]


@pytest.mark.parametrize("version", ["1.24.0", NEWEST])
def test_the_kind_is_kept_by_helm_and_by_argocds_pruning(version: str):
    (kind,) = of_kind(rendered("nothing", version), "CustomResourceDefinition")
    assert kind["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep",
        "argocd.argoproj.io/sync-options": "Prune=false",
    }


def test_the_kind_is_left_to_somebody_else():
    assert of_kind(rendered("no kind"), "CustomResourceDefinition") == []


def test_the_pod_of_helm_test_is_there_for_its_log_until_the_next_one():
    (pod,) = of_kind(rendered("nothing"), "Pod")
    annotations = pod["metadata"]["annotations"]
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"


@pytest.mark.parametrize(("flag", "kind"), [("nothing", "ClusterRole"), ("everything", "Role")])
def test_the_pod_of_helm_test_asks_for_each_right_of_the_role_that_was_rendered(
    flag: str, kind: str
):
    (pod,) = of_kind(rendered(flag), "Pod")
    (rules,) = pod["spec"]["containers"][0]["args"]
    roles = [role["rules"] for role in of_kind(rendered(flag), kind)]
    assert json.loads(rules) in roles
    assert {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]} in (
        json.loads(rules)
    )


def test_the_pod_of_helm_test_is_no_pod_of_the_operator_and_holds_no_credentials():
    (pod,) = of_kind(rendered("everything"), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for selecting in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"):
        (body,) = of_kind(rendered("everything"), selecting)
        selector = body["spec"].get("selector") or body["spec"]["podSelector"]
        assert not selector["matchLabels"].items() <= pod["metadata"]["labels"].items(), selecting
    (container,) = pod["spec"]["containers"]
    assert "envFrom" not in container
    (operator,) = of_kind(rendered("everything"), "Deployment")
    settings = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [*container["env"], *TRUST["extraEnv"]] == settings, "the latter may name a Secret"


def test_what_a_service_mesh_is_told_of_the_operators_pods_holds_for_the_pod_of_helm_test():
    """Otherwise it adds a container that never ends, and neither does the test."""
    annotations = FLAGS["everything"]["podAnnotations"]
    (pod,) = of_kind(rendered("everything"), "Pod")
    (deployment,) = of_kind(rendered("everything"), "Deployment")
    assert deployment["spec"]["template"]["metadata"]["annotations"] == annotations
    assert annotations.items() <= pod["metadata"]["annotations"].items()


def test_a_file_of_ones_own_is_mounted_where_a_variable_names_it():
    spec = pods_of(rendered("an authority of one's own"))["cv-factory-operator"]
    (container,) = spec["containers"]
    assert spec["volumes"] == TRUST["extraVolumes"]
    assert container["volumeMounts"] == TRUST["extraVolumeMounts"]
    assert container["env"][-1] == TRUST["extraEnv"][0]
    names = [variable["name"] for variable in container["env"]]
    assert len(names) == len(set(names))


def test_where_pods_go_is_said_instead_of_the_charts_own_preference():
    spec = pods_of(rendered("places"))["cv-factory-operator"]
    assert spec["affinity"] == PLACES["affinity"]
    assert spec["topologySpreadConstraints"] == PLACES["topologySpreadConstraints"]


def test_what_prometheus_operator_reads_has_the_labels_that_it_selects_by():
    labels = FLAGS["everything"]["metrics"]["labels"]
    read = [body for body in rendered("everything") if body["apiVersion"] in OTHERS]
    assert {body["kind"] for body in read} == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    for body in read:
        assert labels.items() <= body["metadata"]["labels"].items()
        assert body["metadata"]["labels"]["app.kubernetes.io/name"] == "cv-factory"


def test_a_version_with_build_metadata_makes_a_label_that_kubernetes_takes(tmp_path: Path):
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(text.replace("\nversion: 0.1.0", "\nversion: 0.1.0+5f3c0de"))
    done = template({}, chart=chart)
    assert done.returncode == 0, done.stderr
    labels = {
        body["metadata"]["labels"]["helm.sh/chart"]
        for body in yaml.safe_load_all(done.stdout)
        if body and "helm.sh/chart" in body["metadata"].get("labels", {})
    }
    assert labels == {"cv-factory-0.1.0_5f3c0de"}


def test_limited_to_namespaces_the_operator_has_no_right_in_the_cluster_as_a_whole():
    bodies = rendered("namespaces")
    bindings = of_kind(bodies, "ClusterRoleBinding")
    roles = {role["metadata"]["namespace"] for role in of_kind(bodies, "Role")}
    assert (bindings, roles) == ([], {"system", "vision", "audio"})
