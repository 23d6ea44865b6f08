"""Proves that the campaign would notice: without a safety rule it must find something.

For each rule of `rollout.safety` that a workflow can break, an operator without it is played
through that workflow, and what is found is returned: the name of the rule and the divergence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.fault import workflows
from tests.fault.stage import NotWithin, Stage
from tests.fault.workflows import Workflow


@dataclass(frozen=True)
class Mutation:
    """A rule that is made to say yes, and the workflow that shows it."""

    rule: str
    workflow: Workflow
    expected: str
    """Words of the divergence that names it."""


MUTATIONS = (
    Mutation(
        "may_take_over",
        Workflow("update", workflows.nothing, workflows.update),
        "ready pods of",
    ),
    Mutation(
        "may_stop",
        Workflow("update", workflows.one_serves, workflows.update),
        "after the endpoint left it",
    ),
    Mutation(
        "has_the_cluster_for_itself",
        Workflow("recreate", workflows.one_serves_alone, workflows.update),
        "beside",
    ),
    Mutation(
        "may_have_weight",
        Workflow(
            "canary aborted", workflows.one_serves_by("Canary"), workflows.abort_while_it_waits
        ),
        "raised beside",
    ),
)


async def found(stage: Stage, mutation: Mutation) -> list[str]:
    """What the invariants and the end of the workflow say about an operator without the rule."""
    async with stage.scene(mutation.rule) as scene:
        try:
            await mutation.workflow.prepare(scene)
            await mutation.workflow.act(scene)
        except NotWithin as late:
            return [*scene.invariants.violations, f"stuck: {late}"]
        return list(scene.invariants.violations)


async def every_mutation(stage: Stage) -> dict[str, list[str]]:
    """What is found without each rule."""
    lists = await asyncio.gather(*(found(stage, mutation) for mutation in MUTATIONS))
    return {mutation.rule: list_ for mutation, list_ in zip(MUTATIONS, lists, strict=True)}
