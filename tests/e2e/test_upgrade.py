"""An upgrade of the operator rolls no model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.cluster.choice import choose
from dev.images import engines
from dev.images.__main__ import IMAGES
from dev.images.labels import version
from dev.stage import install_operator
from tests.e2e.model import Model

pytestmark = pytest.mark.e2e

TAG = "another"
# The operator's next release, as far as a test can make one: another image whose template gives
# every pod one variable more.
DOCKERFILE = f"""
FROM {IMAGES["operator"].repository}:{version()}
USER 0
RUN sed -i 's/"REVISION": revision,/"REVISION": revision, "NEXT_RELEASE": "yes",/' \\
    /opt/venv/lib/python3*/site-packages/model_operator/resources.py \\
 && grep -q NEXT_RELEASE /opt/venv/lib/python3*/site-packages/model_operator/resources.py
USER 65532:65532
"""


@pytest.fixture
def next_release(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    reference = f"{IMAGES['operator'].repository}:{TAG}"
    engine = engines.choose()
    engine.build(tmp_path / "Dockerfile", tmp_path, reference, [])
    archive = tmp_path / "image.tar"
    engine.save(reference, archive)
    choose().load_image(reference, engine.image_id(reference), archive)
    return TAG


def test_another_image_with_another_template_and_other_defaults_rolls_nothing(
    model: Model, next_release: str
):
    model.go_live()
    before = _workloads(model)
    pods = model.serving_pods()
    try:
        install_operator(
            model.kube,
            model.stage.tracking_uri,
            **{"image.tag": next_release, "serverImage.tag": "there-is-no-such-tag"},
        )
        # The new operator is at work: it has carried out a change of replicas.
        model.apply(model.registry.versions[0], replicas=3)
        model.wait_ready()
        assert pods < model.serving_pods()
        assert _workloads(model) == before
        own_image = f"{IMAGES['server'].repository}:{version()}"
        model.apply(model.registry.versions[1], server={"image": own_image})
        model.wait_ready()
        rolled = _workloads(model)
        assert any("NEXT_RELEASE" in str(template) for template in rolled.values())
        pods = model.serving_pods()
    finally:
        install_operator(model.kube, model.stage.tracking_uri)
    # And so is the old one again, which leaves what the new one has made as it is.
    model.apply(model.registry.versions[1], server={"image": own_image}, replicas=3)
    model.wait_ready()
    assert pods < model.serving_pods()
    assert _workloads(model) == rolled


def _workloads(model: Model) -> dict[str, object]:
    """The pod template of every Deployment, by name."""
    deployments = model.kube.get("deployments", "-n", model.namespace)["items"]
    return {d["metadata"]["name"]: d["spec"]["template"] for d in deployments}
