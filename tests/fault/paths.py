"""What a request to the Kubernetes API means, read off its method and path. Pure.

    >>> parse("PATCH", "/apis/apps/v1/namespaces/vision/deployments/cats/scale").label
    'patch deployments/scale cats'

Called by the proxy; the plural names of the API are used throughout, as the role has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"(?:/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+)(?P<tail>/.+)?)?)?)?/?$"
)
_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
CLUSTER_SCOPED = frozenset(
    {"namespaces", "nodes", "customresourcedefinitions", "selfsubjectreviews"}
)
NEWS = frozenset({"events", "leases"})
"""What tells, or keeps a clock, and is no part of the state: never counted nor compared."""
HURRIED = "pods"
"""What the operator only ever hurries along, by an annotation: how often, time decides."""


@dataclass(frozen=True)
class Request:
    """One request, as the API server's authorizer would see it."""

    verb: str
    """get, list, watch, create, update, patch or delete; empty for what is no resource."""
    prefix: str = ""
    """`/api/v1` or `/apis/GROUP/VERSION`."""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    sub: str = ""
    tail: str = ""
    """What of the path comes after a subresource: what a pod itself is asked for."""
    everywhere: bool = False
    """Whether it asked for all namespaces, as informers do; passes ask for one."""

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.verb in ("create", "update", "patch", "delete")

    @property
    def counted(self) -> bool:
        """Whether it changes the state that the operator answers for."""
        return self.writes and self.plural not in (*NEWS, HURRIED)

    @property
    def resource(self) -> str:
        """As a role names it: `deployments/scale`."""
        return f"{self.plural}/{self.sub}" if self.sub else self.plural

    @property
    def label(self) -> str:
        """The same in every run: news and pods have random names, and are told apart by their order
        alone.
        """
        name = "" if self.plural in (*NEWS, HURRIED) else f" {self.name}"
        return f"{self.verb} {self.resource}{name}"

    @property
    def path(self) -> str:
        """Where it goes."""
        scope = f"/namespaces/{self.namespace}" if self.namespace else ""
        parts = (f"{self.prefix}{scope}/{self.plural}", self.name, self.sub)
        return "/".join(part for part in parts if part) + self.tail

    def within(self, namespace: str) -> Request:
        """The same request for one namespace, when it asks for all of them."""
        return replace(self, namespace=namespace) if self.everywhere else self


def parse(method: str, path: str, *, watch: bool = False) -> Request:
    """Reads a request; one for discovery or health has no verb."""
    match = _PATH.match(path)
    if match is None or not match["plural"]:
        return Request("")
    prefix = "/api/v1" if match["core"] else f"/apis/{match['group']}/{match['version']}"
    read = "get" if match["name"] else "watch" if watch else "list"
    everywhere = not match["namespace"] and not match["name"]
    return Request(
        verb=_WRITES.get(method, read),
        prefix=prefix,
        namespace=match["namespace"] or "",
        plural=match["plural"],
        name=match["name"] or "",
        sub=match["sub"] or "",
        tail=match["tail"] or "",
        everywhere=everywhere and match["plural"] not in CLUSTER_SCOPED,
    )
