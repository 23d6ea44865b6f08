"""Lists the objects of one kind, page by page, and keeps of each only what a `View` needs.

The informer begins a watch with it, and the sweep compares it with what was told.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from model_operator import api, naming
from model_operator.clients.cluster import Cluster
from model_operator.clients.view import Known, View, known


@dataclass(frozen=True)
class Listing:
    """Everything of one kind at one moment."""

    present: Mapping[str, Known]
    """By uid."""
    version: str
    """The list's resourceVersion: a watch from there leaves nothing out."""
    cpu_seconds: float
    """What reading it took."""


def selector(kind: str) -> str:
    """The labels by which the operator's own objects of a kind are selected."""
    return "" if kind == api.KIND else naming.MANAGED_SELECTOR


async def read(cluster: Cluster, view: View) -> Listing:
    """Lists what the view should know; raises as `Cluster.metadata` does."""
    present: dict[str, Known] = {}
    version, cpu = "", 0.0
    async for page in cluster.metadata(view.kind, view.namespace, selector(view.kind)):
        started = time.thread_time()
        for metadata in page.items:
            if (kept := known(view.kind, metadata)) is not None:
                present[metadata["uid"]] = kept
        version = page.version
        cpu += page.cpu_seconds + time.thread_time() - started
    return Listing(present, version, cpu)
