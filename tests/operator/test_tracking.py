"""Which records a status asks for, and what they may say of registered versions."""

from __future__ import annotations

import pytest

from model_operator import observe, tracking
from model_operator.api import RolloutStatus
from model_operator.tracking import RegisteredVersion, RolloutRecord
from tests.operator.builders import make_model_deployment
from tests.operator.rollout_records import rollout

OWN, OTHER = "http://mlflow.ml:5000", "https://mlflow.other.example"
SECOND = RegisteredVersion("cats-dogs", "2")


def waiting(*newest_first: RolloutStatus, stable: int = 2) -> list[RolloutRecord]:
    """The oldest first."""
    status = {
        "stable": {"revision": f"{stable:010x}"},
        "rollouts": [one.model_dump(by_alias=True, exclude_none=True) for one in newest_first],
    }
    resource = observe.read_resource(make_model_deployment().build())
    return list(tracking.waiting(resource, status, OWN))


def test_the_oldest_record_comes_first_and_what_is_written_is_not_asked_for():
    found = waiting(rollout(4, 4), rollout(3, 3, record="Written"), rollout(2, 2))
    assert [one.rollout.number for one in found] == [2, 4]


def test_a_version_that_was_rolled_out_again_is_told_of_by_the_last_rollout_alone():
    failed = rollout(2, 2, outcome="RolledBack", reason="AnalysisFailed")
    found = waiting(rollout(2, 3), failed)
    assert [(one.newest, one.live) for one in found] == [(False, False), (True, True)]


def test_a_version_is_live_since_it_came_back_and_not_since_it_was_there_before():
    found = waiting(rollout(2, 4), rollout(3, 3), rollout(2, 2))
    assert [one.live for one in found] == [False, False, True]


def test_a_rollout_that_is_under_way_takes_nothing_back_of_the_last_one_of_its_version():
    under_way = rollout(2, 3, ended_at=None, outcome=None, record=None)
    (found,) = waiting(under_way, rollout(2, 2))
    assert found.newest


def test_other_settings_of_the_same_version_that_failed_leave_it_live():
    failed = rollout(2, 3, revision="f" * 10, outcome="RolledBack")
    found = waiting(failed, rollout(2, 2))
    assert [(one.newest, one.live) for one in found] == [(False, True), (True, False)]


@pytest.mark.parametrize(
    ("registry", "target"),
    [(None, SECOND), (OWN, SECOND), (f"{OWN}/", SECOND), (OTHER, None)],
)
def test_a_version_is_tagged_where_it_was_resolved_and_nowhere_else(registry, target):
    (found,) = waiting(rollout(registry=registry))
    assert found.target == target
    (found,) = waiting(rollout(from_registry=registry))
    assert (found.origin is None) == (target is None)
