"""The parts of the campaign, run and told in figures: one line each, and what diverged above it.

Used by `python -m tests.fault` for all of it and by the tests for a sample.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dev.progress import duration, say
from tests.fault import api_faults, campaign, idle, mutations, views
from tests.fault.campaign import Outcome, Verdict
from tests.fault.paths import HURRIED
from tests.fault.stage import Stage
from tests.fault.workflows import WORKFLOWS, Workflow

TOLD_SECONDS = 30.0
"""Between two lines of a campaign that goes on."""
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """What one part has found."""

    figures: str
    """One line."""
    divergences: Sequence[str]


class NoCommit(Exception):
    """Nobody says which commit this is, so that no sample can be drawn that others could repeat."""


def seed() -> str:
    """The commit's hash: another sample for each commit, the same one for everybody.

    A pipeline says it in GITHUB_SHA: git refuses to read a checkout that belongs to another user.
    """
    if told := os.environ.get("GITHUB_SHA"):
        return told
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not (commit := done.stdout.strip()):
        raise NoCommit(
            f"git does not name the commit that samples are drawn by: {done.stderr.strip()} "
            "Set GITHUB_SHA to its hash."
        )
    return commit


Chosen = TypeVar("Chosen")


def sample_of(everything: Sequence[Chosen], size: int) -> list[Chosen]:
    """So many of them, chosen by the commit's hash."""
    chosen = random.Random(seed())
    return chosen.sample(everything, min(size, len(everything)))


class Progress:
    """Says how far trials have come, and each divergence as soon as it is found."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total = total
        self._tell = tell
        self._done = self._diverged = 0
        self._began = self._told_at = time.monotonic()

    def hear(self, verdict: Verdict) -> None:
        """One trial has ended."""
        self._done += 1
        if verdict.divergences:
            self._diverged += 1
            self._tell(f"  ... {verdict.trial}: {verdict.divergences[0]}")
        now = time.monotonic()
        if now - self._told_at >= TOLD_SECONDS:
            self._told_at = now
            left = (now - self._began) / self._done * (self._total - self._done)
            self._tell(
                f"  ... {self._done} of {self._total} deaths, {self._diverged} diverged;"
                f" about {duration(left)} left"
            )


async def deaths(
    stage: Stage,
    size: int | None = None,
    workflows: Sequence[Workflow] = WORKFLOWS,
    mutation: str | None = None,
    tell: Callable[[str], None] = say,
) -> Part:
    """The death campaign: all of it, or so many trials."""
    started = time.monotonic()
    tell(f"  ... {len(workflows)} workflows without a death, the slowest of which takes minutes")
    outcomes = await asyncio.gather(
        *(campaign.undisturbed(stage, workflow, mutation) for workflow in workflows)
    )
    expected = dict(zip((w.name for w in workflows), outcomes, strict=True))
    every = [t for w in workflows for t in campaign.trials(w, expected[w.name])]
    chosen = every if size is None else sample_of(every, size)
    verdicts = await campaign.every_trial(
        stage,
        [(trial, expected[trial.workflow.name]) for trial in chosen],
        mutation,
        Progress(len(chosen), tell).hear,
    )
    diverged = [*_undisturbed(expected), *_diverged(verdicts)]
    figures = (
        f"deaths {sum(v.died for v in verdicts)} of {len(every)}, "
        f"divergences {len(diverged)}, not reached {sum(not v.died for v in verdicts)}, "
        f"workflows {len(workflows)}, seconds {time.monotonic() - started:.0f}"
    )
    return Part(figures, [*diverged, *_unreached(verdicts)])


def _undisturbed(expected: dict[str, Outcome]) -> Iterable[str]:
    for name, outcome in expected.items():
        for violation in outcome.violations:
            yield f"{name}, undisturbed: {violation}"


def _diverged(verdicts: Iterable[Verdict]) -> Iterable[str]:
    for verdict in verdicts:
        if verdict.divergences:
            yield f"{verdict.trial}: {'; '.join(verdict.divergences)}"


def _unreached(verdicts: Iterable[Verdict]) -> list[str]:
    """Only what time decides may go unwritten: a status, or what hurries a pod along."""
    return [
        f"{verdict.trial}: never came"
        for verdict in verdicts
        if not verdict.died and not _is_decided_by_time(verdict.trial.at.label)
    ]


def _is_decided_by_time(label: str) -> bool:
    return "modeldeployments/status" in label or label == f"patch {HURRIED}"


async def lost_views(stage: Stage) -> Part:
    """Stale and lost views: all of them."""
    started = time.monotonic()
    results = await views.every_story(stage)
    diverged = [f"{r.name}: {'; '.join(r.divergences)}" for r in results if r.divergences]
    slowest = max(results, key=lambda result: result.seconds)
    figures = (
        f"lost and stale views {len(results)}, divergences {len(diverged)}, longest repair "
        f"{slowest.seconds:.1f} s of {views.REPAIR_SECONDS:.0f} s ({slowest.name}), "
        f"seconds {time.monotonic() - started:.0f}"
    )
    return Part(figures, diverged)


async def outages(stage: Stage, duration: float) -> Part:
    """Each fault of the API server for `duration` seconds."""
    started = time.monotonic()
    results = await api_faults.every_outage(stage, duration)
    diverged = [f"{r.outage.name}: {'; '.join(r.divergences)}" for r in results if r.divergences]
    for_ever = results[0]
    slowest = max(results[1:], key=lambda result: result.seconds)
    busiest = max(results, key=lambda result: result.calls_per_second)
    figures = (
        f"API faults {len(results)} of {duration:.0f} s, divergences {len(diverged)}, longest "
        f"recovery {slowest.seconds:.1f} s of {api_faults.RECOVERY_SECONDS:.0f} s "
        f"({slowest.outage.name}), silent streams {for_ever.seconds:.1f} s of "
        f"{api_faults.SILENT_STREAM_SECONDS:.0f} s, most calls {busiest.calls_per_second:.1f}/s "
        f"({busiest.outage.name}), seconds {time.monotonic() - started:.0f}"
    )
    return Part(figures, diverged)


async def idling(stage: Stage, duration: float) -> Part:
    """Settled resources for `duration` seconds."""
    results = await idle.every_idler(stage, duration)
    written = [f"{r.name}: {', '.join(r.written)}" for r in results if r.written]
    calls = sum(result.calls for result in results)
    figures = (
        f"idle resources {len(results)} for {duration:.0f} s, "
        f"writes {sum(len(r.written) for r in results)}, reads {calls}"
    )
    return Part(figures, written)


async def mutants(stage: Stage) -> Part:
    """Operators without a safety rule: each must be found out."""
    found = await mutations.every_mutation(stage)
    missed = [
        f"without {mutation.rule}: nothing says {mutation.expected!r}, but {found[mutation.rule]}"
        for mutation in mutations.MUTATIONS
        if not any(mutation.expected in words for words in found[mutation.rule])
    ]
    told = "; ".join(f"{rule}: {words[0]}" for rule, words in found.items() if words)
    return Part(f"mutations {len(found)}, not noticed {len(missed)} ({told})", missed)
