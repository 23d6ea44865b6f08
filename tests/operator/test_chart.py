"""The chart, rendered by helm: what the operator may do, and how its pod is probed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import tools
from model_operator.metrics import Metrics
from model_operator.runtime.health import Health
from model_operator.runtime.web import application
from model_operator.settings import Settings

Body = dict[str, Any]

pytestmark = pytest.mark.api
"""helm may have to be fetched."""


def rendered(repository: Path, *values: str) -> list[Body]:
    command = [str(tools.helm()), "template", "cv-factory", str(repository / "charts/cv-factory")]
    done = subprocess.run(
        [
            *command,
            "--namespace",
            "system",
            *(word for value in values for word in ("--set", value)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def of_kind(bodies: list[Body], kind: str) -> list[Body]:
    return [body for body in bodies if body["kind"] == kind]


def operators_roles(bodies: list[Body]) -> list[Body]:
    """Its ClusterRoles, without those that are added to the roles of people."""
    found = of_kind(bodies, "ClusterRole")
    return [role for role in found if "aggregate-to" not in str(role["metadata"]["labels"])]


def container(bodies: list[Body]) -> Body:
    (deployment,) = of_kind(bodies, "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    body: Body = found
    return body


POD = {"metadata.name": "operator-7d9f-x2x4z", "metadata.namespace": "system"}
"""What the downward API says."""


def settings_of(bodies: list[Body]) -> Settings:
    def value(variable: Body) -> str:
        source = variable.get("valueFrom")
        return POD[source["fieldRef"]["fieldPath"]] if source else variable["value"]

    return Settings.from_environment({e["name"]: value(e) for e in container(bodies)["env"]})


def roles_of(bodies: list[Body]) -> dict[str, Body]:
    """Its Roles by namespace, without that of the Lease."""
    return {
        role["metadata"]["namespace"]: role
        for role in of_kind(bodies, "Role")
        if "leases" not in str(role["rules"])
    }


def test_the_role_has_no_wildcard_and_no_secrets(repository: Path):
    (role,) = operators_roles(rendered(repository))
    for rule in role["rules"]:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"*", "secrets"} & words, rule
        assert not any("*" in word for word in words), rule


def test_by_default_the_whole_cluster_is_served(repository: Path):
    bodies = rendered(repository)
    assert roles_of(bodies) == {}
    assert settings_of(bodies).namespaces == ()


def test_named_namespaces_have_the_same_rules_each_and_the_cluster_has_none(repository: Path):
    (whole,) = operators_roles(rendered(repository))
    bodies = rendered(repository, "watchNamespaces={audio,vision}")
    assert operators_roles(bodies) + of_kind(bodies, "ClusterRoleBinding") == []
    roles = roles_of(bodies)
    assert {name: role["rules"] for name, role in roles.items()} == {
        "audio": whole["rules"],
        "vision": whole["rules"],
    }
    (account,) = of_kind(bodies, "ServiceAccount")
    bindings = [one for one in of_kind(bodies, "RoleBinding") if "lease" not in str(one["roleRef"])]
    for binding in bindings:
        namespace = binding["metadata"]["namespace"]
        assert binding["roleRef"]["name"] == roles[namespace]["metadata"]["name"]
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert subject["namespace"] == "system"
    assert len(bindings) == 2
    assert settings_of(bodies).namespaces == ("audio", "vision")


def test_the_probes_ask_what_the_process_serves_on_its_port(repository: Path):
    bodies = rendered(repository)
    found = container(bodies)
    app = application(Health([]), Metrics("1").registry)
    served = {resource.canonical for resource in app.router.resources()}
    assert found["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert found["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"/healthz", "/readyz", "/metrics"} <= served
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}
    for probe in ("livenessProbe", "readinessProbe"):
        assert ports[found[probe]["httpGet"]["port"]] == settings_of(bodies).health_port


def test_pods_are_read_by_address_and_the_api_servers_proxy_is_permitted_only_when_it_is_used(
    repository: Path,
):
    def proxy_rules(bodies: list[Body]) -> list[Body]:
        (role,) = operators_roles(bodies)
        return [rule for rule in role["rules"] if "pods/proxy" in rule["resources"]]

    usual, proxied = rendered(repository), rendered(repository, "podAccess=proxy")
    assert settings_of(usual).pod_access == "direct"
    assert settings_of(proxied).pod_access == "proxy"
    assert proxy_rules(usual) == []
    assert [rule["verbs"] for rule in proxy_rules(proxied)] == [["get"]]


def test_how_much_is_done_at_once_is_the_charts_value(repository: Path):
    usual = settings_of(rendered(repository))
    assert (usual.workers, usual.max_rollouts) == (8, 20)
    chosen = settings_of(rendered(repository, "workers=32", "maxRollouts=0"))
    assert (chosen.workers, chosen.max_rollouts) == (32, 0)


def test_what_models_may_come_from_is_the_charts_value(repository: Path):
    usual = settings_of(rendered(repository))
    assert usual.allowed_schemes == ("models", "runs", "pvc")
    assert usual.allowed_hosts == ()
    values = ("sources.allowedSchemes={https,s3}", "sources.allowedHosts={*.example.com,mlflow.ml}")
    chosen = settings_of(rendered(repository, *values))
    assert chosen.allowed_schemes == ("https", "s3")
    assert chosen.allowed_hosts == ("*.example.com", "mlflow.ml")


def test_rollouts_are_tracked_in_the_registry_under_the_clusters_name_unless_that_is_switched_off(
    repository: Path,
):
    address = "registry.trackingUri=http://mlflow:5000"
    usual = settings_of(rendered(repository, address))
    assert usual.tracks_rollouts
    assert (usual.cluster_name, usual.rollouts_experiment) == ("default", "cv-factory rollouts")
    named = ("registry.clusterName=prod-1", "registry.rolloutsExperiment=releases")
    chosen = settings_of(rendered(repository, address, *named))
    assert (chosen.cluster_name, chosen.rollouts_experiment) == ("prod-1", "releases")
    off = settings_of(rendered(repository, address, "registry.trackRollouts=false"))
    assert not off.tracks_rollouts


def test_the_prometheus_for_queries_is_the_charts_value_and_none_without_it(repository: Path):
    named = rendered(repository, "prometheus.url=http://prometheus.monitoring:9090")
    assert settings_of(named).prometheus_url == "http://prometheus.monitoring:9090"
    assert settings_of(rendered(repository)).prometheus_url is None


def test_two_pods_agree_by_a_lease_in_their_own_namespace_who_leads(repository: Path):
    bodies = rendered(repository)
    (deployment,) = of_kind(bodies, "Deployment")
    settings = settings_of(bodies)
    assert deployment["spec"]["replicas"] == 2
    assert settings.lease_seconds == 15
    assert settings.lease_namespace == "system"
    assert settings.pod_name == "operator-7d9f-x2x4z"
    assert settings_of(rendered(repository, "leaseSeconds=60")).lease_seconds == 60


@pytest.mark.parametrize("values", [(), ("watchNamespaces={vision}",)])
def test_the_lease_that_is_named_is_the_only_one_that_may_be_changed(
    repository: Path, values: tuple[str, ...]
):
    bodies = rendered(repository, *values)
    (role,) = [role for role in of_kind(bodies, "Role") if "leases" in str(role["rules"])]
    (binding,) = [one for one in of_kind(bodies, "RoleBinding") if "lease" in str(one["roleRef"])]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "system"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    named, made = role["rules"]
    assert named["resourceNames"] == [settings_of(bodies).lease_name]
    assert (named["verbs"], made["verbs"]) == (["get", "patch"], ["create"])
    others = [one for one in of_kind(bodies, "ClusterRole") if "leases" in str(one["rules"])]
    assert others == []


def test_an_upgrade_starts_a_new_pod_before_an_old_one_ends_and_a_drain_takes_one_at_a_time(
    repository: Path,
):
    bodies = rendered(repository)
    (deployment,) = of_kind(bodies, "Deployment")
    (budget,) = of_kind(bodies, "PodDisruptionBudget")
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert budget["spec"] == {"maxUnavailable": 1, "selector": deployment["spec"]["selector"]}
    assert of_kind(rendered(repository, "replicas=1"), "PodDisruptionBudget") == []


def test_the_pods_are_spread_over_the_nodes_where_there_are_several(repository: Path):
    (deployment,) = of_kind(rendered(repository), "Deployment")
    pod = deployment["spec"]["template"]
    spread = pod["spec"]["affinity"]["podAntiAffinity"]
    (preferred,) = spread["preferredDuringSchedulingIgnoredDuringExecution"]
    term = preferred["podAffinityTerm"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_lease_that_is_too_short_is_refused_before_anything_is_installed(
    repository: Path, seconds: int
):
    command = [str(tools.helm()), "template", "x", str(repository / "charts/cv-factory")]
    done = subprocess.run(
        [*command, "--set", f"leaseSeconds={seconds}"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "leaseSeconds must be at least 3" in done.stderr
