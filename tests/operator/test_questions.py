"""Questions to registries: a pass waits for a second, the resource is woken for the rest."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator.clients.questions import PATIENCE_SECONDS, Questions
from model_operator.clients.view import Key
from model_operator.errors import ResolutionAwaited, ResolutionRefused
from tests.operator.virtual_time import now, run

KEY: Key = ("vision", "cats-dogs")


class Oracle:
    """Answers after so many seconds, with what it was asked."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def say(self, what: str) -> str:
        self.begun.append(what)
        await asyncio.sleep(self.seconds)
        self.ended.append(what)
        if what == "refused":
            raise ResolutionRefused("NotValidated", what)
        return what


class Scene:
    def __init__(self, seconds: float) -> None:
        self.woken: list[tuple[Key, float]] = []
        self.questions = Questions[str](lambda key: self.woken.append((key, now())))
        self.oracle = Oracle(seconds)

    async def ask(self, what: str, key: Key = KEY) -> str | None:
        """What one pass hears; None where it goes on without an answer."""
        try:
            return await self.questions.answer(key, what, lambda: self.oracle.say(what))
        except ResolutionAwaited:
            return None


def play(story: Coroutine[Any, Any, None]) -> None:
    run(story)


def test_who_answers_at_once_is_heard_by_the_pass_that_asked():
    async def story() -> None:
        scene = Scene(0.2)
        assert await scene.ask("one") == "one"
        with pytest.raises(ResolutionRefused):
            await scene.ask("refused")
        assert (scene.woken, len(scene.questions)) == ([], 0)

    play(story())


def test_a_pass_goes_on_without_an_answer_and_its_resource_is_woken_when_it_comes():
    async def story() -> None:
        scene = Scene(10)
        assert await scene.ask("one") is None
        assert now() == pytest.approx(PATIENCE_SECONDS)
        assert await scene.ask("one") is None, "another pass in between asks no second time"
        assert now() == pytest.approx(PATIENCE_SECONDS), "and waits no second time"
        await asyncio.sleep(20)
        assert [key for key, _ in scene.woken] == [KEY]
        assert [round(moment, 6) for _, moment in scene.woken] == [10]
        assert await scene.ask("one") == "one"
        assert scene.oracle.begun == ["one"]
        assert await scene.ask("one") is None, "an answer is given once: this is asked anew"
        assert scene.oracle.begun == ["one", "one"]

    play(story())


def test_another_question_ends_the_one_before_and_so_does_who_has_none_any_more():
    async def story() -> None:
        scene = Scene(10)
        await scene.ask("one")
        await scene.ask("two")
        other = ("vision", "other")
        await scene.ask("three", other)
        scene.questions.forget(other)
        scene.questions.forget(other)
        await asyncio.sleep(20)
        assert scene.oracle.ended == ["two"]
        assert {key for key, _ in scene.woken} == {KEY}

    play(story())


def test_an_answer_that_nobody_hears_is_no_complaint_in_the_log(caplog: pytest.LogCaptureFixture):
    async def story() -> None:
        scene = Scene(10)
        await scene.ask("refused")
        await asyncio.sleep(20)
        scene.questions.forget(KEY)
        gc.collect()

    play(story())
    assert caplog.records == []


def test_at_the_end_of_a_term_nothing_is_asked_any_more():
    async def story() -> None:
        scene = Scene(10)
        term = asyncio.create_task(scene.questions.run())
        await scene.ask("one")
        term.cancel()
        await asyncio.wait([term])
        await asyncio.sleep(20)
        assert (scene.oracle.ended, scene.woken, len(scene.questions)) == ([], [], 0)

    play(story())


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["one", "two"]), st.floats(0, 5)),
        max_size=30,
    ),
    st.floats(0, 8),
)
def test_whoever_went_on_without_an_answer_is_woken_once_it_is_there(passes, seconds):
    async def story() -> None:
        scene = Scene(seconds)
        waiting: dict[Key, str] = {}
        for name, what, pause in passes:
            key = ("vision", name)
            heard = await scene.ask(what, key)
            assert heard in (None, what), "never the answer to another question"
            if heard is None:
                waiting[key] = what
            else:
                waiting.pop(key, None)
            await asyncio.sleep(pause)
        await asyncio.sleep(10)
        assert waiting.keys() <= {key for key, _ in scene.woken}
        for key, what in waiting.items():
            assert await scene.ask(what, key) == what
        assert len(scene.questions) == 0

    play(story())
