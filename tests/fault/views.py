"""Stale and lost views: what the operator is told is old, or it is never told.

Each story changes the world while the news of it is lost, and demands that the operator repairs
or follows it all the same, within REPAIR_SECONDS. A story is told twice: with the one event lost
that speaks of the change, and with every event lost until the change is done.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from model_operator import api, naming, reasons, revisions
from tests.deadlines import within
from tests.fault import workflows
from tests.fault.campaign import compare, outcome
from tests.fault.end_state import differences, end_state, kinds
from tests.fault.faults import Death, DropEvents, Event, OldLists, When, WriteName
from tests.fault.news import (
    NEWS,
    NEWS_OF_A_ROLLOUT,
    LostNews,
    delete_and_recreate,
    is_ready,
    second_version_serves,
)
from tests.fault.paths import Request
from tests.fault.stage import NAME, NotWithin, Scene, Stage
from tests.operator.builders import digest_of
from tests.operator.pod_player import Part

REPAIR_SECONDS = 30.0
FIRST = naming.revision_child(NAME, revisions.revision_id(digest_of(1), {}))
"""What version 1's children are called."""
QUIET_SECONDS = 2.0
"""A change that nobody follows has no more events when none has come for so long."""
INFORMED = {
    "modeldeployments": f"/apis/{api.API_VERSION}/modeldeployments",
    "deployments": "/apis/apps/v1/deployments",
    "controllerrevisions": "/apis/apps/v1/controllerrevisions",
    "services": "/api/v1/services",
    "pods": "/api/v1/pods",
    "endpoints": "/api/v1/endpoints",
}

Body = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What became of one story."""

    name: str
    seconds: float = 0.0
    """From the change to its repair."""
    divergences: tuple[str, ...] = ()


@dataclass
class Deafness:
    """Every event is lost; it knows when the last that comes of a change is among them."""

    news: LostNews
    told: bool = False
    """Whether the event that speaks of the change was lost."""
    last: float = 0.0
    """When the change ended or, if that was later, an event was lost."""

    def loses(self, request: Request, event: Event) -> bool:
        """For `DropEvents`: all but bookmarks, which tell of nothing."""
        if event["type"] == "BOOKMARK":
            return False
        self.told = self.told or self.news.lost(request, event)
        self.last = time.monotonic()
        return True

    def change_ended(self) -> None:
        """From now on it can be quiet."""
        self.last = time.monotonic()

    async def is_complete(self) -> bool:
        """Whether the news was lost, and nothing has come for a while: nobody follows it."""
        return self.told and time.monotonic() - self.last >= QUIET_SECONDS


async def lose_news(stage: Stage, news: LostNews, *, everything: bool) -> Result:
    """Changes the world unheard, and waits until that is repaired."""
    name = f"{news.name}, {'every event' if everything else 'one event'} lost"
    async with stage.scene() as scene:
        await workflows.one_serves(scene)
        if news in NEWS_OF_A_ROLLOUT:
            await workflows.start_version_2_and_hold_it(scene)
        await scene.until_quiet()
        deaf = Deafness(news)
        loss = DropEvents(deaf.loses, count=10**9) if everything else DropEvents(news.lost)
        scene.proxy.add(loss)
        try:
            changed = time.monotonic()
            await news.change(scene)
            if everything:
                deaf.change_ended()
                await scene.until(deaf.is_complete, f"{name}, to the last", REPAIR_SECONDS)
                scene.proxy.remove(loss)
                changed = time.monotonic()
            await scene.until(lambda: news.repaired(scene), name, REPAIR_SECONDS)
            seconds = time.monotonic() - changed
            await scene.until(lambda: is_ready(scene), f"{name}: ready again")
        except NotWithin as late:
            return Result(name, REPAIR_SECONDS, (str(late), *scene.invariants.violations))
        if not loss.dropped:
            return Result(name, seconds, ("no event was lost: the story proves nothing",))
        return Result(name, seconds, tuple(scene.invariants.violations))


async def old_lists(scene: Scene) -> OldLists:
    """What informers would be told now, to be told again later."""
    found = {}
    for plural, path in INFORMED.items():
        prefix, _, last = path.rpartition("/")
        scoped = f"{prefix}/namespaces/{scene.namespace}/{last}"
        selector = "" if plural == "modeldeployments" else naming.MANAGED_SELECTOR
        found[plural] = await scene.admin.raw(scoped, selector)
    return OldLists(found)


async def restart_at_rest_onto_old_lists(stage: Stage) -> Result:
    """Version 2 serves; a restarted operator is told that version 1 does. It writes nothing."""
    name = "restart at rest onto older lists"
    async with stage.scene() as scene:
        await workflows.one_serves(scene)
        old = await old_lists(scene)
        await workflows.update(scene)
        await scene.until_quiet()
        paths = await kinds(scene.admin)
        before = await end_state(scene.admin, paths, scene.namespace)
        mark = len(scene.proxy.record.calls)
        scene.proxy.add(old)
        await scene.restart()
        await scene.until_listening()
        await scene.until_quiet(5.0)
        after = await end_state(scene.admin, paths, scene.namespace)
        written = [f"{label} was written" for label in scene.proxy.record.accepted(mark)]
        return Result(name, 0.0, (*written, *differences(before, after), *_unread(old)))


async def restart_in_mid_rollout_onto_old_lists(stage: Stage) -> Result:
    """A restarted operator is told of the time before the rollout, and finishes it all the same."""
    name = "restart in mid-rollout onto older lists"

    async def play(scene: Scene, *, disturbed: bool) -> tuple[Any, OldLists]:
        await workflows.one_serves(scene)
        await scene.until_quiet()
        old = await old_lists(scene)
        mark = len(scene.proxy.record.calls)
        await workflows.start_version_2_and_hold_it(scene)
        if disturbed:
            scene.proxy.add(old)
            await scene.restart()
            await scene.until_listening()
        scene.play(Part())
        await workflows.ready(scene)
        await scene.until_quiet()
        return await outcome(scene, mark), old

    async with stage.scene() as calm, stage.scene() as scene:
        try:
            (expected, _), (found, old) = await asyncio.gather(
                play(calm, disturbed=False), play(scene, disturbed=True)
            )
        except NotWithin as late:
            return Result(name, 0.0, (str(late), *scene.invariants.violations))
        return Result(name, 0.0, (*compare(expected, found), *_unread(old)))


async def restart_onto_lists_of_a_namesake(stage: Stage) -> Result:
    """Deleted and made anew while the operator is dead; restarted, it is told of the first one."""
    name = "made anew under the same name, restart onto the lists of the first"
    async with stage.scene() as scene:
        await workflows.one_serves(scene)
        await scene.until_quiet()
        old = await old_lists(scene)
        await scene.operator.kill()
        await delete_and_recreate(scene)
        scene.proxy.add(old)
        started = time.monotonic()
        await scene.start()
        try:
            await scene.until(lambda: second_version_serves(scene), name, REPAIR_SECONDS)
        except NotWithin as late:
            return Result(name, REPAIR_SECONDS, (str(late), *scene.invariants.violations))
        seconds = time.monotonic() - started
        return Result(name, seconds, (*scene.invariants.violations, *_unread(old)))


async def flap(stage: Stage) -> Result:
    """A pod is unready for a moment: status says so and recovers, and no child is touched."""
    name = "a serving pod flaps"
    async with stage.scene() as scene:
        try:
            await workflows.one_serves(scene)
            await scene.until_quiet()
            mark, started = len(scene.proxy.record.calls), time.monotonic()
            flapping, _ = [pod["metadata"]["name"] for pod in await scene.pods()]
            scene.play(Part(held=lambda pod: pod["metadata"]["name"] == flapping))
            await scene.until_condition(reasons.READY, "False", reasons.SCALING, REPAIR_SECONDS)
            scene.play(Part())
            await scene.until(lambda: is_ready(scene), name, REPAIR_SECONDS)
        except NotWithin as late:
            return Result(name, REPAIR_SECONDS, (str(late), *scene.invariants.violations))
        written = [f"{label} was written" for label in scene.proxy.record.counts(mark)]
        seconds = time.monotonic() - started
        return Result(name, seconds, (*written, *scene.invariants.violations))


async def delete_while_dead(stage: Stage, at: WriteName) -> Result:
    """The operator dies in the midst of a creation and never sees the deletion: nothing is left."""
    name = f"deleted while dead, killed at {at}"
    async with stage.scene() as scene:
        await scene.until_listening()
        death = Death(at, When.AFTER)
        scene.proxy.add(death)
        await scene.submit(version=1)
        await within(REPAIR_SECONDS, death.happened.wait())
        await scene.delete()
        mark = len(scene.proxy.record.calls)
        await scene.start()
        try:
            await workflows.gone(scene)
            await scene.until_quiet()
        except NotWithin as late:
            return Result(name, REPAIR_SECONDS, (str(late), *scene.invariants.violations))
        written = [f"{label} was written" for label in scene.proxy.record.accepted(mark)]
        return Result(name, 0.0, (*written, *scene.invariants.violations))


def _unread(old: OldLists) -> list[str]:
    """Whether the operator was really told the old."""
    return [] if old.replayed else ["no older list was read: the story proves nothing"]


async def every_story(stage: Stage) -> list[Result]:
    """All of them, as many at a time as the stage allows."""
    losses = [
        lose_news(stage, news, everything=everything)
        for news in (*NEWS, *NEWS_OF_A_ROLLOUT)
        for everything in (False, True)
    ]
    deletions = [
        delete_while_dead(stage, WriteName(f"patch {child}", 1))
        for child in (
            f"controllerrevisions {FIRST}",
            f"deployments {FIRST}",
            f"services {NAME}",
        )
    ]
    restarts = (
        flap,
        restart_at_rest_onto_old_lists,
        restart_in_mid_rollout_onto_old_lists,
        restart_onto_lists_of_a_namesake,
    )
    return list(
        await asyncio.gather(*losses, *deletions, *(restart(stage) for restart in restarts))
    )
