"""Whatever specs follow one another: it ends as a fresh deployment of the last one would, and a
bad spec leaves a condition and no outage.

The specs come from the CRD's own schema. SPEC_CHANGES says how many are played (2,000 by
default); the invariants of `World` hold at every write on the way.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from model_operator import observe, reasons
from tests.operator.builders import ModelDeploymentBuilder, make_model_deployment
from tests.operator.generated import specs
from tests.operator.world import World

SPEC_CHANGES = int(os.environ.get("SPEC_CHANGES", "2000"))
CHANGES_PER_STORY = 20
FLEETING = ("uid", "resourceVersion", "creationTimestamp", "managedFields")


def deployment_of(spec: dict[str, Any]) -> ModelDeploymentBuilder:
    builder = make_model_deployment()
    builder.body["spec"] = spec
    return builder


def outcome(world: World) -> dict[str, Any]:
    """What people can see of a settled world, but for its history, identities and times."""
    running = [d for d in world.deployments.values() if d["spec"]["replicas"]]
    conditions = [
        (c["type"], c["status"], c["reason"], c["message"]) for c in world.status["conditions"]
    ]
    kept = ("stable", "canary", "traffic", "model", "phase", "message", "replicas", "selector")
    return {
        "deployments": [_masked(deployment) for deployment in running],
        "service": world.service and _masked(world.service),
        "conditions": conditions,
        "status": {name: world.status.get(name) for name in kept},
        "pods": sorted(world.pods),
    }


def _masked(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in body["metadata"].items() if k not in FLEETING}
    return {**body, "metadata": metadata}


def play(world: World, spec: dict[str, Any], seen: Counter[str]) -> None:
    """One change of the spec, to its end."""
    change = deployment_of(spec)
    before = world.serving()
    invalid = observe.read_resource(change.build()).invalid
    world.edit(change)
    world.settle_quickly()
    if invalid is None:
        seen["good"] += 1
        fresh = World(change)
        fresh.settle_quickly()
        assert outcome(world) == outcome(fresh), spec
        return
    seen["bad"] += 1
    assert world.condition("Stalled") == ("True", reasons.INVALID_SPEC)
    assert world.condition("Ready") == ("False", reasons.INVALID_SPEC)
    assert world.status["message"] == invalid
    assert world.serving() == before, "a bad spec moves no requests"
    if before and world.status["replicas"]:
        assert world.condition("Available") == ("True", reasons.SERVING)


def test_any_spec_after_any_others_ends_as_if_it_had_been_the_first(
    capsys: pytest.CaptureFixture[str],
):
    seen: Counter[str] = Counter()

    @settings(
        max_examples=-(-SPEC_CHANGES // CHANGES_PER_STORY),
        # The same specs in every run, but where more are asked for.
        derandomize="SPEC_CHANGES" not in os.environ,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(specs(), min_size=CHANGES_PER_STORY, max_size=CHANGES_PER_STORY))
    def stories(story: list[dict[str, Any]]) -> None:
        world = World(make_model_deployment())
        world.settle_quickly()
        for spec in story:
            play(world, spec, seen)

    stories()
    assert seen.total() >= SPEC_CHANGES
    assert seen["bad"] * 5 > seen.total(), f"too few bad specs to say anything: {seen}"
    assert seen["good"] * 5 > seen.total(), f"too few good specs to say anything: {seen}"
    with capsys.disabled():
        figures = ", ".join(f"{kind} {count}" for kind, count in sorted(seen.items()))
        sys.stdout.write(f" spec changes {seen.total()}: {figures}; divergences 0 ")
