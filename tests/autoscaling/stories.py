"""What people and load do to a resource under Kubernetes' own autoscaler: one function for each
story, each in a scene of its own, with a real operator.

Pods use what the requests that they get cost; the autoscaler looks every second and may shrink two
seconds later. At 70 percent of 100 millicores, 390 millicores are the work of six pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_operator import autoscaling, naming, reasons
from tests.autoscaling import metrics_api
from tests.autoscaling.chronicle import Chronicle, serving_pods, stable_pods
from tests.autoscaling.load import Load
from tests.fault import workflows
from tests.fault.house import House
from tests.fault.stage import DEADLINE_SECONDS, NAME, NotWithin, Scene, Stage

Body = dict[str, Any]
CONTROLLER_OPTIONS = (
    "--horizontal-pod-autoscaler-sync-period=1s",
    "--horizontal-pod-autoscaler-downscale-stabilization=2s",
)
LIMITS = {"minReplicas": 2, "maxReplicas": 8, "targetCPUUtilizationPercentage": 70}
SERVER = {"resources": {"requests": {"cpu": "100m"}}}
FOR_SIX, FOR_FOUR, FOR_TWO = 390, 260, 130
"""Millicores that so many pods use at 65 percent."""
FOR_SIX_OF_TEN = 740
"""With four of them a canary's, and still when those are six."""
WHOLE = range(60, 76)
"""Percent of what they request that stable's pods use when they have all requests."""
SETTLING_SECONDS = autoscaling.SETTLING.total_seconds() + DEADLINE_SECONDS
LAG_SECONDS = 8.0
"""Several looks of the autoscaler, and more than it waits before it shrinks anything."""
LATER = 62
"""A figure among those, by which the autoscaler is known to have looked again."""
HALF = range(20, 45)
"""The same while a canary has half of them."""


@dataclass(frozen=True)
class Outcome:
    """What was seen of one story."""

    name: str
    before: int = 0
    """Ready pods that got requests when the story began."""
    least: int = 0
    """The fewest there were from then on, looked at at every change of a pod or a route."""
    stable: tuple[int, ...] = ()
    """The ready pods of stable one after the other, up to the promotion where there was one."""
    divergences: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether no pod was missed."""
        return not self.divergences and self.least >= self.before > 0

    def __str__(self) -> str:
        told = [f"{self.name}: {self.before} pods before, least {self.least}", *self.divergences]
        return "\n".join(told)


@dataclass
class Play:
    """One story under way."""

    scene: Scene
    chronicle: Chronicle
    load: Load
    to_the_end: bool
    """Until the autoscaler may shrink again what the rollout has left."""

    async def autoscaler(self) -> Body | None:
        """The HorizontalPodAutoscaler, or None."""
        group = f"/apis/autoscaling/v1/namespaces/{self.scene.namespace}"
        return await self.scene.admin.get(f"{group}/horizontalpodautoscalers/{NAME}")

    async def serve(self, **spec: Any) -> None:
        """Version 1 serves, and the autoscaler has seen its load."""
        self.scene.spec |= {"server": SERVER, **spec}
        await self.scene.submit(version=1)
        await workflows.ready(self.scene)

    async def until_seen(
        self, percent: range, least: int | None = None, within: float = DEADLINE_SECONDS
    ) -> None:
        """Waits until the autoscaler has found that stable's pods use so much, and may go down to
        `least` pods.
        """

        async def seen() -> bool:
            found = await self.autoscaler() or {"spec": {}}
            used = (found.get("status") or {}).get("currentCPUUtilizationPercentage")
            requests = self.chronicle.now.requests()
            target = naming.revision_child(NAME, requests.stable) if requests else ""
            on_stable = (found["spec"].get("scaleTargetRef") or {}).get("name") == target
            limit = least in (None, found["spec"].get("minReplicas"))
            return on_stable and limit and used in percent

        what = f"the autoscaler sees {percent} percent, at least {least} pods"
        await self.scene.until(seen, what, within)

    async def until_over(self, pods: int) -> None:
        """Waits until the autoscaler has seen that stable has all requests again; to the end, until
        it may do what it finds right, and has looked once more.
        """
        await self.until_seen(WHOLE)
        if self.to_the_end:
            await self.until_seen(WHOLE, least=LIMITS["minReplicas"], within=SETTLING_SECONDS)
            self.load.demand = LATER * pods
            await self.until_seen(range(LATER, LATER + 1))
        await self.until_stable_has(pods)

    async def until_stable_has(self, pods: int) -> None:
        """Waits until stable has exactly so many pods that are ready."""

        async def has() -> bool:
            return stable_pods(self.chronicle.now) == pods

        await self.scene.until(has, f"stable has {pods} pods")

    async def switch_off(self, version: int) -> None:
        """Takes autoscaling out of the spec, and waits until there is none any more and nothing is
        left to do. By a patch: an API server of 1.20 cannot take a member out by an apply.
        """
        model = {"uri": f"models:/{NAME}/{version}"}
        await self.scene.admin.patch(
            self.scene.path(), {"spec": {"autoscaling": None, "model": model}}
        )

        async def off() -> bool:
            return await self.autoscaler() is None

        await self.scene.until(off, "there is no autoscaler")
        await workflows.ready(self.scene)

    def stable(self) -> tuple[int, ...]:
        """What stable had since the mark, each size once."""
        return tuple(size for size, _ in itertools.groupby(self.chronicle.since_mark(stable_pods)))

    def outcome(self, name: str, stable: tuple[int, ...] | None = None) -> Outcome:
        """What was seen since the mark."""
        serving = self.chronicle.since_mark(serving_pods)
        violations = tuple(self.scene.invariants.violations)
        path = self.stable() if stable is None else stable
        return Outcome(name, serving[0], min(serving), path, violations)


Story = Callable[[Play], Awaitable[Outcome]]


async def follow_the_load(play: Play) -> Outcome:
    """The load rises and falls again."""
    play.load.demand = FOR_TWO
    await play.serve(replicas=2, autoscaling=LIMITS)
    await play.until_seen(WHOLE)
    play.chronicle.mark()
    play.load.demand = FOR_SIX
    await play.until_stable_has(6)
    await play.until_seen(WHOLE)
    play.load.demand = FOR_TWO
    await play.until_stable_has(2)
    return play.outcome("load up and down")


def canary(**spec: Any) -> Story:
    """A whole canary at six pods: the autoscaler sees that half of the requests are gone."""

    async def story(play: Play) -> Outcome:
        await _six_serve(play, strategy=workflows.CANARY, **spec)
        await workflows.introduce(play.scene)
        await play.until_seen(HALF, least=6)
        stable = play.stable()
        await play.scene.ask("promote")
        await workflows.ready(play.scene)
        await play.until_over(6)
        provider = spec.get("traffic", {}).get("provider", "Service")
        return play.outcome(f"canary under an HPA at 6, provider {provider}", stable)

    return story


async def abort(play: Play) -> Outcome:
    """A canary that is aborted with half of the requests: stable has its pods at once, and keeps
    them although the autoscaler hears of the requests late.
    """
    await _six_serve(play, strategy=workflows.CANARY)
    await workflows.introduce(play.scene)
    await play.until_seen(HALF, least=6)
    play.load.lag = LAG_SECONDS
    await play.scene.ask("abort")
    await play.scene.until_condition(reasons.STALLED, "True", reasons.ABORTED)

    async def alone() -> bool:
        sizes = [b["spec"]["replicas"] for b in (await play.scene.deployments()).values()]
        return sorted(sizes) == [0, 6]

    await play.scene.until(alone, "version 2 is stopped")
    await play.until_over(6)
    return play.outcome("aborted canary")


async def rise_in_a_canary(play: Play) -> Outcome:
    """The load rises while a canary has a part of it, and falls again before the promotion."""
    play.load.demand = FOR_FOUR
    await play.serve(replicas=4, autoscaling=LIMITS, strategy=workflows.CANARY)
    await play.until_seen(WHOLE)
    play.chronicle.mark()
    await workflows.introduce(play.scene)
    play.load.demand = FOR_SIX_OF_TEN
    await play.until_stable_has(6)
    play.load.demand = FOR_FOUR
    await play.until_seen(HALF, least=6)
    stable = play.stable()
    await play.scene.ask("promote")
    await workflows.ready(play.scene)
    return play.outcome("load rises in a canary", stable)


async def switch(play: Play) -> Outcome:
    """On, off, on, and off together with another version."""
    await play.serve(replicas=6)
    play.load.demand = FOR_SIX
    play.chronicle.mark()
    for last in (1, 2):
        await play.scene.submit(version=1, autoscaling=LIMITS)
        await play.until_seen(WHOLE, least=2)
        await play.switch_off(version=last)
    return play.outcome("switched on and off")


CANARIES: Mapping[str, Story] = {
    "canary by Service": canary(),
    "canary by Router": canary(traffic=workflows.ROUTER),
}
SWITCHES: Mapping[str, Story] = {"switch": switch}
OTHERS: Mapping[str, Story] = {
    "load": follow_the_load,
    "abort": abort,
    "load in a canary": rise_in_a_canary,
}


async def _six_serve(play: Play, **spec: Any) -> None:
    play.load.demand = FOR_SIX
    await play.serve(replicas=6, autoscaling=LIMITS, **spec)
    await play.until_seen(WHOLE, least=2)  # it may shrink what serves
    play.chronicle.mark()


@contextlib.asynccontextmanager
async def _stand(stage: Stage, *, to_the_end: bool) -> AsyncIterator[Play]:
    async with stage.scene() as scene:
        chronicle = Chronicle(stage.admin, scene.namespace)
        async with chronicle.recording(), Load(chronicle, 0).playing() as load:
            yield Play(scene, chronicle, load, to_the_end)


async def play(stage: Stage, name: str, story: Story, *, to_the_end: bool = False) -> Outcome:
    """One story, and what came of it."""
    async with _stand(stage, to_the_end=to_the_end) as under_way:
        try:
            return await story(under_way)
        except NotWithin as late:
            return Outcome(name, divergences=(str(late), *under_way.scene.invariants.violations))


async def play_all(
    opened: House, every: Mapping[str, Story], *, to_the_end: bool = False
) -> dict[str, Outcome]:
    """Every story at the same time: they are mostly waiting."""
    async with opened.stage() as stage:
        await metrics_api.install(stage.admin)
        playing = (play(stage, *one, to_the_end=to_the_end) for one in every.items())
        return dict(zip(every, await asyncio.gather(*playing), strict=True))
