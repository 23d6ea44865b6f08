"""One pass over one ModelDeployment: observe, decide, apply. Called by `main`'s workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import structlog

from model_operator import standing, tracking
from model_operator.apply import ChildRefused, apply
from model_operator.clients.events import EventEmitter
from model_operator.clients.transport import Body
from model_operator.clients.view import Expect, Key
from model_operator.decide import decide, last_status
from model_operator.observe import Sources, observe, read_resource
from model_operator.observed import Observed
from model_operator.plan import Plan
from model_operator.runtime.recording import Recording
from model_operator.runtime.turns import Turns

Turn = TypeVar("Turn", bound=Hashable)

log = structlog.get_logger(__name__)


def decide_in_turn(turns: Turns[Turn], key: Turn, observed: Observed, now: datetime) -> Plan:
    """The decision, with a place among the rollouts that may be at once where it needs one. Most
    passes need none, and hold nobody else up; one that would begin a rollout asks for a place, and
    decides again when it has one.
    """
    plan = decide(replace(observed, rollouts_elsewhere=turns.limit), now)
    if plan.waits_for_turn:
        return decide(observed, now) if turns.take(key) else plan
    if standing.rolls_out(plan.status or last_status(observed)):
        turns.take(key)
    return plan


def look_after(
    observed: Observed, plan: Plan, written: Mapping[str, Any], now: datetime
) -> Plan | None:
    """What a pass would decide over the status that this one has written, if that settles the
    resource and nothing is left to do: such a pass need not be made. None where it must be, also
    where what was observed depends on the status, as what a model's bytes are asked of does.
    """
    if plan.writes_children or plan.back_off or not standing.is_settled(written):
        return None
    if observed.unverified is not None:
        return None
    then = decide(replace(observed, resource=read_resource(written)), now)
    return None if then.writes or then.events or then.back_off or then.waits_for_turn else then


def unheard(_metadata: Mapping[str, Any]) -> AbstractContextManager[Expect]:
    """Where no watch is spared the pass over what it tells."""
    return contextlib.nullcontext(lambda _: None)


@dataclass(frozen=True)
class Reconciler:
    """The ports that a pass needs, wired by `main`."""

    sources: Sources
    emitter: EventEmitter
    turns: Turns[Key]
    clock: Callable[[], datetime]
    recording: Recording | None = None
    """None where rollouts are not tracked."""
    writing: Callable[[Mapping[str, Any]], AbstractContextManager[Expect]] = unheard
    """Entered with a resource's metadata while its status is written. What it gives hears of it
    where the resource need not be looked at for that.
    """
    stalled: set[Key] = field(default_factory=set)
    """Whose resources wait for somebody to act, as their last passes left them."""
    unavailable: set[Key] = field(default_factory=set)
    """Whose resources have served and have no ready pod, as their last passes left them."""

    async def reconcile(self, namespace: str, name: str) -> Plan:
        """Makes one pass and returns what it did."""
        key = (namespace, name)
        observed = await observe(self.sources, namespace, name, self.clock())
        if observed is None:
            self.turns.tell(key, rolling=False, waits=False)
            self.stalled.discard(key)
            self.unavailable.discard(key)
            if self.recording:
                self.recording.forget(key)
            return Plan(exists=False)
        if self.recording:
            observed = replace(observed, recorded=self.recording.results(key))
        told = last_status(observed)
        failed = True
        try:
            while True:
                try:
                    plan = await self._decide_and_apply(observed)
                except ChildRefused as error:
                    # What was refused is left out of the next plan, so this ends.
                    observed = observed.refused(error.refusal)
                else:
                    told, failed = plan.status or told, False
                    return plan
        finally:
            rolling, waits = standing.rolls_out(told), standing.waits_for_its_turn(told)
            under_way = standing.is_under_way(told)
            self.turns.tell(key, rolling=rolling, waits=waits, under_way=under_way, failed=failed)
            for counted, belongs in (
                (self.stalled, standing.is_stalled(told)),
                (self.unavailable, standing.is_unavailable(told)),
            ):
                (counted.add if belongs else counted.discard)(key)

    async def _decide_and_apply(self, observed: Observed) -> Plan:
        now = self.clock()
        resource = observed.resource
        key = resource.key
        plan = decide_in_turn(self.turns, key, observed, now)
        followed = plan

        async def put_status(body: Body) -> None:
            nonlocal followed
            with self.writing(body["metadata"]) as expect:
                written = await self.sources.cluster.put_status(body)
                followed = self._followed(observed, plan, written, now, expect)

        for body in plan.applies:
            self.sources.children.wrote(key, body)
        try:
            await apply(self.sources.cluster, self.emitter, observed, plan, now, put_status)
        except ChildRefused:
            # Nothing tells which of them were written. What was, and no watch has told of yet, is
            # found by its name.
            for body in plan.applies:
                self.sources.children.did_not_write(key, body)
            raise
        self._offer_records(observed, plan)
        if plan.writes:
            _log_pass(observed, plan)
        return followed

    def _followed(
        self, observed: Observed, plan: Plan, written: Body, now: datetime, expect: Expect
    ) -> Plan:
        """The plan, with the moment of the next look where none is needed over its own status."""
        world = replace(observed, rollouts_elsewhere=self.turns.limit)
        then = look_after(world, plan, written, now)
        if then is None:
            return plan
        expect(written["metadata"])
        return replace(plan, requeue_after=then.requeue_after)

    def _offer_records(self, observed: Observed, plan: Plan) -> None:
        """What waits to be recorded by the status that stands in the API server now."""
        if self.recording is None:
            return
        resource = observed.resource
        status = resource.body.get("status") or {} if plan.status is None else plan.status
        self.recording.offer(
            resource.key,
            tracking.waiting(resource, status, observed.defaults.tracking_uri),
            named=tracking.is_named_in_the_registry(status),
        )


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
