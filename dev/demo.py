"""The whole way through, on a real Kubernetes: `make demo`.

Trains two versions of a model, registers them, installs the operator from its image and chart,
makes version 1 live by one file, asks it about a cat and a dog, and rolls version 2 out under an
open-loop load that never retries. Ends with a non-zero status when any of it does not hold. The
cluster stays up.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev import tools
from dev.cluster.choice import Cluster, choose
from dev.cluster.errors import ClusterError
from dev.images import __main__ as images
from dev.images import labels
from dev.images.errors import ImageError
from dev.kube import CommandFailed, Kube, NotInTime, wait_until
from dev.progress import duration, say, step
from dev.stage import (
    LoadJob,
    Stage,
    install_mlflow,
    install_operator,
    make_namespace,
    model_deployment,
    wait_ready,
)

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".demo"
EXAMPLE = ROOT / "examples/cats-dogs.yaml"
NAME = "cats-dogs"
NAMESPACE = "default"
CRD_NAME = "modeldeployments.cvfactory.dev"
IMAGES_PER_CLASS = 500
SEEDS = {"v1": 1, "v2": 2}
REQUESTS = 6200
RATE = 100.0
FIRST_TARGET_SECONDS = 900.0
"""For a demo on a fresh machine of two cores, the Kubernetes build included."""
AGAIN_TARGET_SECONDS = 180.0


class DemoFailed(Exception):
    """Something that the demo shows did not hold; the text says what."""


@dataclass(frozen=True)
class Registered:
    """A model version in the demo's registry."""

    version: str
    sha256: str


def model_train(*arguments: str, tracking_uri: str) -> str:
    """Runs `model-train`; its output only when it fails."""
    command = [sys.executable, "-m", "model_training", *arguments]
    environment = {"MLFLOW_TRACKING_URI": tracking_uri, "PATH": "/usr/bin:/bin", "HOME": str(WORK)}
    done = subprocess.run(
        command, cwd=WORK, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DemoFailed(f"model-train {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def train(version: str) -> Path:
    """The artifact of one version: trained once, kept in `.demo` for the next demo."""
    artifact = WORK / version
    if (artifact / "model.json").exists():
        return artifact
    shutil.rmtree(artifact, ignore_errors=True)
    model_train(
        *("train", "--data", str(WORK / "data"), "--out", str(artifact)),
        *("--seed", str(SEEDS[version]), "--name", NAME),
        tracking_uri=f"sqlite:///{WORK}/mlflow.db",
    )
    return artifact


def recipe() -> str:
    """Names what the models are made from: the training code and the settings above."""
    total = hashlib.sha256(repr((IMAGES_PER_CLASS, SEEDS)).encode())
    for path in sorted((ROOT / "training").rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def prepare_models() -> dict[str, Path]:
    """The drawn pictures and both trained versions; kept for the next demo, unless what they are
    made from has changed.
    """
    made_from = WORK / "recipe"
    if not made_from.exists() or made_from.read_text() != recipe():
        shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(exist_ok=True)
    if not made_from.exists():
        with step(f"drawing {2 * IMAGES_PER_CLASS} pictures of cats and dogs", 8):
            model_train(
                *("prepare", "--synthetic", str(2 * IMAGES_PER_CLASS)),
                *("--out", str(WORK / "data")),
                tracking_uri="",
            )
        made_from.write_text(recipe())
    artifacts = {}
    for version in SEEDS:
        with step(f"training {version}", 20):
            artifacts[version] = train(version)
        metrics = json.loads((artifacts[version] / "model.json").read_text())["metrics"]
        say(f"  test accuracy {metrics['test_accuracy']:.1%}")
    return artifacts


def register(stage: Stage, artifact: Path, *alias: str) -> Registered:
    """Registers an artifact in the cluster's MLflow."""
    with stage.mlflow() as url:
        answer = json.loads(
            model_train(
                *("register", "--artifact", str(artifact), "--name", NAME, "--json"),
                *("--data", str(WORK / "data")),
                *(argument for name in alias for argument in ("--alias", name)),
                tracking_uri=url,
            )
        )
    say(f"  {answer['uri']}, sha256 {answer['sha256'][:12]}...")
    return Registered(str(answer["version"]), answer["sha256"])


def apply_example(kube: Kube, uri: str | None = None) -> None:
    """Applies the example, with another model URI if asked."""
    body = yaml.safe_load(EXAMPLE.read_text())
    body["metadata"]["namespace"] = NAMESPACE
    if uri is not None:
        body["spec"]["model"]["uri"] = uri
    kube.apply(body)


def start_afresh(kube: Kube) -> None:
    """Begins to remove what an earlier demo left."""
    LoadJob(kube, NAMESPACE).remove()
    if CRD_NAME in kube.kubectl("get", "crds", "-o", "name"):
        scope = ("-n", NAMESPACE, "--ignore-not-found", "--wait=false")
        kube.kubectl("delete", "modeldeployment", NAME, *scope)


def wait_for_no_pods(kube: Kube, selector: str) -> None:
    """Waits until the pods that the selector matches have drained and ended."""
    wait_until(
        lambda: not kube.get("pods", "-n", NAMESPACE, "-l", selector)["items"],
        f"the pods {selector} are gone",
        120,
    )


def ask(url: str, picture: Path) -> dict[str, Any]:
    """What the model says about a picture."""
    request = urllib.request.Request(
        f"{url}/predict", picture.read_bytes(), {"Content-Type": "image/jpeg"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
    except OSError as error:
        raise DemoFailed(f"{url}/predict did not answer: {error}") from error
    return answer


def go_live(stage: Stage, cluster: Cluster) -> str:
    """Version 1 by one file, then a cat and a dog; returns the endpoint's URL."""
    with step(f"kubectl apply -f {EXAMPLE.relative_to(ROOT)}", 20):
        apply_example(stage.kube)
        wait_ready(stage.kube, NAMESPACE, NAME)
    say(stage.kube.kubectl("get", "modeldeployments", "-n", NAMESPACE))
    url = cluster.forward(stage.endpoint(NAMESPACE, NAME))
    for kind in ("cat", "dog"):
        picture = min((WORK / "data" / kind).glob("*.jpg"))
        answer = ask(url, picture)
        say(f"  POST {url}/predict  {kind}/{picture.name}\n    {json.dumps(answer)}")
        if answer["label"] != kind:
            raise DemoFailed(f"a {kind} was taken for a {answer['label']}")
    return url


def roll_out(stage: Stage, new: Registered) -> dict[str, Any]:
    """Version 2 under load; returns the load's report once the old pods are gone."""
    kube, load = stage.kube, LoadJob(stage.kube, NAMESPACE)
    before = model_deployment(kube, NAMESPACE, NAME) or {}
    old = before["status"]["stable"]["revision"]
    picture = min((WORK / "data/cat").glob("*.jpg"))
    load.start(stage.endpoint(NAMESPACE, NAME), picture, requests=REQUESTS, rate=RATE)
    with step(f"rolling out version {new.version} under {RATE:.0f} requests a second", 65):
        apply_example(kube, f"models:/{NAME}/{new.version}")
        wait_ready(kube, NAMESPACE, NAME)
        wait_for_no_pods(kube, f"cvfactory.dev/revision={old}")
        sent = load.progress().get("requests", 0)
        report = load.result(seconds=180)
    load.remove()
    say(kube.kubectl("get", "modeldeployments", "-n", NAMESPACE))
    if sent >= report["requests"]:
        raise DemoFailed("the load ended before the old pods did")
    if report["versions"].keys() != {before["status"]["stable"]["version"], new.version}:
        raise DemoFailed(f"answers came from versions {report['versions']}")
    return report


def cluster_with_images() -> Cluster:
    """A healthy cluster that has the images. They are built while it is: the one waits for the
    processor, the other for downloads.
    """
    cluster = choose()
    if cluster.kind == "current":
        raise DemoFailed(
            "the demo brings its images to a cluster of its own: use CLUSTER=kind or CLUSTER=local"
        )
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "dev.images", "build"]
        with subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as build:
            try:
                cluster.up()
                with step("building the images", 120):
                    build.wait()
            finally:
                build.terminate()
        output.seek(0)
        if build.returncode:
            raise DemoFailed(output.read().strip())
    images.load(list(images.IMAGES), labels.version())
    return cluster


def demo() -> tuple[str, str]:
    """All of it; returns the endpoint's URL on this machine and the last line."""
    cluster = cluster_with_images()
    kube = Kube(cluster.kubeconfig)
    start_afresh(kube)
    artifacts = prepare_models()
    with step("installing MLflow and the operator", 30):
        make_namespace(kube, NAMESPACE)
        stage = Stage(kube, install_mlflow(kube))
        install_operator(kube, stage.tracking_uri)
    with step("registering version 1", 5):
        register(stage, artifacts["v1"], "champion")
    with step("waiting for the last demo's pods to end", 1):
        wait_for_no_pods(kube, f"cvfactory.dev/model-deployment={NAME}")
    url = go_live(stage, cluster)
    with step("registering version 2", 5):
        second = register(stage, artifacts["v2"], "champion")
    report = roll_out(stage, second)
    say(f"  answers by version: {report['versions']}, latency in ms: {report['latency_ms']}")
    say("  from a client that sends by the clock and never retries, half on kept-alive connections")
    last = f"requests {report['requests']}, failed {report['failed']}"
    if report["failed"]:
        raise DemoFailed(f"{last}: {report['failures']}")
    return url, last


def main() -> int:
    """Runs the demo; an error is one line and status 1."""
    started, first = time.monotonic(), not WORK.exists()
    try:
        url, last = demo()
    except (DemoFailed, ClusterError, ImageError, CommandFailed, NotInTime) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - started
    target = FIRST_TARGET_SECONDS if first else AGAIN_TARGET_SECONDS
    say(
        f"\nThe cluster stays up. To play on:\n"
        f"  export KUBECONFIG={choose().kubeconfig}\n"
        f"  {tools.kubectl()} get modeldeployments,pods\n"
        f"  curl --data-binary @.demo/data/cat/00000.jpg -H 'Content-Type: image/jpeg' "
        f"{url}/predict\n"
        f"  make mlflow-ui\n"
        f"(`make cluster-down` takes it away)\n\n"
        f"demo: target {duration(target)}, measured {duration(seconds)}, "
        f"{'met' if seconds <= target else 'not met'}"
    )
    say(last)
    return 0


if __name__ == "__main__":
    sys.exit(main())
