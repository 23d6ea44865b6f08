"""Reads a ModelDeployment's children of one kind: each by its name, or else all of them by a list.

The names are what the views know, a hint; what is read by them is fresh. One object costs the API
server far less than a list of its namespace by label. What a view does not know is found by its
name where a pass may write it (`child_names`), and by the sweep. `main` makes it; used by `observe`
and told by `reconcile` of what is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from model_operator import naming
from model_operator.clients.cluster import Cluster
from model_operator.clients.transport import Body
from model_operator.clients.view import Key, View


class ChildReader:
    """Of one cluster."""

    def __init__(self, cluster: Cluster, views: Iterable[View] = ()) -> None:
        """`views`: one of each kind for all namespaces, or one per namespace."""
        self._cluster = cluster
        self._views = {(view.kind, view.namespace): view for view in views}

    async def read(self, kind: str, key: Key, *, also: str | None = None) -> list[Body]:
        """Those that carry the resource's labels, and one by its name whatever it carries."""
        namespace, name = key
        wanted = frozenset() if also is None else frozenset({also})
        found: list[Body] = []
        names = self.names(kind, key)
        if names is None:
            found, _ = await self._cluster.list(kind, namespace, naming.owned_by_selector(name))
            names = frozenset()
            wanted -= {body["metadata"]["name"] for body in found}
        unread = [(kind, child) for child in sorted(names | wanted)]
        return found + await self.named(namespace, unread)

    async def named(self, namespace: str, children: Collection[tuple[str, str]]) -> list[Body]:
        """Those that exist, by kind and name."""
        read = (self._cluster.get(kind, namespace, name) for kind, name in children)
        return [body for body in await asyncio.gather(*read) if body is not None]

    def names(self, kind: str, key: Key) -> frozenset[str] | None:
        """What they are called, as far as is known; None where only a list can tell."""
        view = self._view(kind, key)
        return None if view is None else view.names_of(key)

    def wrote(self, key: Key, body: Mapping[str, Any]) -> None:
        """A child is written: until its watch tells of it, this does."""
        if (view := self._view(body["kind"], key)) is not None:
            view.wrote(key, body["metadata"]["name"])

    def did_not_write(self, key: Key, body: Mapping[str, Any]) -> None:
        """A child may not have been written after all."""
        if (view := self._view(body["kind"], key)) is not None:
            view.did_not_write(key, body["metadata"]["name"])

    def _view(self, kind: str, key: Key) -> View | None:
        everywhere = self._views.get((kind, None))
        return self._views.get((kind, key[0])) if everywhere is None else everywhere
