"""The chart's life under load: upgraded, tested, rolled back, removed, and installed again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev import deploy
from dev.kube import wait_until
from dev.stage import RELEASE, SYSTEM_NAMESPACE, Stage, install_operator
from tests.e2e import test_upgrade
from tests.e2e.model import Model

pytestmark = pytest.mark.e2e

next_release = test_upgrade.next_release
MOST_REQUESTS = 60_000
"""More than are sent until the test ends the load itself."""
RATE = 30


def test_no_request_is_lost_from_the_upgrade_of_the_chart_to_its_removal(
    model: Model, next_release: str
):
    helm = model.kube.helm
    model.go_live()
    load = model.load(requests=MOST_REQUESTS, rate=RATE)
    try:
        install_operator(model.kube, model.stage.tracking_uri, **{"image.tag": next_release})
        told = helm("test", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--timeout", "3m", "--logs")
        assert f"leads; ModelDeployments: {len(_resources(model))}; rights: " in told
        model.apply(model.registry.versions[1])
        model.wait_ready()
        helm("rollback", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait", "--timeout", "5m")
        model.apply(model.registry.versions[0])
        model.wait_ready()
        serving = model.serving_pods()
        assert serving
        helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")
        wait_until(lambda: not _operators(model), "no operator runs any more", 60)
        assert model.body()["status"]["phase"] == "Healthy", "the resource and its kind are kept"
        assert model.serving_pods() == serving
    finally:
        install_operator(model.kube, model.stage.tracking_uri)
    model.wait_ready()
    assert model.serving_pods() == serving, "nothing was rolled"
    report = load.stop(60)
    assert report["requests"] > 100
    assert report["failed"] == 0, report


def test_a_pipeline_shows_the_release_deploys_it_and_sees_that_it_works(
    stage: Stage, next_release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps({"registry": {"trackingUri": stage.tracking_uri}}))
    monkeypatch.setenv("DEPLOY_VALUES", str(values))
    monkeypatch.setenv("KUBECONFIG", str(stage.kube.kubeconfig))
    try:
        assert f"/operator:{next_release}" in deploy.diff(next_release)
        deploy.apply(next_release)
        assert "leads; ModelDeployments: " in deploy.status(next_release)
        assert deploy.diff(next_release) == ""
        assert "successfully rolled out" in deploy.status(next_release, gitops=True)
    finally:
        install_operator(stage.kube, stage.tracking_uri)


def _resources(model: Model) -> list[object]:
    found: list[object] = model.kube.get("modeldeployments", "--all-namespaces")["items"]
    return found


def _operators(model: Model) -> list[object]:
    label = "app.kubernetes.io/component=operator"
    found: list[object] = model.kube.get("pods", "-n", SYSTEM_NAMESPACE, "-l", label)["items"]
    return found
