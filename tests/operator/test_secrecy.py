"""No credential reaches a log, whatever the other side answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.aio import client

from model_operator.api import ModelSource
from model_operator.cli import history, tree
from model_operator.cli.preview import preview
from model_operator.cli.session import as_json
from model_operator.cli.terminal import Style
from model_operator.clients.cluster import Cluster
from model_operator.clients.mlflow import MlflowClient, headers_of
from model_operator.clients.registry import MlflowRegistry
from model_operator.clients.tracker import MlflowTracker
from model_operator.errors import ApiUnreachable, MlflowError, ResolutionDelayed
from model_operator.settings import Settings
from tests.operator.cli import statuses
from tests.operator.cli.statuses import NEW
from tests.operator.rollout_records import record

TOKEN = "t0k3n-t0k3n"
PASSWORD = "hunter2-hunter2"
SECRETS = (TOKEN, PASSWORD, base64.b64encode(f"operator:{PASSWORD}".encode()).decode())

NONSENSE = [
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\n" + b"a: " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    b"",
]


CALLS: list[Callable[[Cluster], Awaitable[Any]]] = [
    lambda cluster: cluster.get("Pod", "v", "p"),
    lambda cluster: anext(cluster.watch("Pod", None, "", "1")),
    lambda cluster: cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "v"}}
    ),
]


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The URL of a server that answers each request with these bytes and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def everything_said_by(error: BaseException) -> str:
    """What any log could show of an exception: itself and its causes."""
    said = [*traceback.format_exception(error)]
    cause: BaseException | None = error
    while isinstance(cause, ApiUnreachable | ResolutionDelayed):
        said += [str(cause), repr(cause)]
        cause = cause.__cause__
    return "".join(said)


@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: answer[:20])
@pytest.mark.parametrize("call", CALLS, ids=["get", "watch", "apply"])
async def test_the_api_servers_nonsense_does_not_bring_the_token_to_light(
    answer: bytes, call: Callable[[Cluster], Awaitable[Any]]
):
    async with answering(answer) as url:
        configuration = client.Configuration()
        configuration.host = url
        configuration.api_key["BearerToken"] = TOKEN
        configuration.api_key_prefix["BearerToken"] = "Bearer"
        cluster = Cluster(client.ApiClient(configuration))
        with pytest.raises(ApiUnreachable) as raised:
            await call(cluster)
        await cluster.close()
    assert not any(secret in everything_said_by(raised.value) for secret in SECRETS)


LOGINS = [
    {"tracking_token": TOKEN},
    {"tracking_username": "operator", "tracking_password": PASSWORD},
]


@pytest.mark.parametrize("login", LOGINS, ids=["token", "password"])
@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: answer[:20])
async def test_the_registrys_nonsense_does_not_bring_the_login_to_light(
    answer: bytes, login: dict[str, str]
):
    async with answering(answer) as url:
        registry = MlflowRegistry(Settings(server_image="i", tracking_uri=url, **login))
        with pytest.raises(ResolutionDelayed) as raised:
            await registry.resolve(ModelSource(uri="models:/cats-dogs/1"))
    assert not any(secret in everything_said_by(raised.value) for secret in SECRETS)


@pytest.mark.parametrize("login", LOGINS, ids=["token", "password"])
@pytest.mark.parametrize("answer", NONSENSE, ids=lambda answer: answer[:20])
async def test_nonsense_that_answers_a_record_does_not_bring_the_login_to_light(
    answer: bytes, login: dict[str, str]
):
    async with answering(answer) as url:
        headers = headers_of(Settings(server_image="i", tracking_uri=url, **login))
        tracker = MlflowTracker(MlflowClient(url, headers), "prod", "rollouts")
        with pytest.raises(MlflowError) as raised:
            await tracker.record(record())
    assert not any(secret in everything_said_by(raised.value) for secret in SECRETS)


def test_no_command_prints_the_signature_of_a_source():
    """What is printed ends in logs of pipelines and on screens that are shared."""
    signed = "https://models.example.com/cats-dogs-3.tgz?X-Amz-Signature=hush"
    live, kept = statuses.ready(), statuses.record(NEW, 1, 2)
    live["metadata"]["labels"] = {}
    kept["data"]["resolvedUri"] = signed
    asked = copy.deepcopy(live)
    asked["spec"]["model"] = {"uri": signed}
    now = datetime(2026, 1, 2, tzinfo=UTC)
    entries = history.of(live, [kept])
    printed = [
        *preview(None, asked).lines(),
        *preview(live, asked).lines(),
        *tree.render(tree.Snapshot(asked, (), now), Style(colours=False, unicode=False)),
        *history.table(entries, now),
        as_json([asdict(entry) for entry in entries]),
    ]
    assert "hush" not in "\n".join(printed)
    assert sum("cats-dogs-3.tgz?..." in line for line in printed) >= 5
