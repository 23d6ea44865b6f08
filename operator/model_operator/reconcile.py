"""One pass over one ModelDeployment: observe, decide, apply. Called by `main`'s workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from model_operator.apply import ChildRefused, apply
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import EventEmitter
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import PodReader
from model_operator.clients.registry import Registry
from model_operator.decide import decide
from model_operator.observe import observe
from model_operator.observed import Defaults, Observed
from model_operator.plan import Plan

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reconciler:
    """The ports that a pass needs, wired by `main`."""

    cluster: Cluster
    registry: Registry
    measurer: Measurer
    reader: PodReader
    emitter: EventEmitter
    defaults: Defaults
    clock: Callable[[], datetime]

    async def reconcile(self, namespace: str, name: str) -> Plan:
        """Makes one pass and returns what it did."""
        observed = await observe(
            self.cluster,
            self.registry,
            self.measurer,
            self.reader,
            self.defaults,
            namespace,
            name,
            self.clock(),
        )
        if observed is None:
            return Plan(exists=False)
        while True:
            try:
                return await self._decide_and_apply(observed)
            except ChildRefused as error:
                # What was refused is left out of the next plan, so this ends.
                observed = observed.refused(error.refusal)

    async def _decide_and_apply(self, observed: Observed) -> Plan:
        now = self.clock()
        plan = decide(observed, now)
        await apply(self.cluster, self.emitter, observed, plan, now)
        if plan.writes:
            _log_pass(observed, plan)
        return plan


def _log_pass(observed: Observed, plan: Plan) -> None:
    """One line per pass that changed something: names and sentences, no bodies."""
    log.info(
        "reconciled",
        namespace=observed.resource.namespace,
        name=observed.resource.name,
        generation=observed.resource.generation,
        replaced=[f"{item.kind}/{item.name}" for item in plan.replacements],
        applied=[f"{body['kind']}/{body['metadata']['name']}" for body in plan.applies],
        scaled={scale.deployment: scale.replicas for scale in plan.scales},
        touched=[f"Pod/{touch.pod}" for touch in plan.touches],
        deleted=[f"{delete.kind}/{delete.name}" for delete in plan.deletes],
        phase=plan.status["phase"] if plan.status else None,
        message=plan.status["message"] if plan.status else None,
    )
