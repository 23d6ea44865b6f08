"""The tracker against a real MLflow server, and against servers that are not well."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from aiohttp import web

from model_operator import tracking
from model_operator.clients import mlflow as mlflow_module
from model_operator.clients.fence import Fence, boot_seconds
from model_operator.clients.mlflow import Body, MlflowClient
from model_operator.clients.tracker import MlflowTracker
from model_operator.errors import (
    ExperimentDeleted,
    MlflowError,
    MlflowLoginRefused,
    MlflowRefused,
    MlflowUnreachable,
    NotLeading,
    NotMlflow,
)
from model_operator.tracking import RolloutRecord
from tests.deadlines import within
from tests.operator.builders import digest_of
from tests.operator.loopback import serving
from tests.operator.rollout_records import record, rollout


class Mlflow:
    """A real server as a person sees it, with a model and an experiment for one test alone."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.model = f"cats-dogs-{uuid.uuid4().hex[:8]}"
        self.experiment = f"rollouts of {self.model}"
        self.client = httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=60)
        self.post("registered-models/create", name=self.model)
        for version in (1, 2, 3):
            tags = [{"key": "sha256", "value": digest_of(version)}]
            self.post("model-versions/create", name=self.model, source="s3://m/x", tags=tags)

    def post(self, endpoint: str, **body: Any) -> dict[str, Any]:
        answer = self.client.post(endpoint, json=body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def get(self, endpoint: str, **query: Any) -> dict[str, Any]:
        answer = self.client.get(endpoint, params=query)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def tracker(self, cluster: str = "prod") -> MlflowTracker:
        return MlflowTracker(MlflowClient(self.url), cluster, self.experiment)

    def rollout(self, version: int = 2, **changes: Any) -> Any:
        uris = {
            "resolved_uri": f"models:/{self.model}/{version}",
            "from_uri": f"models:/{self.model}/{version - 1}",
        }
        return rollout(version, **uris | changes)

    def record(self, version: int = 2, **changes: Any) -> RolloutRecord:
        return record(self.rollout(version, **changes))

    def experiment_id(self) -> str:
        found = self.get("experiments/get-by-name", experiment_name=self.experiment)
        return str(found["experiment"]["experiment_id"])

    def runs(self) -> list[dict[str, Any]]:
        found = self.post("runs/search", experiment_ids=[self.experiment_id()])
        return list(found.get("runs") or ())

    def tags(self, version: int) -> dict[str, str]:
        found = self.get("model-versions/get", name=self.model, version=version)["model_version"]
        return {t["key"]: t["value"] for t in found.get("tags", ()) if t["key"] != "sha256"}


@pytest.fixture
def mlflow(mlflow_server: str) -> Iterator[Mlflow]:
    server = Mlflow(mlflow_server)
    with contextlib.closing(server.client):
        yield server


def listed(run: dict[str, Any], what: str) -> dict[str, Any]:
    return {member["key"]: member["value"] for member in run["data"].get(what, ())}


LIVE = "cvfactory.live.prod.vision.cats-dogs"
LAST = "cvfactory.last-rollout.prod.vision.cats-dogs"


async def test_a_rollout_is_a_run_with_what_was_asked_what_was_found_and_how_it_ended(mlflow):
    await mlflow.tracker().record(mlflow.record())
    (run,) = mlflow.runs()
    info = run["info"]
    assert (info["run_name"], info["status"]) == ("vision/cats-dogs 2", "FINISHED")
    assert info["end_time"] - info["start_time"] == 120_000
    assert listed(run, "params") == {
        "cluster": "prod",
        "namespace": "vision",
        "name": "cats-dogs",
        "rollout": "2",
        "strategy": "Canary",
        "from.revision": "0000000001",
        "from.version": "1",
        "from.uri": f"models:/{mlflow.model}/1",
        "to.revision": "0000000002",
        "to.version": "2",
        "to.uri": f"models:/{mlflow.model}/2",
        "to.sha256": digest_of(2),
    }
    assert listed(run, "metrics") == {
        "duration_seconds": 120,
        "seconds_until_switch": 60,
        "steps": 5,
        "analysis.error-rate": 0.005,
        "analysis.error-rate.baseline": 0.004,
        "analysis.error-rate.samples": 200,
        "analysis.no data.samples": 3,
    }
    tags = listed(run, "tags")
    assert (tags["outcome"], tags["reason"]) == ("complete", "Complete")
    assert tags["message"] == "revision serves with 3 of 3 pods ready"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("RolledBack", "rolled back"), ("Aborted", "aborted"), ("Cancelled", "cancelled")],
)
async def test_a_rollout_that_did_not_get_there_is_a_failed_run_and_moves_no_live_tag(
    mlflow, outcome, words
):
    await mlflow.tracker().record(mlflow.record(1, from_uri=None, from_version=None))
    ended = mlflow.rollout(number=3, outcome=outcome, reason="Why", switched_at=None)
    await mlflow.tracker().record(record(ended, live=False))
    run = next(run for run in mlflow.runs() if listed(run, "params")["rollout"] == "3")
    assert run["info"]["status"] == "FAILED"
    assert listed(run, "tags")["outcome"] == words
    assert mlflow.tags(2) == {LAST: f"{words} at {ended.ended_at}: Why"}
    assert LIVE in mlflow.tags(1)


async def test_the_live_tag_moves_with_the_requests_and_is_on_one_version_of_a_resource(mlflow):
    tracker = mlflow.tracker()
    await tracker.record(mlflow.record(1, number=1, from_uri=None))
    assert mlflow.tags(1)[LIVE] == "0000000001 since 2026-01-01T10:01:00Z"
    await tracker.record(mlflow.record(2))
    assert mlflow.tags(2)[LIVE] == "0000000002 since 2026-01-01T10:01:00Z"
    assert LIVE not in mlflow.tags(1)
    assert mlflow.tags(1)[LAST].startswith("complete at ")


async def test_the_tags_of_other_resources_and_other_clusters_are_left_alone(mlflow):
    first = mlflow.rollout(1, number=1)
    for where in ({"name": "others"}, {"namespace": "audio"}):
        await mlflow.tracker().record(record(first, uid=f"uid-of-{next(iter(where))}", **where))
    await mlflow.tracker("staging").record(record(first, uid="uid-of-staging"))
    await mlflow.tracker().record(record(first))
    await mlflow.tracker().record(mlflow.record(2))
    assert {key for key in mlflow.tags(1) if key.startswith("cvfactory.live.")} == {
        "cvfactory.live.prod.vision.others",
        "cvfactory.live.prod.audio.cats-dogs",
        "cvfactory.live.staging.vision.cats-dogs",
    }


async def test_a_model_from_elsewhere_takes_the_live_tag_away_and_has_a_run_alone(mlflow):
    await mlflow.tracker().record(mlflow.record(1, number=1))
    from_bucket = {"resolved_uri": "s3://bucket/cats", "from_uri": f"models:/{mlflow.model}/1"}
    await mlflow.tracker().record(mlflow.record(2, **from_bucket))
    assert LIVE not in mlflow.tags(1)
    assert mlflow.tags(2) == {}
    assert len(mlflow.runs()) == 2


async def test_a_version_of_another_registry_takes_the_live_tag_away_and_tags_no_namesake(mlflow):
    await mlflow.tracker().record(mlflow.record(1, number=1))
    await mlflow.tracker().record(mlflow.record(2, registry="https://mlflow.other.example"))
    assert LIVE not in mlflow.tags(1)
    assert mlflow.tags(2) == {}
    assert len(mlflow.runs()) == 2


async def test_the_operators_own_registry_may_be_named_and_its_versions_are_tagged(mlflow):
    named = mlflow.rollout(2, registry=f"{mlflow.url}/")
    await mlflow.tracker().record(replace(record(named), own_registry=mlflow.url))
    assert {LIVE, LAST} <= mlflow.tags(2).keys()


async def test_a_record_that_is_late_says_nothing_of_a_version_that_was_rolled_out_again(mlflow):
    again = mlflow.rollout(2, number=3, ended_at="2026-01-01T11:00:00Z")
    await mlflow.tracker().record(record(again))
    failed = mlflow.rollout(2, outcome="RolledBack", reason="Why")
    await mlflow.tracker().record(replace(record(failed, live=False), newest=False))
    assert mlflow.tags(2)[LAST] == "complete at 2026-01-01T11:00:00Z: Complete"
    assert len(mlflow.runs()) == 2


async def test_a_resource_that_is_gone_is_live_nowhere(mlflow):
    await mlflow.tracker().record(mlflow.record())
    await mlflow.tracker().withdraw("vision", "cats-dogs")
    assert LIVE not in mlflow.tags(2)
    assert LAST in mlflow.tags(2)


async def test_a_version_that_the_registry_has_no_more_keeps_no_rollout_from_its_record(
    mlflow,
):
    gone = {"resolved_uri": f"models:/{mlflow.model}/77"}
    await mlflow.tracker().record(mlflow.record(2, **gone))
    assert len(mlflow.runs()) == 1


async def test_names_as_long_as_kubernetes_allows_and_any_metrics_name_are_taken(mlflow):
    odd = mlflow.rollout().analysis[0].model_copy(update={"name": 'käse/../% of "all":x'})
    long = record(
        mlflow.rollout(analysis=[odd], message="x" * 100_000),
        namespace="n" * 63,
        name="m" * 50,
    )
    await mlflow.tracker("c" * 63).record(long)
    (run,) = mlflow.runs()
    assert "analysis.k_se_.._% of".replace("%", "_") in str(listed(run, "metrics"))
    assert f"cvfactory.live.{'c' * 63}.{'n' * 63}.{'m' * 50}" in mlflow.tags(2)


async def test_a_deleted_experiment_is_named_in_a_sentence_and_is_tried_again(mlflow):
    await mlflow.tracker().record(mlflow.record())
    mlflow.post("experiments/delete", experiment_id=mlflow.experiment_id())
    with pytest.raises(ExperimentDeleted, match=f"{mlflow.experiment}.*restore it"):
        await mlflow.tracker().record(mlflow.record(3))


# --- the same record twice -----------------------------------------------------------------------


class Dying(MlflowClient):
    """Its process dies after so many requests: the next is not sent."""

    def __init__(self, address: str, requests: int) -> None:
        super().__init__(address)
        self.left = requests

    async def _call(self, method: str, endpoint: str, **content: Any) -> Body:
        if not self.left:
            raise MlflowUnreachable("dead")
        self.left -= 1
        return await super()._call(method, endpoint, **content)


async def test_a_death_between_any_two_requests_leaves_one_run_and_the_tags_of_a_whole_record(
    mlflow,
):
    await mlflow.tracker().record(mlflow.record(1, number=1))
    requests, whole = 0, False
    while not whole:
        told = mlflow.rollout(2, number=10 + requests)
        dying = MlflowTracker(Dying(mlflow.url, requests), "prod", mlflow.experiment)
        try:
            await dying.record(record(told))
            whole = True
        except MlflowUnreachable:
            await mlflow.tracker().record(record(told))
        found = [r for r in mlflow.runs() if listed(r, "params").get("rollout") == str(told.number)]
        (run,) = found
        assert run["info"]["status"] == "FINISHED"
        assert run["info"]["end_time"] - run["info"]["start_time"] == 120_000
        assert len(listed(run, "metrics")) == len(tracking.run_metrics(record(told)))
        assert LIVE in mlflow.tags(2)
        assert LIVE not in mlflow.tags(1)
        requests += 1
    assert requests > 6
    assert len(mlflow.runs()) == 1 + requests


async def test_two_operators_that_make_the_experiment_at_once_both_record(mlflow):
    trackers = [mlflow.tracker(cluster) for cluster in ("prod", "staging")]
    records = [record(mlflow.rollout(), uid=uid) for uid in ("uid-1", "uid-2")]
    await asyncio.gather(*(t.record(r) for t, r in zip(trackers, records, strict=True)))
    assert len(mlflow.runs()) == 2


# --- servers that are not well -------------------------------------------------------------------


async def failure(url: str) -> MlflowError:
    with pytest.raises(MlflowError) as raised:
        await MlflowTracker(MlflowClient(url), "prod", "rollouts").record(record())
    assert url in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    return raised.value


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, '{"error_code": "INTERNAL_ERROR"}', MlflowUnreachable),
        (503, "<html>", MlflowUnreachable),
        (429, "slow down", MlflowUnreachable),
        (301, "", MlflowUnreachable),
        (404, "<html>404</html>", NotMlflow),
        (200, "<html>Please log in</html>", NotMlflow),
        (200, "{}", NotMlflow),
        (200, '{"experiment": [1]}', NotMlflow),
        (401, "", MlflowLoginRefused),
        (403, '{"error_code": "PERMISSION_DENIED"}', MlflowLoginRefused),
        (400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', MlflowRefused),
    ],
)
async def test_each_way_not_to_be_well_is_its_own_error_with_one_sentence(status, body, kind):
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body)

    async with serving(handler) as url:
        assert type(await failure(url)) is kind


async def test_a_server_on_whose_port_nobody_listens_cannot_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    assert "cannot be reached" in str(await failure(url))


async def test_a_server_that_hangs_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(mlflow_module, "TIMEOUT_SECONDS", 0.1)

    async def handler(request: web.BaseRequest) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as url:
        assert "no answer in time" in str(await failure(url))


async def test_a_process_that_has_lost_the_lead_asks_the_server_and_writes_nothing_into_it(mlflow):
    fence = Fence()
    client = MlflowClient(mlflow.url, fence=fence)
    with pytest.raises(NotLeading):
        await MlflowTracker(client, "prod", mlflow.experiment).record(mlflow.record())
    assert await client.get("registered-models/get", {"name": mlflow.model})
    assert mlflow.tags(2) == {}


async def test_a_write_is_waited_for_no_longer_than_the_process_leads():
    fence, heard = Fence(), list[str]()

    async def silent(request: web.BaseRequest) -> web.Response:
        heard.append(request.method)
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as url:
        client = MlflowClient(url, fence=fence)
        fence.open_until(boot_seconds() + 0.3)
        started = time.monotonic()
        with pytest.raises(NotLeading, match="the lead was lost meanwhile"):
            await client.post("runs/create", {})
        assert 0.2 < time.monotonic() - started < 5
    assert heard == ["POST"]


async def test_a_server_that_is_away_is_not_the_loss_of_the_lead():
    fence = Fence()
    fence.open_until(math.inf)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(MlflowUnreachable):
        await MlflowClient(url, fence=fence).post("runs/create", {})


async def test_who_gives_the_lead_back_hears_first_of_what_is_being_recorded():
    fence, arrived, free = Fence(), asyncio.Event(), asyncio.Event()
    fence.open_until(math.inf)

    async def slow(request: web.BaseRequest) -> web.Response:
        arrived.set()
        await free.wait()
        return web.json_response({})

    async with serving(slow) as url:
        writing = asyncio.create_task(MlflowClient(url, fence=fence).post("runs/create", {}))
        await within(5, arrived.wait())
        quiet = asyncio.create_task(fence.quiet())
        await asyncio.sleep(0)
        assert not quiet.done()
        free.set()
        await within(5, writing)
        await within(5, quiet)
