"""The chart rendered by helm, each set of values once."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

from dev import tools

Body = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/cv-factory"
NEWEST = "1.37.0"
"""Of the API servers that the objects are rendered for, unless a test names another."""

OPERATOR = {"matchLabels": {"app.kubernetes.io/component": "operator"}}
TRUST = {
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/trust/ca.crt"}],
    "extraVolumes": [{"name": "trust", "configMap": {"name": "company-ca"}}],
    "extraVolumeMounts": [{"name": "trust", "mountPath": "/etc/trust", "readOnly": True}],
}
ZONES = {
    "maxSkew": 1,
    "topologyKey": "topology.kubernetes.io/zone",
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": OPERATOR,
}
NODES_APART = {"labelSelector": OPERATOR, "topologyKey": "kubernetes.io/hostname"}
PLACES = {
    "affinity": {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [NODES_APART]}
    },
    "topologySpreadConstraints": [ZONES],
}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
FLAGS: dict[str, Body] = {
    "nothing": {},
    "one pod": {"replicas": 1},
    "namespaces": {"watchNamespaces": ["vision", "audio"]},
    "no roles for people": {"aggregateRoles": False},
    "no kind": {"crd": {"install": False}},
    "proxied pods": {"podAccess": "proxy"},
    "a registry": {
        "registry": {"trackingUri": "https://mlflow.example.com/x", "credentialsSecret": "mlflow"}
    },
    "an authority of one's own": TRUST,
    "places": PLACES,
    "network policy": {"networkPolicy": {"enabled": True}},
    "service monitor": {"metrics": {"serviceMonitor": {"enabled": True}}},
    "rules": {"metrics": {"prometheusRule": {"enabled": True}}},
    "dashboards": {"metrics": {"dashboards": {"enabled": True}}},
    "everything": {
        **TRUST,
        **PLACES,
        "image": {"tag": "0.1.0@sha256:" + "a" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "registry": {"trackingUri": "http://mlflow.mlflow.svc:5000", "credentialsSecret": "mlflow"},
        "sources": {"allowedSchemes": ["models", "s3"], "allowedHosts": ["*.example.com"]},
        "prometheus": {"url": "http://prometheus.monitoring.svc:9090"},
        "podAccess": "proxy",
        "watchNamespaces": ["vision"],
        "workers": 16,
        "podAnnotations": {"team": "vision"},
        "podLabels": {"team": "vision"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control", "operator": "Exists"}],
        "priorityClassName": "system-cluster-critical",
        "serviceAccount": {"annotations": {"example.com/role": "operator"}},
        "networkPolicy": {
            "enabled": True,
            "apiServerPorts": [16443],
            "metricsFrom": [PEER],
            "extraEgress": [{"ports": [{"port": 5000, "protocol": "TCP"}]}],
        },
        "metrics": {
            "labels": {"release": "kube-prometheus-stack"},
            "serviceMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
    },
}
"""Values by what they are for: every flag of the chart once, and all that can go together."""


def template(
    values: Body, version: str = NEWEST, chart: Path = CHART
) -> subprocess.CompletedProcess[str]:
    """What `helm template` answers."""
    command = [str(tools.helm()), "template", "cv-factory", str(chart), "--namespace", "system"]
    return subprocess.run(
        [*command, "--kube-version", version, "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lint(flag: str) -> subprocess.CompletedProcess[str]:
    """What `helm lint` answers to one of the `FLAGS`."""
    return subprocess.run(
        [str(tools.helm()), "lint", "--strict", str(CHART), "--values", "-"],
        input=yaml.safe_dump(FLAGS[flag]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@functools.cache
def rendered(flag: str, version: str = NEWEST) -> tuple[Body, ...]:
    """The objects that the chart makes of one of the `FLAGS`."""
    done = template(FLAGS[flag], version)
    assert done.returncode == 0, done.stderr
    return tuple(body for body in yaml.safe_load_all(done.stdout) if body)


def of_kind(bodies: tuple[Body, ...], kind: str) -> list[Body]:
    """Those of one kind."""
    return [body for body in bodies if body["kind"] == kind]


def pods_of(bodies: tuple[Body, ...]) -> dict[str, Body]:
    """The specs of all pods that the objects lead to, by the object's name."""
    found = {}
    for body in bodies:
        if body["kind"] == "Pod":
            found[body["metadata"]["name"]] = body["spec"]
        elif "template" in body.get("spec", {}):
            found[body["metadata"]["name"]] = body["spec"]["template"]["spec"]
    return found
