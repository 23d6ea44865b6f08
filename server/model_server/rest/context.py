"""What the routes stand on: made once by `app`, handed to each group of routes."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.lifecycle import Lifecycle
from model_server.metrics import Metrics
from model_server.rest.dataplane import Dataplane
from model_server.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of the process that HTTP shows."""

    settings: Settings
    lifecycle: Lifecycle
    metrics: Metrics
    dataplane: Dataplane
