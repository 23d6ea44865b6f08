"""What goes wrong is said in one sentence, and what served before keeps serving."""

from __future__ import annotations

import pytest

from dev.kube import wait_until
from model_operator import reasons
from tests.e2e.model import Model

pytestmark = pytest.mark.e2e


def _is_told(model: Model, words: str) -> None:
    scope = ("-n", model.namespace)
    assert words in model.kube.kubectl("get", "md", *scope)
    assert words in model.kube.kubectl("describe", "md", model.name, *scope)


def test_bytes_that_do_not_match_their_digest_never_become_ready(model: Model):
    model.go_live()
    wrong = "0" * 64
    with model.stage.mlflow() as url:
        version = _register_with_wrong_digest(url, wrong)
    model.apply(version)
    message = model.wait_for(reasons.STALLED, "True", reasons.MODEL_REFUSED)
    assert wrong in message
    _is_told(model, wrong)
    assert model.stable_version() == model.registry.versions[0]
    assert model.serves()


def _register_with_wrong_digest(url: str, digest: str) -> str:
    from mlflow import MlflowClient  # noqa: PLC0415 - slow to import, and only needed here

    client = MlflowClient(url)
    good = client.get_model_version("e2e", "1")
    bad = client.create_model_version("e2e", good.source, good.run_id, tags={"sha256": digest})
    return str(bad.version)


def test_an_image_that_cannot_be_pulled_is_told_and_the_old_version_serves(model: Model):
    model.go_live()
    image = "registry.invalid/model-server:none"
    model.apply(model.registry.versions[0], server={"image": image}, progressDeadlineSeconds=15)
    message = model.wait_for(reasons.STALLED, "True", reasons.IMAGE_PULL_FAILED)
    assert image in message
    _is_told(model, image)
    assert model.serves()


def test_a_uri_that_does_not_exist_is_told_and_the_old_version_serves(model: Model):
    model.go_live()
    model.apply("999")
    model.wait_for(reasons.STALLED, "True", reasons.MODEL_NOT_FOUND)
    _is_told(model, "models:/e2e/999 does not exist")
    assert model.serves()


def test_a_registry_that_cannot_be_reached_is_told_and_tried_again(model: Model):
    model.go_live()
    # MLflow's pod keeps its models: only the way to it is closed.
    service = ("-n", "mlflow", "patch", "service", "mlflow", "-p")
    selector = model.kube.get("service", "mlflow", "-n", "mlflow")["spec"]["selector"]
    label, value = next(iter(selector.items()))
    model.kube.kubectl(*service, f'{{"spec":{{"selector":{{"{label}":"nobody"}}}}}}')
    try:
        model.apply(model.registry.versions[1])
        model.wait_for(reasons.MODEL_RESOLVED, "False", reasons.REGISTRY_UNREACHABLE)
        _is_told(model, "cannot be reached")
        assert model.serves()
    finally:
        model.kube.kubectl(*service, f'{{"spec":{{"selector":{{"{label}":"{value}"}}}}}}')
    model.wait_ready()
    assert model.stable_version() == model.registry.versions[1]


def test_a_bad_first_version_recovers_when_it_is_corrected(model: Model):
    model.apply("999")
    model.wait_for(reasons.STALLED, "True", reasons.MODEL_NOT_FOUND)
    model.apply(model.registry.versions[0])
    model.wait_ready()
    wait_until(model.serves, "it serves", 30)
