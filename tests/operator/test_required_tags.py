"""spec.model.requiredTags, told as stories: what is not validated does not disturb what serves."""

from __future__ import annotations

import pytest

from model_operator import reasons
from model_operator.errors import ResolutionRefused
from tests.operator.builders import make_model_deployment
from tests.operator.world import World

SECOND = make_model_deployment().version(2).model(requiredTags={"validation": "passed"})
WORDS = "models:/cats-dogs/2 is not served: the tag validation is 'failed'"


@pytest.fixture
def unvalidated(live: World) -> World:
    """Version 1 serves, and version 2, which the spec means, has not the tags."""
    live.edit(SECOND)
    live.resolution_error = ResolutionRefused(reasons.NOT_VALIDATED, WORDS)
    live.one_pass()
    return live


def test_a_version_that_is_not_validated_is_told_of_and_what_serves_keeps_serving(
    unvalidated: World,
):
    assert unvalidated.condition("ModelResolved") == ("False", reasons.NOT_VALIDATED)
    assert unvalidated.condition("Stalled") == ("True", reasons.NOT_VALIDATED)
    assert unvalidated.condition("Available") == ("True", reasons.SERVING)
    assert unvalidated.status["message"] == WORDS
    unvalidated.settle()
    assert unvalidated.serving_version() == "1"
    assert unvalidated.replicas_by_version() == {"1": 3}


def test_a_version_that_is_validated_later_goes_live_without_another_apply(unvalidated: World):
    plan = unvalidated.one_pass()
    assert not plan.writes
    assert plan.back_off is None, "the resync asks again; nobody hurries"
    unvalidated.resolution_error = None
    unvalidated.settle()
    assert unvalidated.serving_version() == "2"
    assert unvalidated.status["phase"] == "Healthy"


def test_what_is_required_later_of_a_version_that_serves_stops_no_pod(live: World):
    live.edit(make_model_deployment().model(requiredTags={"validation": "passed"}))
    live.resolution_error = ResolutionRefused(reasons.NOT_VALIDATED, WORDS)
    live.settle()
    assert live.condition("Ready") == ("False", reasons.NOT_VALIDATED)
    assert live.condition("Available") == ("True", reasons.SERVING)
    assert live.replicas_by_version() == {"1": 3}
