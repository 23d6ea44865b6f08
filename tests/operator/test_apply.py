"""Carrying out a plan: the order of its writes, and what a write that fails leaves undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from model_operator import api, naming
from model_operator.apply import ChildRefused, apply
from model_operator.clients.cluster import Cluster
from model_operator.clients.events import ClusterEvents
from model_operator.errors import ApiError, Conflict
from model_operator.observe import read_resource
from model_operator.observed import Observed, Refusal
from model_operator.plan import Delete, Event, Plan, Scale
from tests.operator.builders import make_model_deployment
from tests.operator.conftest import Kubectl
from tests.operator.loopback import cluster_of
from tests.operator.test_cluster_client import service
from tests.operator.world import DEFAULTS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def observed(body: dict[str, Any]) -> Observed:
    return Observed(read_resource(body), DEFAULTS)


def plan(namespace: str, **changes: Any) -> Plan:
    """One write of each kind."""
    whole: dict[str, Any] = {
        "applies": (service(namespace, "first"), service(namespace, "second")),
        "scales": (Scale("d", 3),),
        "deletes": (Delete("Deployment", "old", "uid-old"),),
        "status": {"message": "done"},
        "events": (Event("Normal", "Complete", "done"),),
    }
    return Plan(**whole | changes)


class RecordingServer:
    """Notes every request; answers as told, by method and path, and else with an object."""

    def __init__(self, **refused: int) -> None:
        self.refused = refused
        self.requests: list[str] = []
        self.bodies: list[Any] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        parts = request.path.split("/")
        what = f"{request.method} {'/'.join(parts[parts.index('vision') + 1 :])}"
        self.requests.append(what)
        self.bodies.append(await request.json())
        for part, status in self.refused.items():
            if part in what:
                return web.json_response({"message": "in its own words"}, status=status)
        return web.json_response({"metadata": {}})


async def carry_out(server: RecordingServer) -> None:
    async with cluster_of(server.answer) as cluster:
        world = observed(make_model_deployment().build())
        await apply(cluster, ClusterEvents(cluster), world, plan("vision"), NOW)


CHILDREN = ["PATCH services/first", "PATCH services/second"]
EVERYTHING = [
    *CHILDREN,
    "PATCH deployments/d/scale",
    "DELETE deployments/old",
    "PUT modeldeployments/cats-dogs/status",
    "POST events",
]


async def test_children_then_counts_then_deletes_then_one_status_then_events():
    server = RecordingServer()
    await carry_out(server)
    assert server.requests == EVERYTHING


async def test_the_status_is_written_over_the_very_resource_that_was_observed():
    server = RecordingServer()
    await carry_out(server)
    status = server.bodies[EVERYTHING.index("PUT modeldeployments/cats-dogs/status")]
    assert status == make_model_deployment().build() | {"status": {"message": "done"}}


async def test_a_delete_names_the_uid_that_was_seen():
    server = RecordingServer()
    await carry_out(server)
    options = server.bodies[EVERYTHING.index("DELETE deployments/old")]
    assert options["preconditions"] == {"uid": "uid-old"}


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    ("refused", "kind", "name"), [("first", "Service", "first"), ("scale", "Deployment", "d")]
)
async def test_a_child_that_is_not_accepted_is_named_and_nothing_after_it_is_written(
    refused, kind, name, status
):
    server = RecordingServer(**{refused: status})
    with pytest.raises(ChildRefused, match=f"{kind} {name}: in its own words") as raised:
        await carry_out(server)
    assert raised.value.refusal == Refusal(kind, name, status, "in its own words")
    (failed,) = (index for index, what in enumerate(EVERYTHING) if refused in what)
    assert server.requests == EVERYTHING[: failed + 1]


@pytest.mark.parametrize(
    ("refused", "status", "kind"),
    [
        ("second", 500, ApiError),
        ("second", 409, Conflict),
        ("scale", 500, ApiError),
        ("old", 409, Conflict),
        ("status", 409, Conflict),
    ],
)
async def test_any_other_write_that_fails_ends_the_pass_with_its_own_error(refused, status, kind):
    server = RecordingServer(**{refused: status})
    with pytest.raises(ApiError) as raised:
        await carry_out(server)
    assert type(raised.value) is kind
    (failed,) = (index for index, what in enumerate(EVERYTHING) if refused in what)
    assert server.requests == EVERYTHING[: failed + 1]


async def test_a_delete_of_what_is_gone_and_an_event_that_cannot_be_written_are_no_failures():
    server = RecordingServer(old=404, events=403)
    await carry_out(server)
    assert server.requests == EVERYTHING


Prepare = Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture
def prepare(cluster: Cluster, kubectl: Kubectl, namespace: str) -> Prepare:
    """Makes a ModelDeployment on the real API server, and reads it."""

    async def make() -> dict[str, Any]:
        body = make_model_deployment().build()
        body["metadata"] = {"name": "cats-dogs", "namespace": namespace}
        kubectl("apply", "-f", "-", stdin=body)
        read = await cluster.get(api.KIND, namespace, "cats-dogs")
        assert read
        return read

    return make


async def carry_out_for_real(cluster: Cluster, body: dict[str, Any], **changes: Any) -> None:
    namespace = body["metadata"]["namespace"]
    whole = plan(namespace, **{"scales": (), "deletes": ()} | changes)
    await apply(cluster, ClusterEvents(cluster), observed(body), whole, datetime.now(UTC))


@pytest.mark.api
async def test_a_real_api_server_takes_every_write_and_describe_shows_the_event(
    cluster: Cluster, kubectl: Kubectl, namespace: str, prepare: Prepare
):
    body = await prepare()
    await carry_out_for_real(cluster, body)
    for name in ("first", "second"):
        child = await cluster.get("Service", namespace, name)
        assert child
        managers = [entry["manager"] for entry in child["metadata"]["managedFields"]]
        assert managers == [naming.MANAGER]
    described = kubectl("describe", "md", "cats-dogs", "-n", namespace).stdout
    assert "Complete" in described
    written = await cluster.get(api.KIND, namespace, "cats-dogs")
    assert written
    assert written["status"] == {"message": "done"}


@pytest.mark.api
async def test_a_child_that_a_real_api_server_refuses_is_told_in_its_words_and_status_is_untouched(
    cluster: Cluster, namespace: str, prepare: Prepare
):
    body = await prepare()
    wrong = service(namespace, "first")
    wrong["spec"]["type"] = "Nonsense"
    with pytest.raises(ChildRefused, match=r"Service first: .*Nonsense"):
        await carry_out_for_real(cluster, body, applies=(wrong, service(namespace, "second")))
    assert await cluster.get("Service", namespace, "second") is None
    untouched = await cluster.get(api.KIND, namespace, "cats-dogs")
    assert untouched == body
