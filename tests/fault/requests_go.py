"""Where clients' requests go, read off the objects that say it. Called by `invariants`.

The words for it are the operator's, but nothing of what reads them there is used here: a fault of
that could not be seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from model_operator import api, naming

Body = Mapping[str, Any]
ROUTE_ANNOTATION = f"{api.GROUP}/route"
ROUTER_LABEL = ("app.kubernetes.io/name", "model-router")


class Way(Enum):
    """How the endpoint leads to the model servers."""

    SELECTOR = "its selector names one revision"
    RATIO = "its selector names all model servers"
    ROUTER = "its selector names the router pods"


@dataclass(frozen=True)
class Requests:
    """What clients' requests are divided by."""

    way: Way
    stable: str
    canary: str | None = None
    weight: int = 0
    """Percent for the canary."""

    def weight_of(self, revision: str) -> int:
        """Percent for a revision."""
        if revision == self.stable:
            return 100 - self.weight
        return self.weight if revision == self.canary else 0

    def __str__(self) -> str:
        if not self.weight:
            return f"all to {self.stable}"
        return f"{self.weight}% to {self.canary}, the rest to {self.stable}"


def way_of(service: Body | None) -> Way | None:
    """By the endpoint's selector; None where there is no endpoint."""
    selector = _selector(service)
    if not selector:
        return None
    if ROUTER_LABEL in selector.items():
        return Way.ROUTER
    return Way.SELECTOR if naming.REVISION_LABEL in selector else Way.RATIO


def read(service: Body | None, config_map: Body | None) -> Requests | None:
    """By the endpoint and the router's ConfigMap; None where they lead nowhere."""
    way = way_of(service)
    if way is None or service is None:
        return None
    if way is Way.SELECTOR:
        return Requests(way, _selector(service)[naming.REVISION_LABEL])
    if way is Way.RATIO:
        annotations = service["metadata"].get("annotations") or {}
        return of_document(way, annotations.get(ROUTE_ANNOTATION))
    return of_document(way, ((config_map or {}).get("data") or {}).get("route.json"))


def of_document(way: Way, text: str | None) -> Requests | None:
    """By the text that names stable, canary and weight."""
    if not text:
        return None
    told = json.loads(text)
    weight = int(told["weight"])
    return Requests(way, told["stable"], told["canary"] if weight else None, weight)


def _selector(service: Body | None) -> Mapping[str, str]:
    selector: Mapping[str, str] = ((service or {}).get("spec") or {}).get("selector") or {}
    return selector
