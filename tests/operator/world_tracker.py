"""A small world whose operator tracks rollouts. What was recorded outlives the operator; what it
remembers of that does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from model_operator import observe, tracking
from model_operator.api import Recorded
from model_operator.observed import Observed
from model_operator.plan import Plan
from model_operator.tracking import RolloutRecord
from tests.operator.builders import ModelDeploymentBuilder
from tests.operator.world import World
from tests.operator.world_state import DEFAULTS


class TrackedWorld(World):
    """The tracker has its turn whenever the pods have theirs."""

    def __init__(self, resource: ModelDeploymentBuilder) -> None:
        super().__init__(resource)
        self.defaults = replace(DEFAULTS, tracks_rollouts=True)
        self.tracker_answers = True
        self.runs: dict[str, RolloutRecord] = {}
        """By identity: what MLflow has."""
        self._remembered: dict[str, Recorded] = {}

    def observed(self) -> Observed:
        return replace(super().observed(), recorded=dict(self._remembered))

    def one_pass(self, *, dies_after: int | None = None) -> Plan:
        plan = super().one_pass(dies_after=dies_after)
        if dies_after is not None:
            self._remembered.clear()
        return plan

    def play_pods(self, at_most: int | None = None) -> bool:
        return super().play_pods(at_most) or self.play_tracker()

    def play_tracker(self) -> bool:
        """Records what status says is waiting; True if anything was."""
        resource = observe.read_resource(self.resource)
        status: dict[str, Any] = self.resource.get("status") or {}
        waiting = [
            record
            for record in tracking.waiting(resource, status, self.defaults.tracking_uri)
            if record.identity not in self._remembered
        ]
        if not self.tracker_answers or not waiting:
            return False
        for record in waiting:
            self.runs[record.identity] = record
            self._remembered[record.identity] = "Written"
        return True
