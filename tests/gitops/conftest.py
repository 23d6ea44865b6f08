"""The small world, as the operator's tests have it."""

from __future__ import annotations

import pytest

from tests.operator.builders import make_model_deployment
from tests.operator.world import World


@pytest.fixture
def live() -> World:
    """Version 1 serves with three pods."""
    world = World(make_model_deployment())
    world.settle()
    return world
