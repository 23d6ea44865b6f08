"""The cluster in Docker, by kind: made and removed by its own command.

Called by `python3 -m dev.cluster` where a Docker engine answers and `kind` is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from dev.cluster.errors import ClusterError, NoClusterPossible
from dev.cluster.forwarder import NoTarget, parse_target
from dev.cluster.local import DEMO_PORT, listen
from dev.progress import step

NODE_PORT = 30080  # of the node's container; published on the machine's loopback


class KindCluster:
    """A kind cluster by this name; its kubeconfig is kept in `state`."""

    kind = "kind"

    def __init__(self, name: str, state: Path) -> None:
        self.name = name
        self.state = state

    @property
    def kubeconfig(self) -> Path:
        """An admin's kubeconfig."""
        return self.state / "kubeconfig"

    def up(self) -> None:
        """Creates the cluster if it is not there, or not healthy."""
        if not self.problems():
            return
        if self._exists():
            self.down()
        self.state.mkdir(parents=True, exist_ok=True)
        with listen(DEMO_PORT, 100) as free:
            port = free.getsockname()[1]
        mapping = {
            "containerPort": NODE_PORT,
            "hostPort": port,
            "listenAddress": "127.0.0.1",
            "protocol": "TCP",
        }
        configuration = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [{"role": "control-plane", "extraPortMappings": [mapping]}],
        }
        with step("creating the kind cluster", 90):
            _run(
                "kind", "create", "cluster", "--name", self.name, "--config", "-",
                "--kubeconfig", str(self.kubeconfig), "--wait", "180s", *_node_image(),
                stdin=json.dumps(configuration),
            )  # fmt: skip
        (self.state / "demo-port").write_text(str(port))

    def down(self) -> None:
        """Deletes the cluster."""
        _run("kind", "delete", "cluster", "--name", self.name,
             "--kubeconfig", str(self.kubeconfig))  # fmt: skip
        shutil.rmtree(self.state, ignore_errors=True)

    def problems(self) -> list[str]:
        """What is wrong with it; empty when it is healthy."""
        if not self._exists() or not self.kubeconfig.is_file():
            return [f"there is no kind cluster {self.name}"]
        asked = subprocess.run(
            ["docker", "exec", self._node(), "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf",
             "get", "--raw", "/readyz"],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        return [] if asked.stdout == "ok" else ["its API server is not ready"]

    def describe(self) -> list[str]:
        """Lines for the user: how to reach it."""
        target = self.state / "demo-target"
        shown = target.read_text() if target.is_file() else "nothing yet"
        return [
            f"kubeconfig  export KUBECONFIG={self.kubeconfig}",
            f"demo port   {self._demo_url()} -> {shown}",
        ]

    def forward(self, target: str) -> str:
        """Points the demo port at HOST:PORT inside the cluster, by the node image's socat."""
        try:
            host, port = parse_target(target)
        except NoTarget as problem:
            raise ClusterError(f"{problem}: give an address like 10.96.3.4:80.") from None
        listening = f"TCP-LISTEN:{NODE_PORT}"
        former = ["docker", "exec", self._node(), "pkill", "-f", listening]
        subprocess.run(former, capture_output=True, check=False)
        # -t: how long the other direction may go on after one has ended (half-close)
        _run("docker", "exec", "--detach", self._node(), "socat", "-t", "3600",
             f"{listening},fork,reuseaddr", f"TCP:{host}:{port}")  # fmt: skip
        (self.state / "demo-target").write_text(target)
        return self._demo_url()

    def has_image(self, reference: str, image_id: str) -> bool:
        """Whether the node has this very image."""
        asked = subprocess.run(
            ["docker", "exec", self._node(), "crictl", "inspecti", "--output", "go-template",
             "--template", "{{.status.id}}", reference],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        return asked.stdout.strip().removeprefix("sha256:") == image_id.removeprefix("sha256:")

    def load_image(self, reference: str, image_id: str, archive: bytes | Path) -> None:
        """Brings an image archive into the node."""
        if isinstance(archive, bytes):
            with tempfile.NamedTemporaryFile(suffix=".tar") as file:
                file.write(archive)
                file.flush()
                self.load_image(reference, image_id, Path(file.name))
            return
        _run("kind", "load", "image-archive", str(archive), "--name", self.name)

    def _exists(self) -> bool:
        return self.name in _run("kind", "get", "clusters").split()

    def _node(self) -> str:
        return f"{self.name}-control-plane"

    def _demo_url(self) -> str:
        return f"http://127.0.0.1:{(self.state / 'demo-port').read_text()}"


def _run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()}")
    return done.stdout


def _node_image() -> list[str]:
    """The node's image, by KIND_NODE_IMAGE: which Kubernetes it is; else kind's own choice."""
    image = os.environ.get("KIND_NODE_IMAGE")
    return ["--image", image] if image else []


def why_not() -> str:
    """Why kind cannot be used here; empty when it can."""
    if not shutil.which("docker") or not shutil.which("kind"):
        return "docker or kind is not installed"
    asked = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return "" if asked.returncode == 0 else "no Docker engine answers"


def require() -> None:
    """Raises NoClusterPossible when kind cannot be used here."""
    if reason := why_not():
        raise NoClusterPossible(
            f"kind cannot be used here: {reason}. Install Docker and kind, or use CLUSTER=local "
            "as root on Debian 12."
        )
