"""Aliases that are followed: one request for all, and news only for those whom it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from model_operator import reasons
from model_operator.api import ModelSource
from model_operator.clients.following import AT_ONCE, Following
from model_operator.clients.registry import MlflowRegistry, TaggedVersion
from model_operator.clients.view import Key
from model_operator.errors import ResolutionDelayed, ResolutionError, ResolutionRefused
from model_operator.revisions import ResolvedModel, Undigested
from model_operator.settings import Settings
from tests.operator.builders import digest_of
from tests.operator.loopback import serving

URI = "models:/cats-dogs@champion"
KEY: Key = ("vision", "cats-dogs")


def follower(uri: str = URI, **fields: object) -> ModelSource:
    return ModelSource.model_validate({"uri": uri, "updatePolicy": "FollowAlias", **fields})


class Shelf:
    """A registry in which somebody moves an alias, or pulls the plug."""

    def __init__(self) -> None:
        self.number = 1
        self.tags: dict[str, str] = {}
        self.error: ResolutionError | None = None
        self.asked: Counter[str] = Counter()
        self.gate: asyncio.Event | None = None

    async def look_up(self, source: ModelSource) -> TaggedVersion:
        self.asked[source.uri] += 1
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        tags = {"sha256": digest_of(self.number), **self.tags}
        return TaggedVersion("cats-dogs", str(self.number), tags)


class News(list[Key]):
    """Who was told of something."""

    def read(self) -> list[Key]:
        told = sorted(self)
        self.clear()
        return told


def model(number: int) -> ResolvedModel:
    return ResolvedModel(f"models:/cats-dogs/{number}", str(number), digest_of(number))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def following(shelf: Shelf, news: News) -> Following:
    return Following(shelf, news.append, 30)


DOWN = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, "no answer")


async def test_a_moved_alias_is_news_for_every_follower_and_one_request(
    following: Following, shelf: Shelf, news: News
):
    keys = [("vision", f"md-{number:05}") for number in range(10_000)]
    found = await asyncio.gather(*(following.latest(key, follower()) for key in keys))
    assert set(found) == {model(1)}
    assert shelf.asked == {URI: 1}
    await following.round()
    assert news.read() == []
    shelf.number = 2
    await following.round()
    assert news.read() == keys
    assert await following.latest(keys[0], follower()) == model(2)
    assert shelf.asked == {URI: 3}


async def test_many_who_ask_while_the_first_answer_is_under_way_wait_for_that_one(
    following: Following, shelf: Shelf
):
    shelf.gate = asyncio.Event()
    asking = [
        asyncio.create_task(following.latest(("vision", str(number)), follower()))
        for number in range(5)
    ]
    await asyncio.sleep(0)
    shelf.gate.set()
    assert set(await asyncio.gather(*asking)) == {model(1)}
    assert shelf.asked == {URI: 1}


async def test_an_alias_that_moves_back_is_news_again(
    following: Following, shelf: Shelf, news: News
):
    await following.latest(KEY, follower())
    for number in (2, 1):
        shelf.number = number
        await following.round()
        assert news.read() == [KEY]
        assert await following.latest(KEY, follower()) == model(number)


async def test_each_alias_is_asked_for_once_a_round(following: Following, shelf: Shelf):
    others = [f"models:/model-{number}@champion" for number in range(20)]
    for uri, name in itertools.product(others, "ab"):
        await following.latest((uri, name), follower(uri))
    shelf.asked.clear()
    await following.round()
    assert shelf.asked == dict.fromkeys(others, 1)
    assert len(following) == 20


async def test_who_follows_no_more_is_not_asked_for_nor_told(
    following: Following, shelf: Shelf, news: News
):
    await following.latest(KEY, follower())
    following.forget(KEY)
    following.forget(KEY)
    assert len(following) == 0
    shelf.number = 2
    await following.round()
    assert shelf.asked == {URI: 1}
    assert news.read() == []
    assert await following.latest(KEY, follower()) == model(2), "nothing old is believed"


async def test_who_follows_another_alias_has_left_the_first(following: Following, shelf: Shelf):
    await following.latest(KEY, follower())
    await following.latest(KEY, follower("models:/cats-dogs@shadow"))
    shelf.asked.clear()
    await following.round()
    assert shelf.asked == {"models:/cats-dogs@shadow": 1}


async def test_a_registry_that_is_down_is_news_once_and_again_when_it_is_back(
    following: Following, shelf: Shelf, news: News
):
    await following.latest(KEY, follower())
    for words in ("no answer in time", "connection refused", "no answer in time"):
        shelf.error = ResolutionDelayed(reasons.REGISTRY_UNREACHABLE, words)
        await following.round()
    assert news.read() == [KEY]
    with pytest.raises(ResolutionDelayed, match="no answer in time"):
        await following.latest(KEY, follower())
    shelf.error = None
    await following.round()
    assert news.read() == [KEY]
    assert await following.latest(KEY, follower()) == model(1)


async def test_an_error_that_is_kept_holds_no_traceback_however_often_it_is_raised(
    following: Following, shelf: Shelf
):
    shelf.error = DOWN
    depths = set()
    for _ in range(5):
        with pytest.raises(ResolutionDelayed) as raised:
            await following.latest(KEY, follower())
        depths.add(len(list(raised.traceback)))
    assert len(depths - {max(depths)}) <= 1
    assert DOWN.__traceback__ is not raised.value.__traceback__


async def test_a_tag_that_nobody_requires_is_no_news_and_one_that_is_required_is(
    following: Following, shelf: Shelf, news: News
):
    picky = ("vision", "picky")
    wanted = follower(requiredTags={"validation": "passed"})
    await following.latest(KEY, follower())
    with pytest.raises(ResolutionRefused) as raised:
        await following.latest(picky, wanted)
    assert raised.value.reason == reasons.NOT_VALIDATED
    shelf.tags["seen-by"] = "anna"
    await following.round()
    assert news.read() == []
    shelf.tags["validation"] = "passed"
    await following.round()
    assert news.read() == [picky]
    assert await following.latest(picky, wanted) == model(1)


async def test_a_version_without_a_digest_is_one_that_a_job_has_to_compute(
    following: Following, shelf: Shelf
):
    shelf.tags["sha256"] = ""
    assert await following.latest(KEY, follower()) == Undigested("models:/cats-dogs/1", "1")


async def test_a_fresh_answer_is_asked_for_and_told_to_the_others(
    following: Following, shelf: Shelf, news: News
):
    other = ("vision", "other")
    for key in (KEY, other):
        await following.latest(key, follower())
    shelf.number = 2
    assert await following.latest(KEY, follower(), fresh=True) == model(2)
    assert other in news.read()


async def test_rounds_go_on_for_ever_with_a_pause_between_them(shelf: Shelf):
    pauses: list[float] = []
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        for _ in range(10):  # the round before comes to its end
            await asyncio.sleep(0)
        if len(pauses) == 4:
            ended.set()
            await asyncio.Event().wait()

    following = Following(shelf, lambda key: None, 7, sleep)
    await following.latest(KEY, follower())
    shelf.error = DOWN
    task = asyncio.create_task(following.run())
    await ended.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert pauses == [7, 7, 7, 7]
    assert shelf.asked == {URI: 4}


async def test_a_server_that_hangs_makes_nobody_elses_aliases_late():
    hanging, well = "http://hangs.example", "http://well.example"
    asked: Counter[str] = Counter()
    ended = asyncio.Event()

    class Two(Shelf):
        async def look_up(self, source: ModelSource) -> TaggedVersion:
            server = str(source.registry)
            asked[server] += 1
            if server == hanging and asked[server] > 100:
                await asyncio.Event().wait()
            return await super().look_up(source)

    async def sleep(seconds: float) -> None:
        if asked[well] >= 100 + 3 * 100:
            ended.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    following = Following(Two(), lambda key: None, 7, sleep)
    for number in range(100):
        for server in (hanging, well):
            source = follower(f"models:/m-{number}@champion", registry=server)
            await following.latest((server, str(number)), source)
    task = asyncio.create_task(following.run())
    async with asyncio.timeout(30):
        await ended.wait()
    assert asked[hanging] == 100 + AT_ONCE
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(1, 3)),
        st.tuples(st.just("plug"), st.booleans()),
        st.tuples(st.just("round"), st.none()),
        st.tuples(st.just("pass"), st.integers(0, 3)),
        st.tuples(st.just("forget"), st.integers(0, 3)),
    ),
    max_size=40,
)


@given(HAPPENINGS)
def test_who_does_as_told_always_has_the_last_answer_of_the_last_round(story: list[tuple]):
    """Passes come when they are told, or at any other time: a key that was told of nothing has what
    the registry says.
    """

    async def play() -> None:
        shelf, news = Shelf(), News()
        following = Following(shelf, news.append, 30)
        seen: dict[Key, object] = {}

        async def make_pass(key: Key) -> None:
            try:
                seen[key] = await following.latest(key, follower())
            except ResolutionError as error:
                seen[key] = error.reason

        for what, value in story:
            key = ("vision", str(value))
            if what == "move":
                shelf.number = value
            elif what == "plug":
                shelf.error = DOWN if value else None
            elif what == "pass":
                await make_pass(key)
            elif what == "forget":
                following.forget(key)
                seen.pop(key, None)
            else:
                await following.round()
                for told in news.read():
                    await make_pass(told)
                truth = shelf.error.reason if shelf.error else model(shelf.number)
                assert all(known == truth for known in seen.values())

    asyncio.run(play())


# --- a real MLflow server --------------------------------------------------------------------


@pytest.fixture
def mlflow(mlflow_server: str) -> Iterator[httpx.Client]:
    """A client of a server with two versions of `followed`; the alias names the first."""
    with httpx.Client(base_url=f"{mlflow_server}/api/2.0/mlflow/", timeout=60) as client:
        if client.get("registered-models/get", params={"name": "followed"}).status_code == 404:
            client.post("registered-models/create", json={"name": "followed"}).raise_for_status()
            for number in (1, 2):
                tags = [{"key": "sha256", "value": digest_of(number)}]
                body = {"name": "followed", "source": "s3://models/x", "tags": tags}
                client.post("model-versions/create", json=body).raise_for_status()
        move(client, 1)
        yield client


def move(client: httpx.Client, version: int) -> None:
    body = {"name": "followed", "alias": "champion", "version": str(version)}
    client.post("registered-models/alias", json=body).raise_for_status()


async def test_an_alias_of_a_real_registry_is_followed_there_and_back(
    mlflow: httpx.Client, mlflow_server: str, news: News
):
    settings = Settings(server_image="example/server:1", tracking_uri=mlflow_server)
    following = Following(MlflowRegistry(settings), news.append, 30)
    source = follower("models:/followed@champion")
    for version in (1, 2, 1):
        move(mlflow, version)
        await following.round()
        assert await following.latest(KEY, source) == ResolvedModel(
            f"models:/followed/{version}", str(version), digest_of(version)
        )


@pytest.mark.parametrize("tags", ['"none"', "[1]", '[{"value": "x"}]', '{"key": "sha256"}', "null"])
async def test_tags_in_no_form_of_mlflows_are_no_tags_and_no_error(tags: str):
    async def handler(request: web.BaseRequest) -> web.Response:
        text = f'{{"model_version": {{"version": "1", "tags": {tags}}}}}'
        return web.Response(text=text)

    async with serving(handler) as url:
        settings = Settings(server_image="example/server:1", tracking_uri=url)
        found = await MlflowRegistry(settings).look_up(follower())
    assert found == TaggedVersion("cats-dogs", "1", {})
