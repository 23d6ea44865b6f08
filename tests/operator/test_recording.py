"""The queue before the tracker, in virtual time: what fails costs a pause, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from model_operator.clients.view import Key
from model_operator.errors import MlflowError, MlflowRefused, MlflowUnreachable, NotLeading
from model_operator.runtime import recording as recording_module
from model_operator.runtime.recording import LONGEST_PAUSE_SECONDS, Recording
from model_operator.tracking import RolloutRecord
from tests.operator.rollout_records import record, rollout
from tests.operator.virtual_time import now, run

HOUR = 3600.0
KEY = ("vision", "cats-dogs")


class Shelf:
    """A tracker that keeps what it is given, and fails as it is told."""

    def __init__(self) -> None:
        self.failure: Callable[[str], Exception | None] = lambda name: None
        self.taken: list[RolloutRecord] = []
        self.withdrawn: list[Key] = []
        self.attempts: list[float] = []
        self.tried: list[RolloutRecord] = []
        self.seconds = 0.0
        """How long an attempt takes."""

    async def record(self, record: RolloutRecord) -> None:
        self.tried.append(record)
        await self._attempt(record.name)
        self.taken.append(record)

    async def withdraw(self, namespace: str, name: str) -> None:
        await self._attempt(name)
        self.withdrawn.append((namespace, name))

    async def _attempt(self, name: str) -> None:
        self.attempts.append(now())
        await asyncio.sleep(self.seconds)
        if error := self.failure(name):
            raise error


class Scene:
    """A recording at work, and what passes and metrics hear of it."""

    def __init__(self) -> None:
        self.tracker = Shelf()
        self.told: list[Key] = []
        self.outcomes: Counter[str] = Counter()
        self.recording = Recording(self.tracker, self.told.append, self, jitter=lambda: 1.0)

    def tracked(self, outcome: str) -> None:
        self.outcomes[outcome] += 1

    def offer(self, *records: RolloutRecord, named: bool = True) -> None:
        """As a pass does it."""
        self.recording.offer(KEY, records, named=named)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recording.run())
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def unreachable(name: str) -> Exception:
    return MlflowUnreachable("the registry at http://mlflow cannot be reached")


def test_a_record_is_written_once_and_a_pass_is_told_and_finds_what_became_of_it():
    async def scenario():
        scene, one = Scene(), record()
        async with scene.at_work():
            scene.offer(one)
            scene.offer(one)
            await asyncio.sleep(1)
            scene.offer(one)
            await asyncio.sleep(HOUR)
        assert scene.tracker.taken == [one]
        assert scene.told == [KEY]
        assert scene.recording.results(KEY) == {one.identity: "Written"}
        assert scene.outcomes == {"written": 1}
        scene.offer()
        assert scene.recording.results(KEY) == {}, "status says it now"

    run(scenario())


def test_a_record_that_is_offered_while_it_is_being_written_is_written_once():
    async def scenario():
        scene, one = Scene(), record()
        scene.tracker.seconds = 10
        async with scene.at_work():
            scene.offer(one)
            await asyncio.sleep(5)
            assert scene.recording.waiting() == 1
            scene.offer(one)
            await asyncio.sleep(HOUR)
        assert scene.tracker.taken == [one]
        assert scene.recording.waiting() == 0

    run(scenario())


def test_a_server_that_is_down_for_hours_is_asked_seldom_and_told_of_twice():
    async def scenario():
        scene = Scene()
        scene.tracker.failure = unreachable
        records = [record(uid=str(number)) for number in range(1000)]
        with capture_logs() as logs:
            async with scene.at_work():
                for one in records:
                    scene.offer(one)
                await asyncio.sleep(10 * HOUR)
                assert len(scene.tracker.attempts) < 10 * HOUR / LONGEST_PAUSE_SECONDS + 12
                assert scene.recording.waiting() == len(records)
                scene.tracker.failure = lambda name: None
                await asyncio.sleep(2 * LONGEST_PAUSE_SECONDS)
        assert sorted(r.identity for r in scene.tracker.taken) == sorted(
            r.identity for r in records
        )
        said = [(line["log_level"], line["event"]) for line in logs]
        assert said == [
            ("warning", "rollouts are not recorded now; tried again, later each time"),
            ("info", "rollouts are recorded again"),
        ]

    run(scenario())


@pytest.mark.parametrize("error", [unreachable("x"), KeyError("a fault of ours")])
def test_a_record_that_always_fails_holds_up_no_other(error: Exception):
    async def scenario():
        scene = Scene()
        scene.tracker.failure = lambda name: error if name == "bad" else None
        with capture_logs() as logs:
            async with scene.at_work():
                scene.recording.offer(("vision", "bad"), [record(name="bad")], named=False)
                for number in range(50):
                    scene.offer(record(uid=str(number)))
                await asyncio.sleep(HOUR)
        assert len(scene.tracker.taken) == 50
        assert scene.recording.waiting() == 1
        assert len(logs) <= 2, logs

    run(scenario())


def test_what_the_server_refuses_for_good_is_told_and_not_tried_again():
    async def scenario():
        scene, one = Scene(), record()
        scene.tracker.failure = lambda name: MlflowRefused("http://mlflow", "INVALID", "too odd")
        with capture_logs() as logs:
            async with scene.at_work():
                scene.offer(one)
                await asyncio.sleep(HOUR)
                scene.offer(one)
                await asyncio.sleep(HOUR)
        assert len(scene.tracker.attempts) == 1
        assert scene.recording.results(KEY) == {one.identity: "Refused"}
        (line,) = logs
        assert "too odd" in line["error"]
        assert scene.outcomes == {"refused": 1}

    run(scenario())


def test_a_resource_that_is_gone_is_withdrawn_once_and_only_where_the_registry_names_it():
    async def scenario():
        scene = Scene()
        async with scene.at_work():
            scene.recording.forget(("vision", "stranger"))
            scene.offer(record())
            await asyncio.sleep(1)
            for _ in range(3):
                scene.recording.forget(KEY)
            await asyncio.sleep(1)
        assert scene.tracker.withdrawn == [KEY]
        assert scene.recording.results(KEY) == {}

    run(scenario())


def test_a_record_of_a_resource_that_is_gone_says_that_nothing_is_live():
    async def scenario():
        scene, one = Scene(), record()
        scene.tracker.failure = unreachable
        async with scene.at_work():
            scene.offer(one)
            await asyncio.sleep(60)
            scene.recording.forget(KEY)
            scene.tracker.failure = lambda name: None
            await asyncio.sleep(HOUR)
        assert scene.tracker.taken == [replace(one, live=False)]
        assert scene.tracker.withdrawn == [KEY]

    run(scenario())


def test_a_resource_of_the_same_name_that_has_gone_live_since_is_not_withdrawn():
    async def scenario():
        scene = Scene()
        scene.offer(record())
        scene.recording.forget(KEY)
        again = record(rollout(3), uid="uid-2")
        scene.offer(again)
        async with scene.at_work():
            await asyncio.sleep(HOUR)
        assert again in scene.tracker.taken
        assert scene.tracker.withdrawn == []

    run(scenario())


def test_a_resource_that_has_come_back_with_a_model_of_no_registry_is_withdrawn_all_the_same():
    async def scenario():
        scene = Scene()
        scene.offer(record())
        scene.recording.forget(KEY)
        scene.offer(record(rollout(3, resolved_uri="s3://models/cats", from_uri=None), uid="uid-2"))
        async with scene.at_work():
            await asyncio.sleep(HOUR)
        assert scene.tracker.withdrawn == [KEY]

    run(scenario())


@pytest.mark.parametrize("seconds", [0, 1, 5, 15, 100])
def test_a_withdrawal_that_fails_is_given_up_for_a_resource_that_has_come_back(seconds: float):
    """Whether it waits, is in hand, or has to be tried again."""

    async def scenario():
        scene, again = Scene(), record(rollout(3), uid="uid-2")
        scene.offer(named=True)
        scene.tracker.seconds, scene.tracker.failure = 10, unreachable
        async with scene.at_work():
            scene.recording.forget(KEY)
            await asyncio.sleep(seconds)
            scene.offer(again)
            scene.tracker.failure = lambda name: None if again in scene.tracker.tried else OSError()
            await asyncio.sleep(HOUR)
        assert scene.tracker.taken == [again]
        assert scene.tracker.withdrawn == []

    run(scenario())


def test_what_is_tried_again_says_what_is_live_then():
    async def scenario():
        scene, one = Scene(), record()
        scene.tracker.seconds, scene.tracker.failure = 10, unreachable
        async with scene.at_work():
            scene.offer(one)
            await asyncio.sleep(5)
            newer = record(rollout(3, number=3))
            scene.offer(replace(one, live=False), newer)
            scene.tracker.failure = lambda name: None if scene.tracker.attempts[1:] else OSError()
            await asyncio.sleep(HOUR)
        assert scene.tracker.taken == [newer, replace(one, live=False)]

    run(scenario())


def test_the_queue_is_bounded_and_what_was_dropped_is_taken_when_it_is_offered_again(monkeypatch):
    monkeypatch.setattr(recording_module, "MOST_WAITING", 10)

    async def scenario():
        scene = Scene()
        records = [record(uid=str(number)) for number in range(30)]
        for one in records:
            scene.offer(one)
        assert scene.recording.waiting() == 10
        assert scene.outcomes == {"dropped": 20}
        async with scene.at_work():
            for one in records:
                scene.offer(one)
                await asyncio.sleep(1)
        assert len({r.identity for r in scene.tracker.taken}) == 30

    run(scenario())


def test_every_error_of_an_mlflow_server_but_its_refusal_is_tried_again():
    async def scenario():
        for error in MlflowError.__subclasses__():
            final = issubclass(error, MlflowRefused)
            scene, broken = Scene(), error.__new__(error)
            scene.tracker.failure = lambda name, broken=broken: broken
            async with scene.at_work():
                scene.offer(record())
                await asyncio.sleep(HOUR)
            assert (len(scene.tracker.attempts) == 1) == final, error

    run(scenario())


def test_a_record_that_a_deposed_leader_could_not_write_is_no_news():
    async def scenario():
        scene = Scene()
        scene.tracker.failure = lambda name: NotLeading("this process has lost the lead")
        with capture_logs() as logs:
            async with scene.at_work():
                scene.offer(record())
                await asyncio.sleep(HOUR)
        assert logs == []
        assert scene.tracker.taken == []
        assert scene.outcomes.keys() == {"failed"}

    run(scenario())
