"""A double of a Gateway's controller: it writes what one says of an HTTPRoute, and carries nothing.

There is no implementation of the Gateway API on the test machines; its CRDs there are.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fault.admin import MERGE, Admin

Body = dict[str, Any]
CONTROLLER = "example.com/gateway-double"


def http_route_crd() -> Body:
    """The Gateway API's own definition of HTTPRoute, as far as Kubernetes 1.20 takes it: without
    rules in CEL, and without empty strings as defaults, which it mistakes for null.
    """
    checkout = Path(__file__).resolve().parents[2]
    folder = os.environ.get("CV_FACTORY_SHARED_DATA") or checkout.parent / "shared" / "data"
    path = Path(folder, "gateway-api", "httproutes.yaml")
    if not path.is_file():
        pytest.skip(
            f"there is no {path}: set CV_FACTORY_SHARED_DATA to the folder with gateway-api"
        )
    definition: Body = _for_old_servers(yaml.safe_load(path.read_text()))
    return definition


def _for_old_servers(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _for_old_servers(member)
            for key, member in value.items()
            if key != "x-kubernetes-validations" and not (key == "default" and member == "")
        }
    return [_for_old_servers(item) for item in value] if isinstance(value, list) else value


class GatewayDouble:
    """Answers for every parent of an HTTPRoute, or only for some of them."""

    def __init__(self, admin: Admin, route: Body) -> None:
        metadata = route["metadata"]
        self._admin = admin
        self._path = (
            f"/apis/{route['apiVersion']}/namespaces/{metadata['namespace']}"
            f"/httproutes/{metadata['name']}"
        )

    async def accept(self, *, only: Iterable[str] | None = None) -> None:
        """Takes the route over as it is now."""
        await self._answer("True", "Accepted", only)

    async def refuse(self, reason: str) -> None:
        """Does not take the route as it is now."""
        await self._answer("False", reason, None)

    async def _answer(self, status: str, reason: str, only: Iterable[str] | None) -> None:
        live = await self._admin.get(self._path)
        assert live is not None
        told = {
            "status": status,
            "reason": reason,
            "message": "told by a double",
            "observedGeneration": live["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        conditions = [{"type": kind, **told} for kind in ("Accepted", "ResolvedRefs")]
        parents = [
            {"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions}
            for parent in live["spec"]["parentRefs"]
            if only is None or parent["name"] in only
        ]
        await self._admin.call(
            "PATCH",
            f"{self._path}/status",
            {"status": {"parents": copy.deepcopy(parents)}},
            content_type=MERGE,
        )
