"""The history of a resource, and what `rollback` chooses from it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import reasons
from model_operator.cli import history, rollback
from model_operator.cli.errors import Failed, UsageError
from tests.operator.cli import statuses
from tests.operator.cli.statuses import NEW, OLD, record

FIRST = "0000000001"
RECORDS = [record(NEW, 3, 2), record(FIRST, 1, 1), record(OLD, 2, 1)]
NOW = datetime(2026, 1, 2, 3, 10, tzinfo=UTC)


def entries(body):
    return history.of(body, RECORDS)


def test_the_history_is_in_order_with_each_revisions_role_and_nobody_elses_records():
    stranger = record("ffffffffff", 9, 9, uid="another")
    found = history.of(statuses.canary(), [*RECORDS, stranger])
    assert [(e.number, e.revision, e.version, e.role) for e in found] == [
        (1, FIRST, "1", ""),
        (2, OLD, "1", "stable"),
        (3, NEW, "2", "canary"),
    ]


def test_a_revision_that_has_failed_is_shown_as_failed_although_it_is_still_the_canary():
    assert history.role_of(NEW, statuses.rolled_back()["status"]) == "failed"
    assert history.role_of(OLD, statuses.rolled_back()["status"]) == "stable"
    assert history.role_of(FIRST, {"retiring": FIRST}) == "retiring"


def test_the_table_is_aligned_and_says_what_each_revision_was_made_of():
    lines = history.table(entries(statuses.ready()), NOW)
    head = ["NUMBER", "REVISION", "VERSION", "URI", "SHA256", "AGE", "ROLE", "ROLLOUT"]
    assert lines[0].split() == head
    assert lines[3].split() == [
        "3", NEW, "2", "models:/cats-dogs/2", "000000000000", "10m", "stable"
    ]  # fmt: skip
    assert len({line.find("models:/") for line in lines[1:]}) == 1
    assert history.table([], NOW) == ["no revision has been made yet"]


def test_what_became_of_a_revisions_last_rollout_is_told_as_long_as_status_has_it():
    body = statuses.ready()
    began = {"revision": NEW, "startedAt": "2026-01-02T03:00:00Z"}
    ended = {"endedAt": "2026-01-02T03:01:12Z", "outcome": "RolledBack"}
    body["status"]["rollouts"] = [began]
    assert [entry.rollout for entry in entries(body)] == ["", "", ""]
    body["status"]["rollouts"] = [began | ended]
    assert [entry.rollout for entry in entries(body)] == ["", "", "rolled back, 1m12s"]
    assert history.table(entries(body), NOW)[3].endswith("stable   rolled back, 1m12s")


@pytest.mark.parametrize(
    ("body", "revision", "version", "chosen"),
    [
        (statuses.ready(), None, None, OLD),
        (statuses.canary(), None, None, OLD),
        (statuses.ready(), FIRST, None, FIRST),
        (statuses.ready(), "9c1b", None, OLD),
        (statuses.ready(), None, "1", OLD),
        (statuses.canary(), None, "2", NEW),
    ],
)
def test_a_rollback_goes_to_what_was_meant(body, revision, version, chosen):
    assert rollback.choose(body, entries(body), revision, version) == chosen


def test_by_version_the_revision_that_serves_is_not_what_is_gone_back_to():
    body = statuses.canary()
    assert rollback.choose(body, entries(body), None, "1") == FIRST


@pytest.mark.parametrize(
    ("revision", "version", "words"),
    [
        ("ffffffffff", None, "revision ffffffffff is not kept"),
        ("", None, f"may be any of {FIRST}, {OLD}, {NEW}"),
        (None, "7", "no revision of version 7 is kept"),
    ],
)
def test_a_rollback_to_what_is_not_kept_says_where_to_look(revision, version, words):
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        rollback.choose(statuses.ready(), entries(statuses.ready()), revision, version)
    assert "`kubectl md history cats-dogs`" in str(caught.value)


def test_what_was_rolled_back_automatically_is_not_rolled_back_once_more_by_mistake():
    body = statuses.rolled_back()
    with pytest.raises(Failed, match=f"{NEW} has failed, and revision {OLD} serves already"):
        rollback.choose(body, entries(body), None, None)
    assert rollback.choose(body, entries(body), FIRST, None) == FIRST


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (reasons.ROLLED_BACK, f"revision {NEW} was rolled back from, and"),
        (reasons.ABORTED, f"revision {NEW} was aborted, and"),
        (reasons.ANALYSIS_FAILED, f"revision {NEW} has failed, and"),
    ],
)
def test_what_people_have_left_is_not_said_to_have_failed(reason, words):
    body = statuses.rolled_back()
    body["status"]["lastFailure"]["reason"] = reason
    with pytest.raises(Failed, match=words):
        rollback.choose(body, entries(body), None, None)


def test_what_is_told_of_an_earlier_revision_says_nothing_of_this_one():
    body = statuses.rolled_back()
    body["status"]["lastFailure"] |= {"revision": FIRST, "reason": reasons.ABORTED}
    with pytest.raises(Failed, match=f"revision {NEW} has failed, and"):
        rollback.choose(body, entries(body), None, None)


def test_there_is_nothing_before_the_first_revision():
    body = statuses.ready()
    with pytest.raises(UsageError, match="there is no revision before"):
        rollback.choose(body, history.of(body, [record(NEW, 1, 2)]), None, None)
    with pytest.raises(UsageError, match="there is no revision before the first"):
        rollback.choose(statuses.resource(), [], None, None)


@given(st.permutations(range(6)), st.integers(0, 5))
def test_without_a_name_the_revision_right_before_the_stable_one_is_chosen(order, place):
    revisions = [f"{n:010x}" for n in range(6)]
    body = statuses.ready()
    body["status"]["stable"]["revision"] = revisions[place]
    found = history.of(body, [record(revisions[n], n + 1, n + 1) for n in order])
    if place == 0:
        with pytest.raises(UsageError):
            rollback.choose(body, found, None, None)
    else:
        assert rollback.choose(body, found, None, None) == revisions[place - 1]
