"""The cluster that the user's own kubeconfig names: used as it is, never made and never removed.

Called by `python3 -m dev.cluster` only when CLUSTER=current.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from dev.cluster.errors import ClusterError, NotHealthy
from dev.tools import kubectl


class CurrentCluster:
    """The cluster of KUBECONFIG, else of ~/.kube/config."""

    kind = "current"

    def __init__(self, environ: Mapping[str, str]) -> None:
        named = environ.get("KUBECONFIG", "").split(":")[0]
        self._kubeconfig = Path(named) if named else Path.home() / ".kube" / "config"

    @property
    def kubeconfig(self) -> Path:
        """The user's own."""
        return self._kubeconfig

    def up(self) -> None:
        """Only looks whether it is there."""
        if problems := self.problems():
            raise NotHealthy(f"CLUSTER=current cannot be used: {problems[0]}.")

    def down(self) -> None:
        """It was not made here, so it is left alone."""

    def problems(self) -> list[str]:
        """What is wrong with it; empty when it is healthy."""
        if not self._kubeconfig.is_file():
            return [f"there is no kubeconfig at {self._kubeconfig}"]
        asked = subprocess.run(
            [kubectl(), "--kubeconfig", self._kubeconfig, "get", "--raw", "/readyz"],
            capture_output=True,
            text=True,
            check=False,
        )
        return [] if asked.stdout == "ok" else [asked.stderr.strip() or "it is not ready"]

    def describe(self) -> list[str]:
        """Lines for the user: how to reach it."""
        return [f"kubeconfig  export KUBECONFIG={self._kubeconfig}"]

    def forward(self, target: str) -> str:
        """There is no way into it but its own."""
        raise ClusterError(
            f"{target} is not forwarded with CLUSTER=current: use `kubectl port-forward`."
        )

    def has_image(self, reference: str, image_id: str) -> bool:  # noqa: ARG002 (the port)
        """Taken to be there: the cluster pulls it."""
        return True

    def load_image(
        self,
        reference: str,
        image_id: str,  # noqa: ARG002 (the port)
        archive: bytes | Path,  # noqa: ARG002 (the port)
    ) -> None:
        """Never asked for: `has_image` says that it is there."""
        raise ClusterError(f"push {reference} to a registry that the cluster pulls from.")
