"""The death campaign: the operator is killed at every write of every workflow, both ways.

For each workflow one run is undisturbed; it names the writes. Then, for each write, a new
namespace and a new operator: it is killed before the write is sent, or (children only: otherwise
that is the death before the next write) after it is committed and before the answer comes back, is
started again, and the run goes on to its end. What must be equal to the undisturbed run:

- the end state: every object of the namespace, masked (see `end_state`);
- how often each child was written, by verb: applies, scales, deletes;
- the path of the status. How many statuses are written depends on how events fall together, so
  their number cannot be demanded. What is demanded: no status equals the one before it (an
  invariant), and the milestones (reasons of Ready and Progressing, stable, canary, traffic), with
  stutter removed, are those of the undisturbed run in its order: some may be passed over while
  the operator was dead, but none is new, and none comes back.

Besides, every write is checked by `invariants`, in every run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.fault.end_state import differences, end_state, kinds
from tests.fault.faults import Death, When, WriteName
from tests.fault.stage import NotWithin, Scene, Stage
from tests.fault.workflows import Workflow

ATTEMPTS = 3
"""A status that events falling together have skipped is not written: then the run is repeated."""

CERTAIN_SECONDS = 5.0
"""On a busy machine the last pass may come late: so long a rest is the end."""

Milestone = tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """What one run leaves behind."""

    end: Mapping[str, Any]
    counts: Mapping[str, int]
    milestones: Sequence[Milestone]
    writes: Sequence[WriteName]
    violations: Sequence[str]


@dataclass(frozen=True)
class Trial:
    """One death to be died."""

    workflow: Workflow
    at: WriteName
    when: When

    def __str__(self) -> str:
        return f"{self.workflow.name}: killed at {self.at}, {self.when.value}"


@dataclass(frozen=True)
class Verdict:
    """What became of a trial."""

    trial: Trial
    divergences: tuple[str, ...] = ()
    died: bool = True
    """False when the write never came, in any attempt."""
    seconds: float = 0.0


async def undisturbed(stage: Stage, workflow: Workflow, mutation: str | None = None) -> Outcome:
    """A run in which nobody dies."""
    async with stage.scene(mutation) as scene:
        mark = await prepare(scene, workflow)
        await workflow.act(scene)
        await scene.until_quiet(CERTAIN_SECONDS)
        return await outcome(scene, mark)


async def prepare(scene: Scene, workflow: Workflow) -> int:
    """Brings the scene to where the deaths begin; returns the record's length there."""
    await workflow.prepare(scene)
    await scene.until_listening()
    await scene.until_quiet()
    return len(scene.proxy.record.calls)


async def outcome(scene: Scene, mark: int) -> Outcome:
    """Reads off what a run has left."""
    record = scene.proxy.record
    return Outcome(
        end=await end_state(scene.admin, await kinds(scene.admin), scene.namespace),
        counts=record.counts(mark),
        milestones=path_of(record.statuses(mark)),
        writes=tuple(names(record.accepted(mark))),
        violations=tuple(scene.invariants.violations),
    )


def names(labels: Iterable[str]) -> Iterator[WriteName]:
    """Each accepted write by its label and its number among those of that label."""
    seen: dict[str, int] = {}
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        yield WriteName(label, seen[label])


def path_of(statuses: Iterable[Mapping[str, Any]]) -> list[Milestone]:
    """The milestones of a run, with stutter removed."""
    path: list[Milestone] = []
    for status in statuses:
        reached = milestone(status)
        if not path or path[-1] != reached:
            path.append(reached)
    return path


def milestone(status: Mapping[str, Any]) -> Milestone:
    """Where a status says that the rollout stands."""
    reasons = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions") or ()}
    weights = tuple((part["revision"], part["weight"]) for part in status.get("traffic") or ())
    return (
        status.get("observedGeneration"),
        reasons.get("Ready"),
        reasons.get("Progressing"),
        (status.get("stable") or {}).get("revision"),
        (status.get("canary") or {}).get("revision"),
        weights,
    )


async def die(stage: Stage, trial: Trial, expected: Outcome, mutation: str | None) -> Verdict:
    """One run with one death, compared with the undisturbed one."""
    started = time.monotonic()
    for _ in range(ATTEMPTS):
        async with stage.scene(mutation) as scene:
            try:
                mark = await prepare(scene, trial.workflow)
            except NotWithin as late:
                words = (f"stuck before anybody died: {late}", *scene.invariants.violations)
                return Verdict(trial, words, seconds=time.monotonic() - started)
            death = Death(trial.at, trial.when, since=mark)
            scene.proxy.add(death)
            resurrection = asyncio.create_task(resurrect(scene, death))
            try:
                await trial.workflow.act(scene)
                await scene.until_quiet()
                found = await outcome(scene, mark)
                if any(compare(expected, found)):
                    await scene.until_quiet(CERTAIN_SECONDS)
                    found = await outcome(scene, mark)
            except NotWithin as late:
                words = (f"stuck: {late}", *scene.invariants.violations)
                return Verdict(trial, words, seconds=time.monotonic() - started)
            finally:
                resurrection.cancel()
        if divergences := tuple(compare(expected, found)):
            told = f"written: {scene.proxy.record.story(mark)}"
            return Verdict(trial, (*divergences, told), seconds=time.monotonic() - started)
        if death.happened.is_set():
            return Verdict(trial, seconds=time.monotonic() - started)
    return Verdict(trial, died=False, seconds=time.monotonic() - started)


async def resurrect(scene: Scene, death: Death) -> None:
    """Starts the operator again as soon as it is dead."""
    await death.happened.wait()
    await scene.start()


def compare(expected: Outcome, found: Outcome) -> Iterator[str]:
    """How a run differs from the undisturbed one; nothing when it does not."""
    yield from found.violations
    for difference in differences(expected.end, found.end):
        yield f"end state: {difference}"
    for label in sorted({*expected.counts, *found.counts}):
        wanted, written = expected.counts.get(label, 0), found.counts.get(label, 0)
        if wanted != written:
            yield f"{label}: written {written} times instead of {wanted}"
    remaining = iter(expected.milestones)
    for reached in found.milestones:
        if reached not in remaining:
            yield f"status: {reached} is not on the undisturbed path {expected.milestones}"


def trials(workflow: Workflow, expected: Outcome) -> list[Trial]:
    """Every write of the undisturbed run; those of children both ways."""
    return [
        Trial(workflow, at, when)
        for at in expected.writes
        for when in ((When.BEFORE, When.AFTER) if at.label in expected.counts else (When.BEFORE,))
    ]


async def every_trial(
    stage: Stage,
    chosen: Iterable[tuple[Trial, Outcome]],
    mutation: str | None,
    hear: Callable[[Verdict], None],
) -> list[Verdict]:
    """Runs the trials, as many at a time as the stage allows; each verdict is heard at once."""

    async def one(trial: Trial, known: Outcome) -> Verdict:
        verdict = await die(stage, trial, known, mutation)
        hear(verdict)
        return verdict

    return list(await asyncio.gather(*(one(trial, known) for trial, known in chosen)))
