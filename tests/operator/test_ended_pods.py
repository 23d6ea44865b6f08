"""Pods that were evicted lie about for long, as phase Failed, and hold nothing up."""

from __future__ import annotations

import pytest

from tests.operator.builders import make_model_deployment
from tests.operator.stories import canary
from tests.operator.world import World


@pytest.mark.parametrize("strategy", ["Standard", "Recreate", "Canary"])
def test_a_rollout_ends_well_beside_what_is_left_of_evicted_pods(strategy: str):
    plain = make_model_deployment().strategy(strategy)
    first = canary({"setWeight": 50}) if strategy == "Canary" else plain
    world = World(first)
    world.settle()
    for version in (2, 3):
        world.evict(str(version - 1))
        world.settle()
        world.edit(first.version(version))
        world.settle()
        assert world.serving_version() == str(version)
        assert world.status["phase"] == "Healthy"


def test_a_retired_revision_of_which_only_an_evicted_pod_is_left_is_collected():
    first = make_model_deployment().spec(revisionHistoryLimit=0)
    world = World(first)
    world.settle()
    world.evict("1")
    world.settle()
    world.edit(first.version(2))
    world.settle()
    assert world.replicas_by_version() == {"2": 3}
