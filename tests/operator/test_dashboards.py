"""The dashboards' queries, asked of a real Prometheus that scraped the real processes.

A stable model server behind a router, its shadow, and an operator with an API server; Prometheus by
observability/prometheus.yml and the chart's rules. What queries of yesterday need is written into
its storage beforehand, from what the server itself shows.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dev.cluster import debian
from dev.cluster.controlplane import ControlPlane
from dev.dashboards import pages
from model_operator import naming
from model_operator.traffic import router_objects
from model_server.mirror import wire
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.prometheus_process import program, prometheus_process
from tests.operator.test_main import ask, started
from tests.operator.test_main import wait_until as operators_wait
from tests.router.router_process import Router
from tests.server.artifacts import CLASSES, encode, make_artifact, make_picture
from tests.server.processes import ServerProcess, wait_until

ROOT = Path(__file__).resolve().parents[2]
STABLE, SHADOW = "9c1b04aa57", "2a5c629232"
COMING = re.compile(r"model_prediction_confidence|model_input_|prediction_confidence:|input_brig")
"""Metrics of pictures: a server that has none of them yet draws no such lines."""

pytestmark = pytest.mark.api


def queries() -> Iterator[tuple[str, str]]:
    """Each query of each dashboard, from the committed JSON, as Grafana would send it."""
    for path in sorted((ROOT / pages.FOLDER).glob("*.json")):
        page = json.loads(path.read_text())
        asked = [(event["name"], event["expr"]) for event in page["annotations"]["list"]]
        for panel in page["panels"]:
            asked += [(panel["title"], target["expr"]) for target in panel["targets"]]
        for title, query in asked:
            chosen = re.sub(r"\$(namespace|model)\b", ".*", query)
            yield f"{path.stem}: {title}", chosen.replace("$__rate_interval", "1m")


def meta_labels(labels: dict[str, str], pod: str, port: str) -> dict[str, str]:
    """What Prometheus' discovery says of a pod's port."""
    found = {
        "__meta_kubernetes_namespace": "vision",
        "__meta_kubernetes_pod_name": pod,
        "__meta_kubernetes_pod_container_port_name": port,
        "__meta_kubernetes_pod_phase": "Running",
    }
    for name, value in labels.items():
        found[f"__meta_kubernetes_pod_label_{re.sub(r'[./-]', '_', name)}"] = value
    return found


def configuration(targets: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The repository's own, with these addresses and labels in place of the cluster's discovery."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "observability/prometheus.yml").read_text())
    found["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    found["global"]["evaluation_interval"] = "1s"
    found["rule_files"] = [str(ROOT / "charts/cv-factory/files/rules.yaml")]
    for job in found["scrape_configs"]:
        del job["kubernetes_sd_configs"]
        job["static_configs"] = [
            {"targets": [address], "labels": labels} for address, labels in targets.items()
        ]
    return found


def remember_yesterday(exposition: str, folder: Path) -> None:
    """Writes 26 hours into Prometheus' storage in which the counters rose to what they show now."""
    labels = (
        'job="cv-factory-models",namespace="vision",model_deployment="m",pod="m-0",instance="x"'
    )
    names = "prediction_class_total|model_prediction_confidence_.*|model_input_brightness_.*"
    samples = re.findall(rf"(?m)^({names})\{{(.*)\}} (\S+)$", exposition)
    now, lines = int(time.time()), []
    for name, own, value in samples:
        rises = ((now - ago, 1 - ago / 100_000) for ago in range(26 * 3600, 3600, -600))
        lines += [f"{name}{{{own},{labels}}} {float(value) * part} {at}" for at, part in rises]
    text = folder / "yesterday"
    text.write_text("\n".join([*lines, "# EOF", ""]))
    command = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    subprocess.run([*command, str(text), str(folder / "data")], check=True, timeout=60)


MIRRORED = {wire.REVISION_HEADER: STABLE, wire.PREDICTIONS_HEADER: wire.encode(CLASSES[:1])}


def predict(url: str, times: int, **more: str) -> None:
    """Predictions, and one request that is none."""
    picture = encode(make_picture())
    headers = {"Content-Type": "image/jpeg", **more}
    with httpx.Client(base_url=url) as client:
        for _ in range(times):
            assert client.post("/predict", content=picture, headers=headers).status_code == 200
        assert client.post("/predict", content=b"nothing").status_code >= 400


@contextlib.contextmanager
def serving(folder: Path, revision: str) -> Iterator[ServerProcess]:
    settings = {"model_version": "2", "revision": revision, "inference_threads": 1}
    server = ServerProcess(make_artifact(folder / revision), folder / f"{revision}-run", settings)
    try:
        # It imports torch while an API server starts beside it: slower than alone.
        wait_until(lambda: "ready" in [e["event"] for e in server.events], "the server", 240)
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def routing(folder: Path, server: ServerProcess) -> Iterator[Router]:
    debian.install({"haproxy": "haproxy"})
    folder.mkdir()
    router = Router(folder)
    backend = {STABLE: {"address": f"127.0.0.1:{server.port}"}}
    route = {"stable": STABLE, "canary": None, "weight": 0, "revisions": backend}
    router.write(json.dumps(route))
    router.start()
    try:
        wait_until(lambda: ask(router.agent_port, "/ready") != "", "the router")
        yield router
    finally:
        router.kill()


@pytest.fixture(scope="module")
def prometheus(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dashboards")
    kubectl("create", "namespace", "vision")
    body = make_model_deployment().build()
    body["metadata"] = {"name": "m", "namespace": "vision"}
    kubectl("apply", "--server-side", "-f", "-", stdin=body)
    operator = {"app.kubernetes.io/name": "cv-factory", "app.kubernetes.io/component": "operator"}
    with (
        started(control_plane, folder / "operator.log") as (_, operator_port),
        serving(folder, STABLE) as stable,
        serving(folder, SHADOW) as shadow,
        routing(folder / "router", stable) as router,
    ):
        predict(router.url, 20)
        remember_yesterday(httpx.get(f"{stable.url}/metrics").text, folder)
        operators_wait(lambda: ask(operator_port, "/readyz") == "ok\n", "the operator")
        pods = {
            f"127.0.0.1:{server.port}": meta_labels(
                naming.revision_labels("m", revision), f"m-{revision}", "http"
            )
            for revision, server in {STABLE: stable, SHADOW: shadow}.items()
        } | {
            f"127.0.0.1:{router.agent_port}": meta_labels(
                router_objects.labels("m"), "m-router-0", "agent"
            ),
            f"127.0.0.1:{operator_port}": meta_labels(operator, "operator-0", "http"),
        }
        with prometheus_process(folder, configuration=configuration(pods)) as url:
            wait_until(lambda: len(series(url, "up == 1")) == 4, "every target was scraped")
            predict(router.url, 20)
            predict(shadow.url, 20, **MIRRORED)
            kubectl("patch", "md", "m", "-n", "vision", "--type=merge", "-p", REPLICAS)
            yield url
    kubectl("delete", "namespace", "vision", "--wait=false")


REPLICAS = '{"spec": {"replicas": 1}}'


def series(url: str, query: str) -> list[Any]:
    """What Prometheus answers; it raises where the query is none."""
    text = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{url}/api/v1/query?{text}", timeout=30) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


def test_every_query_of_every_dashboard_returns_data(prometheus: str):
    known = {one["metric"]["__name__"] for one in series(prometheus, '{__name__=~"model_.+"}')}
    has_pictures = "model_input_pixels_bucket" in known
    wanted = [(title, q) for title, q in queries() if has_pictures or not COMING.search(q)]
    assert len(wanted) > 45

    def all_answered() -> bool:
        wanted[:] = [(title, query) for title, query in wanted if not series(prometheus, query)]
        return not wanted

    with contextlib.suppress(AssertionError):
        wait_until(all_answered, "every query has had a result", seconds=30)
    assert wanted == []


def test_each_kind_of_process_is_kept_by_its_own_job_alone(prometheus: str):
    found = {
        (one["metric"]["job"], one["metric"]["pod"], one["metric"].get("model_deployment"))
        for one in series(prometheus, "up")
    }
    assert found == {
        ("cv-factory-models", f"m-{STABLE}", "m"),
        ("cv-factory-models", f"m-{SHADOW}", "m"),
        ("cv-factory-routers", "m-router-0", "m"),
        ("cv-factory-operator", "operator-0", None),
    }
