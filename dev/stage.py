"""What stands in the cluster before a model is deployed: MLflow and the operator.

The demo and the end-to-end tests put it there and use it through the functions here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.images import engines
from dev.images.__main__ import IMAGES
from dev.images.errors import ImageError
from dev.images.labels import version
from dev.kube import CommandFailed, Kube, wait_until

ROOT = Path(__file__).resolve().parents[1]
SYSTEM_NAMESPACE = "cv-factory"
RELEASE = "cv-factory"
OPERATOR = "cv-factory-operator"
MLFLOW_NAMESPACE = "mlflow"
MLFLOW_PORT = 5000
READY_SECONDS = 180


@dataclass(frozen=True)
class Stage:
    """A cluster with MLflow and the operator in it."""

    kube: Kube
    tracking_uri: str
    """MLflow as pods reach it: by address, since the local cluster has no DNS."""

    @contextmanager
    def mlflow(self) -> Iterator[str]:
        """MLflow's URL as this machine reaches it."""
        with self.kube.port_forward(MLFLOW_NAMESPACE, "service/mlflow", MLFLOW_PORT) as url:
            yield url

    def endpoint(self, namespace: str, name: str) -> str:
        """HOST:PORT of a ModelDeployment's Service inside the cluster."""
        service = self.kube.get("service", name, "-n", namespace)
        return f"{service['spec']['clusterIP']}:80"


def install_mlflow(kube: Kube) -> str:
    """Puts the demo's MLflow into the cluster; returns its address there."""
    manifest = (ROOT / "dev/mlflow/mlflow.yaml").read_text()
    kube.apply(manifest.replace("cv-factory/mlflow:0.1.0", f"cv-factory/mlflow:{version()}"))
    kube.kubectl(
        *("-n", MLFLOW_NAMESPACE, "rollout", "status", "deployment/mlflow"),
        f"--timeout={READY_SECONDS}s",
    )
    service = kube.get("service", "mlflow", "-n", MLFLOW_NAMESPACE)
    return f"http://{service['spec']['clusterIP']}:{MLFLOW_PORT}"


def install_operator(kube: Kube, tracking_uri: str, **values: str) -> None:
    """Installs or upgrades the operator by its chart, and waits until it runs."""
    settings = {
        "image.tag": version(),
        "serverImage.tag": version(),
        "routerImage.tag": version(),
        "registry.trackingUri": tracking_uri,
        # A new build has the same tag: this makes the Deployment roll.
        "podAnnotations.image": image_id(f"{IMAGES['operator'].repository}:{version()}"),
        **values,
    }
    kube.helm(
        *("upgrade", "--install", RELEASE, str(ROOT / "charts/cv-factory")),
        *("--namespace", SYSTEM_NAMESPACE, "--create-namespace"),
        *(f"--set-string={key}={value}" for key, value in settings.items()),
    )
    kube.kubectl(
        *("-n", SYSTEM_NAMESPACE, "rollout", "status", f"deployment/{OPERATOR}"),
        f"--timeout={READY_SECONDS}s",
    )


def leader(kube: Kube) -> str:
    """The identity of the operator's process that leads; empty while none does.

    It is the pod's name and a number: `leader(kube).rpartition("_")[0]` is the pod.
    """
    lease = kube.get("lease", OPERATOR, "-n", SYSTEM_NAMESPACE)
    return str(lease["spec"].get("holderIdentity") or "")


def image_id(reference: str) -> str:
    """What tells two builds of an image apart; "unknown" where no image was built here."""
    try:
        return engines.choose().image_id(reference) or "unknown"
    except ImageError:
        return "unknown"


def server_image() -> str:
    """The model server's image of this checkout."""
    return f"{IMAGES['server'].repository}:{version()}"


def make_namespace(kube: Kube, name: str) -> None:
    """Creates the namespace unless it is there."""
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def model_deployment(kube: Kube, namespace: str, name: str) -> dict[str, Any] | None:
    """The ModelDeployment, or None."""
    try:
        return kube.get("modeldeployment", name, "-n", namespace)
    except CommandFailed as error:
        if "NotFound" in str(error):
            return None
        raise


def condition(body: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any]:
    """One condition of a ModelDeployment that speaks of its present generation; else empty."""
    if body is None:
        return {}
    generation = body["metadata"]["generation"]
    return next(
        (
            found
            for found in body.get("status", {}).get("conditions", ())
            if found["type"] == kind and found["observedGeneration"] == generation
        ),
        {},
    )


def wait_ready(kube: Kube, namespace: str, name: str, seconds: float = READY_SECONDS) -> None:
    """Waits until this generation is fully rolled out."""

    def ready() -> bool:
        body = model_deployment(kube, namespace, name)
        return condition(body, "Ready").get("status") == "True"

    wait_until(ready, f"{namespace}/{name} is Ready", seconds)


LOAD_FILES = {
    "load.py": "dev/load.py",
    "model_operator/cli/load_client.py": "operator/model_operator/cli/load_client.py",
}
"""What the load's pod runs: by the path that it has there, where it lies in the repository."""


class LoadJob:
    """`dev/load.py` as a pod of the cluster, so that it uses the Service as every client does."""

    def __init__(self, kube: Kube, namespace: str, name: str = "load") -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._asked = 0

    def start(
        self,
        endpoint: str,
        image: Path,
        *,
        requests: int,
        rate: float = 0,
        at_once: int = 0,
        cpu: str = "800m",
    ) -> None:
        """Starts the load and waits until its first requests are under way: `rate` of them a
        second, or else `at_once` at any time.
        """
        self.remove()
        self._asked = requests
        scope = ("-n", self._namespace)
        self._kube.kubectl(
            *("create", "configmap", self._name, *scope),
            *(f"--from-file={Path(file).name}={ROOT / file}" for file in LOAD_FILES.values()),
            f"--from-file=image.jpg={image}",
        )
        pace = ["--rate", str(rate)] if rate else ["--closed", "--connections", str(at_once)]
        self._kube.apply(self._pod(endpoint, ["--requests", str(requests), *pace], cpu))
        wait_until(self._has_begun, "the load has begun", 60)

    def progress(self) -> dict[str, Any]:
        """The latest report; empty before the first."""
        text = self._kube.kubectl("logs", self._name, "-n", self._namespace)
        lines = [line for line in text.splitlines() if line.startswith("{")]
        report: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return report

    def result(self, seconds: float) -> dict[str, Any]:
        """Waits for the end and returns the final report.

        Raises:
            CommandFailed: the load itself broke, so its figures say nothing.

        """
        report = self._final(seconds)
        if report["requests"] != self._asked:
            raise CommandFailed(f"the load broke: {self._asked} requests asked for, {report}")
        return report

    def stop(self, seconds: float) -> dict[str, Any]:
        """Ends the load before it has sent all its requests; the final report.

        Raises:
            CommandFailed: the load itself broke, so its figures say nothing.

        """
        self._kube.kubectl(
            *("exec", self._name, "-n", self._namespace, "--", "sh", "-c", "kill -TERM 1")
        )
        return self._final(seconds)

    def _final(self, seconds: float) -> dict[str, Any]:
        phase = ""

        def ended() -> bool:
            nonlocal phase
            pod = self._kube.get("pod", self._name, "-n", self._namespace)
            phase = str(pod["status"]["phase"])
            return phase in ("Succeeded", "Failed")

        wait_until(ended, "the load has ended", seconds)
        report = self.progress()
        if phase != "Succeeded" or not report.get("ended"):
            raise CommandFailed(f"the load broke: {phase}, last report {report or 'none'}")
        return report

    def remove(self) -> None:
        """Takes away the pod and its files."""
        for kind in ("pod", "configmap"):
            self._kube.kubectl(
                *("delete", kind, self._name, "-n", self._namespace),
                *("--ignore-not-found", "--grace-period=0", "--force"),
            )

    def _has_begun(self) -> bool:
        pod = self._kube.get("pod", self._name, "-n", self._namespace)
        if pod["status"]["phase"] in ("Pending", "Unknown"):
            return False
        return int(self.progress().get("requests", 0)) > 0

    def _files(self) -> dict[str, Any]:
        """The ConfigMap as a volume: its keys are names, and a module's file has a path."""
        paths = {Path(path).name: path for path in (*LOAD_FILES, "image.jpg")}
        items = [{"key": key, "path": path} for key, path in paths.items()]
        return {"name": self._name, "items": items}

    def _pod(self, endpoint: str, arguments: list[str], cpu: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "load", "configMap": self._files()}],
                "containers": [
                    {
                        "name": "load",
                        "image": server_image(),
                        "imagePullPolicy": "IfNotPresent",
                        "command": [
                            *("python", "/load/load.py", "--image", "/load/image.jpg"),
                            *("--url", f"http://{endpoint}/predict"),
                            *arguments,
                        ],
                        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
                        # A client that is starved of the node's processor sends its requests
                        # late and in bursts, and blames the server for it.
                        "resources": {"requests": {"cpu": cpu}},
                    }
                ],
            },
        }
