"""Where the campaign and the bad canaries play: a cluster, the operator, two trained models."""

from __future__ import annotations

from pathlib import Path

from dev.cluster.choice import choose
from dev.kube import Kube
from dev.progress import step
from dev.stage import Stage, install_mlflow, install_operator
from dev.test import prepare_e2e
from tests.e2e.model import Registry, train_and_register


def prepare(folder: Path, *, as_is: bool) -> Registry:
    """A cluster with this checkout's images, the operator and two registered models."""
    if not as_is:
        prepare_e2e()
    kube = Kube(choose().kubeconfig)
    with step("installing MLflow and the operator", 30):
        stage = Stage(kube, install_mlflow(kube))
        if not as_is:
            install_operator(kube, stage.tracking_uri)
    with step("training and registering two models", 60):
        return train_and_register(stage, folder)
