"""Which action a verb writes, and what counts as the operator's answer to it."""

from __future__ import annotations

from typing import Any

import pytest

from model_operator.actions import ANNOTATION, Action, Verb
from model_operator.cli.asking import action, answer_to, new_id
from tests.operator.cli import statuses
from tests.operator.cli.statuses import NEW, OLD


@pytest.mark.parametrize(
    ("verb", "body", "revision", "step"),
    [
        (Verb.PROMOTE, statuses.canary(step=3), NEW, 3),
        (Verb.ABORT, statuses.canary(step=3), NEW, None),
        (Verb.RETRY, statuses.rolled_back(), NEW, None),
        (Verb.PAUSE, statuses.canary(step=3), None, None),
        (Verb.RESUME, statuses.canary(step=3), None, None),
        (Verb.RESOLVE, statuses.canary(step=3), None, None),
        (Verb.ABORT, statuses.resource(), None, None),
    ],
)
def test_an_action_holds_for_what_was_seen_and_for_no_more_than_it_must(verb, body, revision, step):
    wanted = action(verb, body, "id")
    assert (wanted.revision, wanted.step, wanted.generation) == (revision, step, 7)


def test_a_rollback_holds_for_the_revision_that_was_chosen():
    assert action(Verb.ROLLBACK, statuses.ready(), "id", OLD).revision == OLD


def test_no_two_ids_are_the_same():
    assert len({new_id(Verb.ABORT) for _ in range(50)}) == 50


def answered(
    last: str, accepted: bool = True, earlier: tuple[str, ...] = (), annotation: str = "mine"
) -> dict[str, Any]:
    body = statuses.canary()
    body["status"] |= {
        "lastActionId": last,
        "lastAction": {"accepted": accepted, "message": "words", "generation": 7},
        "earlierActionIds": list(earlier),
    }
    body["metadata"]["annotations"] = {ANNOTATION: f'{{"id": "{annotation}"}}'}
    return body


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (answered("mine"), (True, "words")),
        (answered("mine", accepted=False), (False, "words")),
        (answered("before"), None),
        (answered("after", earlier=("mine",), annotation="after"), (None, "another action came")),
        (answered("before", annotation="after"), (False, "somebody else's action replaced it")),
    ],
)
def test_only_the_answer_to_this_very_action_counts(body, answer):
    found = answer_to(Action(id="mine", verb=Verb.ABORT), body)
    if answer is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] is answer[0]
        assert answer[1] in found[1]
