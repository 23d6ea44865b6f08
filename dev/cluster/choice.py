"""Chooses the cluster that this machine can have; the port that the three kinds implement.

Called by `python3 -m dev.cluster` and by the image builder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from dev.cluster import kind, local, paths
from dev.cluster.current import CurrentCluster
from dev.cluster.errors import ClusterError, NoClusterPossible
from dev.cluster.node import Layout


class Cluster(Protocol):
    """A Kubernetes for the demo and the tests. Each method raises a ClusterError."""

    kind: str

    @property
    def kubeconfig(self) -> Path:
        """An admin's kubeconfig."""

    def up(self) -> None:
        """Makes it healthy, from nothing if need be."""

    def down(self) -> None:
        """Removes it."""

    def problems(self) -> list[str]:
        """What is wrong with it, a sentence each; empty when it is healthy."""

    def describe(self) -> list[str]:
        """Lines for the user: how to reach it."""

    def forward(self, target: str) -> str:
        """Points the demo port at HOST:PORT inside the cluster; returns the port's URL."""

    def has_image(self, reference: str, image_id: str) -> bool:
        """Whether the cluster's node has this very image."""

    def load_image(self, reference: str, image_id: str, archive: bytes | Path) -> None:
        """Brings an image archive that holds `reference` to the cluster's node."""


def choose(environ: Mapping[str, str] = os.environ) -> Cluster:
    """The kind that CLUSTER names, else the one that was made before, else the first that works."""
    name, state = paths.cluster_name(environ), paths.state_dir(environ)
    wanted = environ.get("CLUSTER") or _made_before(state) or _first_possible()
    if wanted == "local":
        local.require()
        return local.LocalCluster(Layout(name, state))
    if wanted == "kind":
        kind.require()
        return kind.KindCluster(name, state)
    if wanted == "current":
        return CurrentCluster(environ)
    raise ClusterError(f"CLUSTER={wanted} is unknown: it is kind, local or current.")


def _made_before(state: Path) -> str:
    if (state / "processes").is_dir():
        return "local"
    return "kind" if (state / "demo-port").is_file() else ""


def _first_possible() -> str:
    no_kind, no_local = kind.why_not(), local.why_not()
    if not no_kind:
        return "kind"
    if not no_local:
        return "local"
    raise NoClusterPossible(
        f"No cluster can be made here (kind: {no_kind}; local: {no_local}). Install Docker and "
        "kind, or run this as root on a Debian 12 machine, or name a cluster that you have by "
        "CLUSTER=current."
    )
