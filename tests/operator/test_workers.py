"""The workers' loop, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from model_operator.errors import ApiError, ApiUnreachable, Conflict, NotLeading
from model_operator.plan import Plan
from model_operator.runtime.queue import WorkQueue
from model_operator.runtime.workers import work
from tests.operator.virtual_time import now, run

RESYNC_SECONDS = 300
KEY = ("vision", "cats-dogs")
CONFLICT = Conflict(409, "the object has been modified")


class ScriptedReconciler:
    """Each pass ends as the script says; notes when it was made."""

    def __init__(self, *outcomes: Plan | Exception) -> None:
        self._outcomes = list(outcomes)
        self.passes: list[float] = []
        self.ended = asyncio.Event()

    async def reconcile(self, namespace: str, name: str) -> Plan:
        assert (namespace, name) == KEY
        self.passes.append(now())
        outcome = self._outcomes.pop(0)
        if not self._outcomes:
            self.ended.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Outcomes:
    """Notes how passes ended."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def reconciled(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.heard.append(outcome)


def times_of_passes(
    *outcomes: Plan | Exception, and_none_within: float = 0, observer: Outcomes | None = None
) -> list[float]:
    """When one worker makes its passes over one key that is added at 0."""
    observer = observer or Outcomes()

    async def scenario() -> list[float]:
        queue: WorkQueue[tuple[str, str]] = WorkQueue(jitter=lambda: 1.0)
        reconciler = ScriptedReconciler(*outcomes)
        worker = asyncio.create_task(work(queue, reconciler, lambda: RESYNC_SECONDS, observer))
        queue.add(KEY)
        await reconciler.ended.wait()
        await asyncio.sleep(and_none_within)
        assert not worker.done()
        worker.cancel()
        return reconciler.passes

    return run(scenario())


WELL = Plan()


@pytest.mark.parametrize(
    ("failure", "passes"),
    [
        (ApiError(500, "etcd"), [0, 0.25, 0.75, 1.75]),
        (ApiUnreachable("refused"), [0, 0.25, 0.75, 1.75]),
        (RuntimeError("a bug"), [0, 1, 3, 7]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_worker_survives_any_failure_and_comes_back_later_each_time(failure, passes):
    assert times_of_passes(failure, failure, failure, WELL) == passes


@pytest.mark.parametrize("trouble", [ApiError(503, "no"), ApiUnreachable("no"), CONFLICT])
def test_after_hours_of_trouble_with_the_api_server_the_next_pass_is_seconds_away(trouble):
    passes = times_of_passes(*[trouble] * 2000, WELL)
    assert passes[-1] > 2 * 60 * 60
    assert max(late - early for early, late in itertools.pairwise(passes)) <= 5


def test_the_pause_that_the_api_server_asks_for_is_kept_up_to_a_minute():
    asked = [ApiError(429, "busy", retry_after=seconds) for seconds in (7, 86400)]
    assert times_of_passes(*asked, WELL) == [0, 7, 67]


def test_a_conflict_is_tried_again_at_once_and_not_without_rest():
    assert times_of_passes(CONFLICT, CONFLICT, CONFLICT, WELL) == pytest.approx(
        [0, 0.02, 0.06, 0.14]
    )


def test_a_registry_that_does_not_answer_is_asked_again_later_each_time():
    unresolved = Plan(back_off=timedelta(seconds=60), requeue_after=timedelta(seconds=30))
    passes = times_of_passes(*[unresolved] * 10, WELL)
    assert passes[:4] == [0, 1, 3, 7]
    assert passes[-1] - passes[-2] == 30, "what is due earlier is not missed"


def test_a_pass_that_went_well_makes_the_next_pause_the_first_again():
    failure = RuntimeError("a bug")
    soon = Plan(requeue_after=timedelta(seconds=10))
    assert times_of_passes(failure, failure, soon, failure, WELL) == [0, 1, 3, 13, 14]


def test_a_pass_that_lost_the_lead_ends_without_a_word_and_is_not_made_again():
    observer = Outcomes()
    with capture_logs() as logs:
        lost = NotLeading("PATCH /x is not sent: this process has lost the lead")
        passes = times_of_passes(lost, and_none_within=10 * RESYNC_SECONDS, observer=observer)
    assert (passes, observer.heard, logs) == ([0], ["deposed"], [])


def test_each_pass_is_counted_by_how_it_ended():
    observer = Outcomes()
    written = Plan(status={"phase": "Healthy"})
    outcomes = (
        CONFLICT,
        ApiError(500, "no"),
        RuntimeError("a bug"),
        Plan(back_off=timedelta(seconds=60)),
        written,
    )
    times_of_passes(*outcomes, WELL, Plan(exists=False), and_none_within=1, observer=observer)
    assert observer.heard == [
        *("conflict", "error", "broken", "delayed", "changed", "unchanged", "gone"),
    ]


def test_a_resource_is_looked_at_when_its_plan_says_and_at_the_latest_at_the_resync():
    never = Plan(requeue_after=timedelta(hours=5))
    soon = Plan(requeue_after=timedelta(seconds=7))
    assert times_of_passes(soon, WELL, never, WELL) == [0, 7, 307, 607]


def test_a_resource_that_is_gone_is_not_looked_at_again():
    passes = times_of_passes(Plan(exists=False), and_none_within=10 * RESYNC_SECONDS)
    assert passes == [0]
