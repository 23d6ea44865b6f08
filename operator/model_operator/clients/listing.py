"""Lists the objects of one kind, page by page, and keeps of each only what a `View` needs.

The informer begins a watch with it, and the sweep compares it with what was told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_operator import api, naming
from model_operator.clients.cluster import Cluster
from model_operator.clients.view import Key, Known, View, known

BODIES_PER_PAGE = 100


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


async def read_bodies(
    cluster: Cluster, view: View, look: Callable[[Key, Mapping[str, Any]], None]
) -> Mapping[str, Known]:
    """What the view should know; each whole object is shown to `look` on the way, and not kept.

    Raises as `Cluster.pages` does.
    """
    present: dict[str, Known] = {}
    pages = cluster.pages(view.kind, view.namespace, selector(view.kind), size=BODIES_PER_PAGE)
    async for items, _ in pages:
        for body in items:
            if (kept := known(view.kind, body["metadata"])) is not None:
                present[body["metadata"]["uid"]] = kept
                look(kept.key, body)
    return present
