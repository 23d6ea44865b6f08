"""The registry client against a real MLflow server, and against servers that are not well."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from typing import Any

import httpx
import pytest
from aiohttp import web

from model_operator import reasons
from model_operator.api import ModelSource
from model_operator.clients import mlflow as mlflow_module
from model_operator.clients.registry import AT_ONCE, MlflowRegistry
from model_operator.errors import ResolutionDelayed, ResolutionError, ResolutionRefused
from model_operator.revisions import ResolvedModel, Undigested
from model_operator.settings import Settings
from tests.operator.builders import digest_of
from tests.operator.loopback import serving

SPACED = "cats & dogs, 50%"


def settings(uri: str | None, **others: Any) -> Settings:
    return Settings(server_image="example/server:1", tracking_uri=uri, **others)


async def resolve(
    address: str | None, uri: str, sha256: str | None = None, **fields: Any
) -> ResolvedModel | Undigested:
    source = ModelSource(uri=uri, sha256=sha256, **fields)
    return await MlflowRegistry(settings(address)).resolve(source)


async def refusal(
    address: str | None, uri: str, sha256: str | None = None, **fields: Any
) -> ResolutionError:
    with pytest.raises(ResolutionRefused) as raised:
        await resolve(address, uri, sha256, **fields)
    return raised.value


# --- a real MLflow server --------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlflow(mlflow_server: str) -> str:
    """An MLflow server with three versions of `cats-dogs` and one of another model."""
    register(mlflow_server)
    return mlflow_server


def register(url: str) -> None:
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=60) as client:

        def post(endpoint: str, **body: object) -> None:
            client.post(endpoint, json=body).raise_for_status()

        tags = ({"sha256": digest_of(1)}, {"data_version": "7"}, {"sha256": "ABC"})
        post("registered-models/create", name="cats-dogs")
        for version in tags:
            listed = [{"key": key, "value": value} for key, value in version.items()]
            post("model-versions/create", name="cats-dogs", source="s3://models/x", tags=listed)
        post("registered-models/alias", name="cats-dogs", alias="champion", version="1")
        post("registered-models/create", name=SPACED)
        listed = [{"key": "sha256", "value": digest_of(9)}]
        post("model-versions/create", name=SPACED, source="s3://models/y", tags=listed)


FIRST = ResolvedModel("models:/cats-dogs/1", "1", digest_of(1))


@pytest.mark.parametrize("uri", ["models:/cats-dogs/1", "models:/cats-dogs@champion"])
async def test_a_version_and_an_alias_resolve_to_the_version_and_the_digest_of_its_tag(mlflow, uri):
    assert await resolve(mlflow, uri) == FIRST


async def test_a_name_may_need_quoting(mlflow):
    resolved = await resolve(mlflow, f"models:/{SPACED}/1")
    assert resolved == ResolvedModel(f"models:/{SPACED}/1", "1", digest_of(9))


@pytest.mark.parametrize(
    "uri", ["models:/cats-dogs/77", "models:/no-such-model/1", "models:/cats-dogs@nobody"]
)
async def test_what_the_registry_does_not_know_is_not_found_and_the_sentence_names_it(mlflow, uri):
    error = await refusal(mlflow, uri)
    assert error.reason == reasons.MODEL_NOT_FOUND
    assert error.message.startswith(f"{uri} does not exist in the registry at {mlflow}: ")


async def test_a_version_without_a_digest_is_one_that_a_job_has_to_compute(mlflow):
    found = await resolve(mlflow, "models:/cats-dogs/2")
    assert found == Undigested("models:/cats-dogs/2", "2")


async def test_a_version_with_a_malformed_digest_is_refused_in_words_that_say_what_to_do(
    mlflow,
):
    error = await refusal(mlflow, "models:/cats-dogs/3")
    assert error.reason == reasons.NO_DIGEST
    assert "model-train register" in error.message
    assert "spec.model.sha256" in error.message


async def test_a_pin_stands_in_for_a_tag_that_is_missing(mlflow):
    resolved = await resolve(mlflow, "models:/cats-dogs/2", digest_of(5))
    assert resolved == ResolvedModel("models:/cats-dogs/2", "2", digest_of(5))


async def test_a_pin_that_is_the_tag_resolves(mlflow):
    assert await resolve(mlflow, "models:/cats-dogs/1", digest_of(1)) == FIRST


@pytest.mark.parametrize("version", [1, 3], ids=["another digest", "a malformed tag"])
async def test_a_pin_that_differs_from_the_tag_is_refused(mlflow, version):
    error = await refusal(mlflow, f"models:/cats-dogs/{version}", digest_of(5))
    assert error.reason == reasons.DIGEST_REFUSED
    assert digest_of(5) in error.message


TAGGED = "models:/tagged/1"
PASSED = {"validation": "passed"}


def tag(url: str, key: str, value: str) -> None:
    answer = httpx.post(
        f"{url}/api/2.0/mlflow/model-versions/set-tag",
        json={"name": "tagged", "version": "1", "key": key, "value": value},
        timeout=60,
    )
    answer.raise_for_status()


@pytest.fixture(scope="module")
def tagged(mlflow: str) -> str:
    """The same server, with a version that has a digest and nothing else."""
    with httpx.Client(base_url=f"{mlflow}/api/2.0/mlflow/", timeout=60) as client:
        client.post("registered-models/create", json={"name": "tagged"}).raise_for_status()
        body = {"name": "tagged", "source": "s3://models/z"}
        client.post("model-versions/create", json=body).raise_for_status()
    tag(mlflow, "sha256", digest_of(4))
    return mlflow


async def test_a_version_is_resolved_once_it_has_the_tags_that_are_required(tagged):
    error = await refusal(tagged, TAGGED, required_tags=PASSED)
    assert error.reason == reasons.NOT_VALIDATED
    assert error.message.startswith(
        f"{TAGGED} is not served: spec.model.requiredTags wants the tag validation to be 'passed', "
        "and it has no such tag; "
    )
    tag(tagged, "validation", "failed")
    error = await refusal(tagged, TAGGED, required_tags=PASSED)
    assert "wants the tag validation to be 'passed', and it is 'failed'; " in error.message
    tag(tagged, "validation", "passed")
    assert await resolve(tagged, TAGGED, required_tags=PASSED) == ResolvedModel(
        TAGGED, "1", digest_of(4)
    )


async def test_all_required_tags_are_asked_for_and_the_missing_ones_are_counted(tagged):
    required = {"approved-by": "anna", "stage": "live", "sha256": digest_of(4)}
    error = await refusal(tagged, TAGGED, required_tags=required)
    assert error.reason == reasons.NOT_VALIDATED
    assert "the tag approved-by to be 'anna'" in error.message
    assert "(and 1 more)" in error.message


async def test_a_pin_does_not_stand_in_for_a_required_tag(tagged):
    error = await refusal(tagged, TAGGED, digest_of(4), required_tags={"approved-by": "anna"})
    assert error.reason == reasons.NOT_VALIDATED


async def test_a_tag_of_several_lines_is_shown_shortened_on_one(tagged):
    tag(tagged, "note", "first\nsecond " + "x" * 4000)
    error = await refusal(tagged, TAGGED, required_tags={"note": "short"})
    assert "and it is 'first second xxx" in error.message
    assert len(error.message) < 600
    assert len(error.message.splitlines()) == 1


# --- servers that are not well ---------------------------------------------------------------


async def answer(status: int, body: str) -> ResolutionError:
    """What the client makes of one answer."""

    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body)

    async with serving(handler) as url:
        with pytest.raises(ResolutionError) as raised:
            await resolve(url, "models:/cats-dogs/1")
        assert url in raised.value.message
    return raised.value


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "body", ["", "You are not authenticated.", '{"error_code": "PERMISSION_DENIED"}', "<html>"]
)
async def test_refused_credentials_are_permanent_in_whatever_words_they_are_refused(status, body):
    error = await answer(status, body)
    assert isinstance(error, ResolutionRefused)
    assert error.reason == reasons.REGISTRY_REFUSED


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"model_version": {"version": "1; rm"}}'),
        (500, '{"error_code": "INTERNAL_ERROR"}'),
        (502, "<html>Bad Gateway</html>"),
        (429, "slow down"),
        (404, "<html>404 page not found</html>"),
        (200, "<html>Please log in</html>"),
        (200, ""),
        (200, "[]"),
        (200, "{}"),
        (200, '{"model_version": {}}'),
        (200, '{"model_version": "1"}'),
    ],
)
async def test_an_answer_that_is_not_mlflows_is_temporary(status, body):
    error = await answer(status, body)
    assert isinstance(error, ResolutionDelayed)
    assert error.reason == reasons.REGISTRY_UNREACHABLE
    assert len(error.message.splitlines()) == 1


async def test_a_redirect_is_not_followed_and_the_sentence_says_what_to_name():
    asked = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(handler) as url:
        with pytest.raises(ResolutionDelayed, match="redirects to another address") as raised:
            await resolve(url, "models:/cats-dogs/1")
    assert raised.value.reason == reasons.REGISTRY_UNREACHABLE
    assert len(asked) == 1


async def test_an_endless_answer_is_not_read_to_its_end():
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 65_536)
        return response

    async with serving(handler) as url:
        with pytest.raises(ResolutionDelayed, match="longer than"):
            await resolve(url, "models:/cats-dogs/1")


async def test_an_address_may_have_a_path_and_end_with_a_slash():
    asked = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    async with serving(handler) as url:
        for address in (f"{url}/mlflow", f"{url}/mlflow/"):
            with pytest.raises(ResolutionDelayed):
                await resolve(address, "models:/cats-dogs/1")
    assert asked == ["/mlflow/api/2.0/mlflow/model-versions/get"] * 2


async def test_a_registry_on_whose_port_nobody_listens_is_temporary():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ResolutionDelayed, match="cannot be reached") as raised:
        await resolve(address, "models:/cats-dogs/1")
    assert raised.value.reason == reasons.REGISTRY_UNREACHABLE
    assert address in raised.value.message


async def test_a_registry_that_does_not_answer_in_time_is_temporary(monkeypatch):
    monkeypatch.setattr(mlflow_module, "TIMEOUT_SECONDS", 0.1)

    async def handler(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as url:
        with pytest.raises(ResolutionDelayed, match="no answer in time"):
            await resolve(url, "models:/cats-dogs/1")


async def test_a_registry_that_hangs_is_asked_a_few_things_at_a_time():
    hanging: list[str] = []
    tags = [{"key": "sha256", "value": digest_of(1)}]

    async def hang(request: web.BaseRequest) -> web.Response:
        hanging.append(request.path)
        await asyncio.Event().wait()
        raise AssertionError

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"model_version": {"version": "1", "tags": tags}})

    async with serving(hang) as bad, serving(answer) as good:
        registry = MlflowRegistry(settings(good, allowed_hosts=("127.0.0.1",)))
        source = ModelSource(uri="models:/cats-dogs/1", registry=bad)
        asking = [asyncio.create_task(registry.resolve(source)) for _ in range(5 * AT_ONCE)]
        async with asyncio.timeout(10):
            while len(hanging) < AT_ONCE:  # noqa: ASYNC110 - a server counts them
                await asyncio.sleep(0.01)
            found = await registry.resolve(ModelSource(uri="models:/cats-dogs/1"))
        assert isinstance(found, ResolvedModel)
        assert len(hanging) == AT_ONCE
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_without_a_registry_the_sentence_names_the_setting():
    error = await refusal(None, "models:/cats-dogs/1")
    assert error.reason == reasons.REGISTRY_UNREACHABLE
    assert "MLFLOW_TRACKING_URI" in error.message


LOGINS = {
    "Basic " + base64.b64encode(b"operator:hunter2").decode(): {
        "tracking_username": "operator",
        "tracking_password": "hunter2",
    },
    "Bearer hunter2": {"tracking_token": "hunter2"},
}


@pytest.mark.parametrize(("header", "login"), LOGINS.items(), ids=["basic", "bearer"])
@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_credentials_are_sent_and_are_in_no_errors_text(header, login, status):
    heard = []

    async def handler(request: web.BaseRequest) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        return web.json_response({"message": "no"}, status=status)

    async with serving(handler) as url:
        registry = MlflowRegistry(settings(url, **login))
        with pytest.raises(ResolutionError) as raised:
            await registry.resolve(ModelSource(uri="models:/cats-dogs/1"))
    assert heard == [header]
    for secret in ("hunter2", header.split(" ")[1]):
        assert secret not in f"{raised.value!s} {raised.value!r} {raised.value.__cause__!r}"


# --- sources that no registry knows ----------------------------------------------------------

EVERY_KIND = ("models", "runs", "pvc", "https", "s3")
UNREGISTERED = [
    "runs:/0a1b/model",
    "pvc://models/cats-dogs/3",
    "s3://models/cats-dogs/3/",
    "https://127.0.0.1/cats.tgz?signature=secret",
]
NOWHERE = {"allowed_schemes": EVERY_KIND, "allowed_hosts": ("127.0.0.1",)}


@pytest.mark.parametrize("uri", UNREGISTERED)
async def test_a_source_with_a_pin_is_what_the_pin_says_and_nobody_is_asked(uri):
    registry = MlflowRegistry(settings("http://127.0.0.1:1", **NOWHERE))
    found = await registry.resolve(ModelSource(uri=uri, sha256=digest_of(5)))
    assert found == ResolvedModel(uri, digest_of(5)[:12], digest_of(5))


@pytest.mark.parametrize("uri", UNREGISTERED)
async def test_a_source_that_is_not_allowed_is_refused_even_with_a_pin(uri):
    registry = MlflowRegistry(settings("http://127.0.0.1:1", allowed_schemes=("models",)))
    with pytest.raises(ResolutionRefused) as raised:
        await registry.resolve(ModelSource(uri=uri, sha256=digest_of(5)))
    assert raised.value.reason == reasons.SOURCE_REFUSED
    assert "CV_FACTORY_ALLOWED_SCHEMES" in raised.value.message


@pytest.mark.parametrize("uri", UNREGISTERED)
async def test_a_source_without_a_pin_is_one_whose_digest_a_job_has_to_compute(uri):
    registry = MlflowRegistry(settings("http://127.0.0.1:1", **NOWHERE))
    assert await registry.resolve(ModelSource(uri=uri)) == Undigested(uri)


async def test_a_run_needs_a_registry_to_be_fetched_from():
    source = ModelSource(uri="runs:/0a1b/model", sha256=digest_of(5))
    with pytest.raises(ResolutionRefused, match="MLFLOW_TRACKING_URI"):
        await MlflowRegistry(settings(None)).resolve(source)


# --- other registries than the operator's own ------------------------------------------------


def another_address(url: str) -> str:
    """The same server under another name."""
    return url.replace("127.0.0.1", "localhost")


async def test_a_source_may_name_another_registry_where_its_host_is_allowed(mlflow):
    own = settings("http://127.0.0.1:1", allowed_hosts=("localhost",))
    source = ModelSource(uri="models:/cats-dogs/1", registry=another_address(mlflow))
    assert await MlflowRegistry(own).resolve(source) == FIRST


async def test_a_registry_whose_host_is_not_allowed_is_not_asked():
    asked = []

    async def handler(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    async with serving(handler) as url:
        source = ModelSource(uri="models:/cats-dogs/1", registry=url)
        for allowed in ((), ("mlflow.ml",)):
            with pytest.raises(ResolutionRefused) as raised:
                await MlflowRegistry(settings(None, allowed_hosts=allowed)).resolve(source)
            assert raised.value.reason == reasons.SOURCE_REFUSED
            assert "CV_FACTORY_ALLOWED_HOSTS" in raised.value.message
    assert asked == []


@pytest.mark.parametrize(("header", "login"), LOGINS.items(), ids=["basic", "bearer"])
async def test_the_operators_credentials_go_to_its_own_registry_and_to_no_other(header, login):
    heard = []

    async def handler(request: web.BaseRequest) -> web.Response:
        heard.append((request.path, request.headers.get("Authorization")))
        return web.json_response({})

    async with serving(handler) as url:
        registry = MlflowRegistry(settings(f"{url}/own", allowed_hosts=("127.0.0.1",), **login))
        for address in (None, f"{url}/own/", f"{url}/other", url):
            source = ModelSource(uri="models:/cats-dogs/1", registry=address)
            with pytest.raises(ResolutionDelayed):
                await registry.resolve(source)
    endpoint = "/api/2.0/mlflow/model-versions/get"
    assert heard == [
        (f"/own{endpoint}", header),
        (f"/own{endpoint}", header),
        (f"/other{endpoint}", None),
        (endpoint, None),
    ]
