"""Each fault of the proxy does to a client what it says, and the API server has seen what it says.

A campaign whose faults do not happen would find nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.deadlines import within
from tests.fault import faults, role
from tests.fault.admin import Admin
from tests.fault.faults import (
    Answer,
    Death,
    DropEvents,
    ErrorEvent,
    MuteStreams,
    OldLists,
    Silence,
    When,
    WriteName,
)
from tests.fault.house import House
from tests.fault.proxy import Proxy

pytestmark = pytest.mark.fault

SERVICES = "/api/v1/namespaces/default/services"
QUICK = aiohttp.ClientTimeout(total=5)
SHORT = 0.5
"""Seconds of silence that prove it."""


@dataclass
class Client:
    """Speaks to a proxy as the operator would."""

    proxy: Proxy
    admin: Admin
    session: aiohttp.ClientSession
    kills: int = 0

    async def kill(self) -> None:
        self.kills += 1

    async def apply(self, name: str, kind: str = "services") -> int:
        """The status of the answer."""
        port = {"port": 80, "protocol": "TCP"}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
        body["spec"] = {"ports": [port]}
        query = {"fieldManager": "test", "force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        url = f"{self.proxy.url}/api/v1/namespaces/default/{kind}/{name}"
        async with self.session.patch(
            url, params=query, data=json.dumps(body), headers=headers
        ) as answer:
            await answer.read()
            return answer.status

    async def exists(self, name: str) -> bool:
        return await self.admin.get(f"{SERVICES}/{name}") is not None

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[aiohttp.StreamReader]:
        listed = await self.admin.call("GET", SERVICES)
        query = {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with self.session.get(f"{self.proxy.url}{SERVICES}", params=query) as answer:
            assert answer.status == 200
            yield answer.content

    async def list_everywhere(self) -> dict[str, Any]:
        async with self.session.get(f"{self.proxy.url}/api/v1/services") as answer:
            found: dict[str, Any] = await answer.json()
            return found


async def heard(stream: aiohttp.StreamReader) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await within(5, stream.readline()))
    return event


@pytest.fixture
async def client(opened: House) -> AsyncIterator[Client]:
    async with (
        Admin(opened.kubeconfig) as admin,
        Proxy(admin, role.account(), "default") as proxy,
        aiohttp.ClientSession(timeout=QUICK) as session,
    ):
        proxy.reborn()
        speaking = Client(proxy, admin, session)
        proxy.kill = speaking.kill
        yield speaking
        for service in await admin.items(SERVICES):
            if service["metadata"]["name"] != "kubernetes":
                await admin.call("DELETE", f"{SERVICES}/{service['metadata']['name']}")


async def test_without_a_fault_a_write_arrives_and_is_recorded(client: Client):
    assert await client.apply("a") == 201
    assert await client.exists("a")
    (call,) = client.proxy.record.calls
    assert (call.request.label, call.code, call.committed) == ("patch services a", 201, True)


async def test_what_the_role_does_not_allow_is_refused_by_the_api_server(client: Client):
    assert await client.apply("a", "secrets") == 403


async def test_killed_before_a_write_the_api_server_has_never_seen_it(client: Client):
    assert await client.apply("a") == 201
    client.proxy.add(Death(WriteName("patch services a", 2), When.BEFORE))
    client.proxy.add(Death(WriteName("patch services b", 1), When.BEFORE))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.apply("b")
    assert client.kills == 1
    assert not await client.exists("b")


async def test_killed_after_a_write_it_is_committed_and_nobody_was_told(client: Client):
    client.proxy.add(Death(WriteName("patch services a", 1), When.AFTER))
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.apply("a")
    assert client.kills == 1
    assert await client.exists("a")
    assert client.proxy.record.times("patch services a") == 1


async def test_the_dead_write_nothing_until_they_are_reborn(client: Client):
    client.proxy.add(Death(WriteName("patch services a", 1), When.BEFORE))
    for name in ("a", "b"):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.apply(name)
    client.proxy.reborn()
    assert await client.apply("a") == 201
    assert client.kills == 1
    assert not await client.exists("b")


async def test_an_injected_answer_never_reaches_the_api_server(client: Client):
    fault = Answer(faults.writes, 429, "TooManyRequests", retry_after=7)
    client.proxy.add(fault)
    assert await client.apply("a") == 429
    assert not await client.exists("a")
    client.proxy.remove(fault)
    assert await client.apply("a") == 201


async def test_a_silence_answers_nothing_and_breaks_off_at_its_end(client: Client):
    fault = Silence(faults.writes)
    client.proxy.add(fault)
    call = asyncio.create_task(client.apply("a"))
    await asyncio.wait([call], timeout=SHORT)
    assert not call.done()
    client.proxy.remove(fault)
    with pytest.raises(aiohttp.ClientConnectionError):
        await call
    assert not await client.exists("a")


async def test_one_dropped_event_is_lost_and_the_next_is_not(client: Client):
    fault = DropEvents(lambda request, event: event["type"] == "ADDED")
    client.proxy.add(fault)
    async with client.watch() as stream:
        await client.apply("lost")
        await client.apply("told")
        assert (await heard(stream))["object"]["metadata"]["name"] == "told"
    assert [event["object"]["metadata"]["name"] for event in fault.dropped] == ["lost"]


async def test_a_muted_stream_stays_open_and_mute_and_a_new_one_speaks(client: Client):
    async with client.watch() as old:
        fault = MuteStreams(faults.streams)
        client.proxy.add(fault)
        await fault.happened.wait()
        client.proxy.remove(fault)
        async with client.watch() as new:
            await client.apply("a")
            assert (await heard(new))["object"]["metadata"]["name"] == "a"
        with pytest.raises(TimeoutError):
            await within(SHORT, old.readline())


async def test_an_error_event_ends_an_open_stream(client: Client):
    async with client.watch() as stream:
        client.proxy.add(ErrorEvent(faults.streams, 410))
        event = await heard(stream)
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        assert await stream.readline() == b""


async def test_an_older_list_is_told_until_its_watch_begins(client: Client):
    before = await client.admin.raw(SERVICES, "")
    await client.apply("a")
    fault = OldLists({"services": before})
    client.proxy.add(fault)

    async def names() -> set[str]:
        listed = await client.list_everywhere()
        return {body["metadata"]["name"] for body in listed["items"]}

    assert "a" not in await names()
    async with client.watch():
        assert "a" in await names()
    assert fault.replayed == {"services"}
