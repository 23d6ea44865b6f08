"""Where the cluster keeps what it builds and what it runs; used by every module beside it.

Nothing is kept in the repository, so several clones share one build and, if they like, one cluster.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from dev.cluster.errors import ClusterError

DEFAULT_NAME = "cv-factory"


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """CV_FACTORY_CACHE, else ~/.cache/cv-factory."""
    named = environ.get("CV_FACTORY_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "cv-factory"


def cluster_name(environ: Mapping[str, str] = os.environ) -> str:
    """CV_FACTORY_CLUSTER_NAME, else cv-factory. It names the network namespace and the cgroups."""
    name = environ.get("CV_FACTORY_CLUSTER_NAME", DEFAULT_NAME)
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise ClusterError(
            f"CV_FACTORY_CLUSTER_NAME={name!r} is no cluster name: use at most 40 lower-case "
            "letters, digits and dashes, beginning with a letter."
        )
    return name


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Everything that belongs to one cluster: kubeconfig, records of processes, logs, disks."""
    return cache_dir(environ) / "cluster" / cluster_name(environ)
