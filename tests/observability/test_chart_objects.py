"""What the chart installs for Prometheus and Grafana, beside what the operator really makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.dashboards import pages
from model_operator import naming
from model_operator.traffic import router_objects
from tests.operator.test_chart import container, of_kind, rendered

pytestmark = pytest.mark.api
"""helm may have to be fetched."""

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(
    f"metrics.{what}.enabled=true" for what in ("serviceMonitor", "prometheusRule", "dashboards")
)


@pytest.fixture(scope="module")
def bodies() -> list[dict[str, Any]]:
    return rendered(ROOT, *ALL)


def meta_label(name: str) -> str:
    """What Prometheus' discovery calls a pod's label."""
    return f"__meta_kubernetes_pod_label_{name.translate(str.maketrans('./-', '___'))}"


def test_nothing_of_it_is_installed_unless_it_is_asked_for():
    kinds = {body["kind"] for body in rendered(ROOT)}
    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Service", "ConfigMap"}


def test_the_operator_is_scraped_by_its_ports_name_under_the_job_that_the_rules_know(bodies):
    (monitor,) = of_kind(bodies, "ServiceMonitor")
    (service,) = of_kind(bodies, "Service")
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {port["name"] for port in container(bodies)["ports"]}
    (deployment,) = of_kind(bodies, "Deployment")
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    named, released = endpoint["relabelings"]
    assert named == {"targetLabel": "job", "replacement": "cv-factory-operator"}
    assert released["targetLabel"] == "release"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/instance"] == "cv-factory"
    assert released["sourceLabels"] == [meta_label("app.kubernetes.io/instance")]


@pytest.mark.parametrize(
    ("job", "labels"),
    [
        ("models", naming.revision_labels("m", "9c1b04aa57")),
        ("routers", router_objects.labels("m")),
    ],
)
def test_pods_of_models_and_routers_are_scraped_by_the_labels_that_they_carry(bodies, job, labels):
    (monitor,) = [m for m in of_kind(bodies, "PodMonitor") if m["metadata"]["name"].endswith(job)]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    running, named, labelled = endpoint["relabelings"]
    assert running == {
        "sourceLabels": ["__meta_kubernetes_pod_phase"],
        "regex": "Running",
        "action": "keep",
    }
    assert named == {"targetLabel": "job", "replacement": f"cv-factory-{job}"}
    assert labelled["sourceLabels"] == [meta_label(naming.OWNER_LABEL)]


def test_only_served_namespaces_are_scraped():
    bodies = rendered(ROOT, *ALL, "watchNamespaces={vision}")
    for monitor in of_kind(bodies, "PodMonitor"):
        assert monitor["spec"]["namespaceSelector"] == {"matchNames": ["vision"]}


def test_the_rules_reach_the_cluster_as_they_are_in_the_file(bodies):
    (rule,) = of_kind(bodies, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((ROOT / "charts/cv-factory/files/rules.yaml").read_text())


def test_the_scrape_configuration_keeps_the_same_pods_under_the_same_jobs(bodies):
    scrapes = yaml.safe_load((ROOT / "observability/prometheus.yml").read_text())["scrape_configs"]
    kept = {job["job_name"]: job["relabel_configs"][0]["regex"] for job in scrapes}
    monitors = {
        endpoint["relabelings"][1]["replacement"]: ";".join(
            [*monitor["spec"]["selector"]["matchLabels"].values(), endpoint["port"]]
        )
        for monitor in of_kind(bodies, "PodMonitor")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
    }
    assert kept == monitors | {"cv-factory-operator": "cv-factory;operator;http"}
    added = {
        job["job_name"]: [one["target_label"] for one in job["relabel_configs"][2:]]
        for job in scrapes
    }
    model, operator = ["namespace", "pod", "model_deployment"], ["namespace", "pod", "release"]
    assert added == dict.fromkeys(monitors, model) | {"cv-factory-operator": operator}


def test_dashboards_reach_grafanas_sidecar_as_they_were_generated(bodies):
    maps = of_kind(bodies, "ConfigMap")
    assert {body["metadata"]["labels"]["grafana_dashboard"] for body in maps} == {"1"}
    found = {name: text for body in maps for name, text in body["data"].items()}
    folder = ROOT / pages.FOLDER
    assert found == {f"cv-factory-{path.name}": path.read_text() for path in folder.glob("*.json")}
    assert len(found) == 3
