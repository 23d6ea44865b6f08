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


def settings_of(bodies: list[Body]) -> Settings:
    return Settings.from_environment({e["name"]: e["value"] for e in container(bodies)["env"]})


def test_the_role_has_no_wildcard_and_no_secrets(repository: Path):
    (role,) = operators_roles(rendered(repository))
    for rule in role["rules"]:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {"*", "secrets"} & words, rule
        assert not any("*" in word for word in words), rule


def test_by_default_the_whole_cluster_is_served(repository: Path):
    bodies = rendered(repository)
    assert of_kind(bodies, "Role") == []
    assert settings_of(bodies).namespaces == ()


def test_named_namespaces_have_the_same_rules_each_and_the_cluster_has_none(repository: Path):
    (whole,) = operators_roles(rendered(repository))
    bodies = rendered(repository, "watchNamespaces={audio,vision}")
    assert operators_roles(bodies) + of_kind(bodies, "ClusterRoleBinding") == []
    roles = {role["metadata"]["namespace"]: role for role in of_kind(bodies, "Role")}
    assert {name: role["rules"] for name, role in roles.items()} == {
        "audio": whole["rules"],
        "vision": whole["rules"],
    }
    (account,) = of_kind(bodies, "ServiceAccount")
    for binding in of_kind(bodies, "RoleBinding"):
        namespace = binding["metadata"]["namespace"]
        assert binding["roleRef"]["name"] == roles[namespace]["metadata"]["name"]
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert subject["namespace"] == "system"
    assert len(of_kind(bodies, "RoleBinding")) == 2
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


def test_the_prometheus_for_queries_is_the_charts_value_and_none_without_it(repository: Path):
    named = rendered(repository, "prometheus.url=http://prometheus.monitoring:9090")
    assert settings_of(named).prometheus_url == "http://prometheus.monitoring:9090"
    assert settings_of(rendered(repository)).prometheus_url is None
