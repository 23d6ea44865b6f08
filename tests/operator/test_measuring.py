"""The Measurer and the ways to read a pod, against real HTTP servers on the loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.aio import client

from model_operator.clients import measuring, pods
from model_operator.clients.measuring import Measurer
from model_operator.clients.pods import DirectPodReader, PodReader
from model_operator.clients.prometheus import Prometheus
from model_operator.clients.view import Key
from model_operator.errors import PodUnreachable
from model_operator.measurement import Counters, Measurement
from model_operator.observe import read_resource
from model_operator.observed import Resource
from tests.operator.builders import make_model_deployment
from tests.operator.loopback import serving
from tests.operator.measured import BEGAN, CANARY, STABLE, make_analysis
from tests.operator.metrics_pods import MetricsPod, Pods, hang

INTERVAL = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


KEY: Key = ("vision", "c")


def make_resource(uid: str = "u", **analysis: Any) -> Resource:
    resource = read_resource(make_model_deployment().build())
    assert resource.spec is not None
    spec = resource.spec.model_copy(update={"analysis": make_analysis(**analysis)})
    return replace(resource, uid=uid, spec=spec)


class Rollout:
    """One rollout: its pods, its measurer, and what status says of it."""

    def __init__(
        self, measurer: Measurer, canary: list[MetricsPod], stable: list[MetricsPod]
    ) -> None:
        self.measurer = measurer
        self.canary, self.stable = canary, stable
        self.resource = make_resource()
        self.step_started_at = BEGAN
        self.judged_at: datetime | None = None
        self.now = BEGAN

    async def measure(self) -> Measurement | None:
        return await self.measurer.measure(
            self.resource,
            {
                CANARY: [pod.body for pod in self.canary],
                STABLE: [pod.body for pod in self.stable],
            },
            canary=CANARY,
            stable=STABLE,
            step_started_at=self.step_started_at,
            last_judged_at=self.judged_at,
            now=self.now,
        )

    async def after(self, wait: timedelta) -> Measurement | None:
        self.now += wait
        return await self.measure()

    async def judged(self) -> Measurement:
        """The next measurement, which is then written to status."""
        measurement = await self.after(INTERVAL)
        assert measurement is not None
        self.judged_at = measurement.until.replace(microsecond=0)
        return measurement


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def make_pods(stack: AsyncExitStack) -> Pods:
    return Pods(stack)


@pytest.fixture
async def reader(stack: AsyncExitStack) -> PodReader:
    direct = DirectPodReader()
    stack.push_async_callback(direct.close)
    return direct


@pytest.fixture
def measurer(reader: PodReader) -> Measurer:
    return Measurer(reader, Prometheus(None))


@pytest.fixture
async def rollout(measurer: Measurer, make_pods: Pods) -> Rollout:
    """Under way: two pods of each revision, read once."""
    canary = [await make_pods.start(f"c-{n}", requests=10) for n in range(2)]
    stable = [await make_pods.start(f"s-{n}", requests=1000, errors=500) for n in range(2)]
    started = Rollout(measurer, canary, stable)
    assert await started.measure() is None
    return started


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For pods that hang; pods that are well must answer in that time, too."""
    monkeypatch.setattr(measuring, "READ_SECONDS", 0.4)


# --- windows -------------------------------------------------------------------------------------


async def test_there_is_nothing_to_judge_until_the_interval_has_passed(rollout: Rollout):
    rollout.canary[0].requests += 5
    assert await rollout.after(INTERVAL - SECOND) is None
    assert rollout.canary[0].reads == 1
    assert rollout.measurer.due(rollout.resource) == BEGAN + INTERVAL
    assert await rollout.after(SECOND) is not None


async def test_what_came_between_two_readings_is_counted_over_all_pods(rollout: Rollout):
    rollout.canary[0].requests += 30
    rollout.canary[1].requests += 12
    rollout.canary[1].errors += 2
    rollout.canary[0].overdue = 3
    measurement = await rollout.judged()
    canary, stable = measurement.of(CANARY), measurement.of(STABLE)
    assert (canary.window.requests, canary.window.errors) == (42, 2)
    assert (stable.window.requests, stable.window.errors) == (0, 0)
    assert canary.window.durations[0.1] == 42
    assert canary.overdue == {1.0: 3, 3.0: 3}
    assert canary.classes == {"cat", "dog"}
    assert (canary.pods, stable.pods) == (2, 2)
    assert (measurement.since, measurement.until) == (BEGAN, BEGAN + INTERVAL)


async def test_each_window_begins_where_the_last_one_was_judged_and_the_step_goes_on(
    rollout: Rollout,
):
    rollout.canary[0].requests += 7
    await rollout.judged()
    rollout.canary[0].requests += 4
    measurement = await rollout.judged()
    assert measurement.of(CANARY).window.requests == 4
    assert measurement.of(CANARY).step.requests == 11
    assert measurement.since == BEGAN + INTERVAL


async def test_a_window_whose_judgement_was_not_written_is_given_again(rollout: Rollout):
    rollout.canary[0].requests += 7
    first = await rollout.after(INTERVAL)
    rollout.canary[0].requests += 100
    assert await rollout.after(SECOND) is first
    rollout.judged_at = rollout.now
    assert await rollout.after(SECOND) is None
    measurement = await rollout.after(INTERVAL)
    assert measurement is not None
    assert measurement.of(CANARY).window.requests == 100


async def test_times_of_status_are_whole_seconds_and_no_window_is_lost_by_that(rollout: Rollout):
    rollout.now += timedelta(milliseconds=700)
    await rollout.judged()
    assert await rollout.after(INTERVAL - timedelta(milliseconds=100)) is None
    assert await rollout.after(timedelta(milliseconds=100)) is not None


async def test_a_new_step_begins_a_window_and_counts_its_requests_from_0(rollout: Rollout):
    rollout.canary[0].requests += 7
    await rollout.judged()
    rollout.canary[0].requests += 50
    rollout.step_started_at = rollout.now + SECOND
    assert await rollout.after(SECOND) is None
    rollout.canary[0].requests += 3
    assert (await rollout.judged()).of(CANARY).step.requests == 3


async def test_after_the_death_of_the_operator_the_window_begins_anew(
    rollout: Rollout, reader: PodReader
):
    rollout.canary[0].requests += 7
    await rollout.judged()
    rollout.measurer = Measurer(reader, Prometheus(None))
    rollout.canary[0].requests += 100
    assert await rollout.after(INTERVAL) is None
    rollout.canary[0].requests += 2
    assert (await rollout.judged()).of(CANARY).window.requests == 2


async def test_what_another_process_has_judged_is_not_judged_again(rollout: Rollout):
    rollout.canary[0].requests += 7
    rollout.judged_at = BEGAN + INTERVAL
    assert await rollout.after(INTERVAL) is None
    rollout.canary[0].requests += 2
    assert (await rollout.judged()).of(CANARY).window.requests == 2


async def test_a_forgotten_resource_begins_anew(rollout: Rollout):
    rollout.measurer.forget((rollout.resource.namespace, rollout.resource.name))
    assert rollout.measurer.due(rollout.resource) is None
    assert await rollout.after(INTERVAL) is None


async def test_a_resource_made_anew_under_its_name_begins_anew(rollout: Rollout):
    rollout.canary[0].requests += 100
    rollout.resource = replace(rollout.resource, uid="another")
    assert await rollout.after(INTERVAL) is None
    rollout.canary[0].requests += 2
    assert (await rollout.judged()).of(CANARY).window.requests == 2


async def test_however_many_are_rolled_out_each_is_measured(rollout: Rollout):
    rollout.canary = rollout.stable = []
    first = rollout.resource
    for number in range(3_000):
        rollout.resource = replace(first, name=f"other-{number}", uid=f"other-{number}")
        await rollout.measure()
    assert rollout.measurer.due(first) is not None


# --- pods that come and go -----------------------------------------------------------------------


async def test_a_pod_that_restarted_has_counted_what_it_counts_now(rollout: Rollout):
    rollout.stable[0].restart()
    rollout.stable[0].requests = 3
    assert (await rollout.judged()).of(STABLE).window.requests == 3


async def test_counters_that_have_fallen_are_a_restart_whatever_the_clock_says(rollout: Rollout):
    rollout.stable[0].requests = 5
    rollout.stable[0].errors = 0
    window = (await rollout.judged()).of(STABLE).window
    assert (window.requests, window.errors) == (5, 0)


async def test_a_pod_that_came_later_has_counted_all_of_it_since(rollout: Rollout, make_pods: Pods):
    rollout.canary.append(await make_pods.start("c-2", requests=20, errors=1))
    window = (await rollout.judged()).of(CANARY).window
    assert (window.requests, window.errors) == (20, 1)


async def test_what_a_pod_had_counted_when_it_was_first_read_is_not_of_this_step(
    rollout: Rollout,
):
    measurement = await rollout.judged()
    assert measurement.of(STABLE).step.requests == 0


async def test_a_pod_that_went_away_keeps_what_it_had_counted(rollout: Rollout):
    rollout.canary[0].requests += 9
    await rollout.judged()
    del rollout.canary[0]
    rollout.canary[0].requests += 1
    measurement = await rollout.judged()
    assert measurement.of(CANARY).step.requests == 10
    assert measurement.of(CANARY).window.requests == 1


async def test_what_a_shadow_compared_before_the_first_reading_counts(
    measurer: Measurer, make_pods: Pods
):
    shadow = await make_pods.start("c-0", requests=500, agreed=90, differed=10)
    rollout = Rollout(measurer, [shadow], [])
    await rollout.measure()
    shadow.agreed += 5
    measured = (await rollout.judged()).of(CANARY)
    assert (measured.compared.agreed, measured.compared.differed) == ({"cat": 95}, {"cat": 10})
    assert measured.step.requests == 0


async def test_pods_that_do_not_run_yet_or_are_ending_are_not_read(
    rollout: Rollout, make_pods: Pods
):
    pending, ending = [await make_pods.start(name) for name in ("c-8", "c-9")]
    pending.body["status"] = {"phase": "Pending"}
    ending.body["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    rollout.canary += [pending, ending]
    assert (await rollout.judged()).of(CANARY).unreadable is None
    assert pending.reads == ending.reads == 0


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 50), st.booleans(), st.booleans()), max_size=12))
def test_no_window_is_ever_negative_and_windows_add_up_to_the_step(life):
    """Whatever a pod does between two readings: (requests, a restart, whether it can be read)."""
    asyncio.run(_live(life))


async def _live(life: Sequence[tuple[int, bool, bool]]) -> None:
    pod = MetricsPod("c-0", {})
    pod.body = {
        "metadata": {"name": "c-0", "uid": "uid"},
        "status": {"phase": "Running", "podIP": "192.0.2.1"},
    }
    reader = _TextReader(pod)
    rollout = Rollout(Measurer(reader, Prometheus(None)), [pod], [])
    await rollout.measure()
    total = 0
    for requests, restarts, readable in life:
        if restarts:
            pod.restart()
        pod.requests += requests
        reader.readable = readable
        measured = (await rollout.judged()).of(CANARY)
        counts = (measured.window.requests, *measured.window.durations.values())
        assert min(counts) >= 0
        total += measured.window.requests
        assert measured.step.requests == total
    if all(readable for _, _, readable in life):
        assert total == sum(requests for requests, _, _ in life)


class _TextReader:
    """Reads a pod without a network: twelve readings of a hundred lives."""

    def __init__(self, pod: MetricsPod) -> None:
        self.pod = pod
        self.readable = True

    async def get(self, *_: object) -> bytes:
        if not self.readable:
            raise PodUnreachable("pod c-0 did not answer")
        return self.pod.text().encode()

    async def close(self) -> None:
        """Nothing is open."""


# --- pods that are not well ----------------------------------------------------------------------


def answer(text: str | bytes, status: int = 200):
    async def respond() -> web.StreamResponse:
        body = text if isinstance(text, bytes) else text.encode()
        return web.Response(body=body, status=status, headers={"Location": "/another"})

    return respond


REQUESTS = 'http_requests_total{path="/predict",status="200"}'
BUCKET = 'http_request_duration_seconds_bucket{path="/predict",le='
NONSENSE = {
    "another page": ("<html>Welcome to nginx!</html>", "it is no model server's"),
    "nothing": ("", "it is no model server's"),
    "bytes": (b"\xff\xfe\x00", "not Prometheus' text format"),
    "half a line": (f"{REQUESTS.rstrip('}')} 1", "not Prometheus' text format"),
    "no number": (f"{REQUESTS} many", "not Prometheus' text format"),
    "NaN": (f"{REQUESTS} NaN", "which is no count"),
    "infinite": (f"{REQUESTS} +Inf", "which is no count"),
    "negative": (f"{REQUESTS} -1", "which is no count"),
    "falling buckets": (
        f'{REQUESTS} 1\n{BUCKET}"0.1"}} 5\n{BUCKET}"+Inf"}} 4\n',
        "do not add up",
    ),
    "no last bucket": (f'{REQUESTS} 1\n{BUCKET}"0.1"}} 5\n', "do not add up"),
    "an error": (answer("no", 500), "answered with status 500"),
    "elsewhere": (answer("moved", 302), "answered with status 302"),
    "huge": (answer(b"x" * (pods.MOST_BYTES + 1)), "longer than"),
    "silent": (hang, "did not answer within"),
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_a_pod_that_cannot_be_read_twice_in_a_row_is_unreadable_in_a_sentence(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch, kind: str
):
    given, words = NONSENSE[kind]
    monkeypatch.setattr(measuring, "READ_SECONDS", 0.4 if given is hang else 20)
    rollout.canary[1].answer = given if callable(given) else answer(given)
    rollout.canary[0].requests += 5
    first = await rollout.judged()
    assert first.of(CANARY).unreadable is None
    assert first.of(CANARY).window.requests == 5
    second = await rollout.judged()
    assert words in str(second.of(CANARY).unreadable)
    assert "pod c-1" in str(second.of(CANARY).unreadable)
    assert second.of(STABLE).unreadable is None


async def test_a_pod_that_is_silent_from_the_beginning_is_unreadable_by_the_first_judgement(
    measurer: Measurer, make_pods: Pods, impatient: None
):
    rollout = Rollout(measurer, [await make_pods.start("c-0", answer=hang)], [])
    assert await rollout.measure() is None
    assert "did not answer within 0.4 s" in str((await rollout.judged()).of(CANARY).unreadable)


async def test_a_pod_that_is_not_ready_need_not_tell(rollout: Rollout, impatient: None):
    rollout.canary[1].answer = hang
    rollout.canary[1].body["status"]["conditions"] = []
    await rollout.judged()
    assert (await rollout.judged()).of(CANARY).unreadable is None


async def test_what_was_counted_while_a_pod_was_silent_is_not_lost(
    rollout: Rollout, impatient: None
):
    pod = rollout.canary[0]
    pod.answer = hang
    pod.requests += 20
    assert (await rollout.judged()).of(CANARY).window.requests == 0
    pod.answer = None
    assert (await rollout.judged()).of(CANARY).window.requests == 20


async def test_a_slow_pod_delays_a_measurement_by_no_more_than_its_limit(
    rollout: Rollout, impatient: None
):
    for pod in (*rollout.canary, *rollout.stable):
        pod.answer = hang
    async with asyncio.timeout(5):
        await rollout.judged()


async def test_pods_that_hang_take_no_time_from_those_of_others(reader: PodReader, make_pods: Pods):
    hanging = await make_pods.start("h", answer=hang)
    well = await make_pods.start("w", requests=1)

    async def read(key: Key, pod: MetricsPod, patience: float) -> bytes:
        port = pod.body["spec"]["containers"][0]["ports"][0]["containerPort"]
        return await reader.get(key, pod.name, "127.0.0.1", port, "/metrics", patience)

    everyone = range(4 * pods.AT_ONCE)
    blocked = [asyncio.create_task(read(KEY, hanging, 60)) for _ in everyone]
    async with asyncio.timeout(30):
        while hanging.reads < pods.AT_ONCE:  # noqa: ASYNC110 - a server counts them
            await asyncio.sleep(0.01)
        assert b"http_requests_total" in await read(("vision", "other"), well, 5)
        assert hanging.reads == pods.AT_ONCE
    for task in blocked:
        task.cancel()
    await asyncio.gather(*blocked, return_exceptions=True)


async def test_pods_that_hang_are_given_up_and_those_behind_them_are_read(
    reader: PodReader, make_pods: Pods
):
    hanging = await make_pods.start("h", answer=hang)
    port = hanging.body["spec"]["containers"][0]["ports"][0]["containerPort"]
    asked = [
        reader.get(KEY, "h", "127.0.0.1", port, "/metrics", 0.1) for _ in range(3 * pods.AT_ONCE)
    ]
    async with asyncio.timeout(30):
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(end) for end in ended} == {PodUnreachable}
    assert hanging.reads == 3 * pods.AT_ONCE


async def test_the_process_reads_only_so_many_pods_at_a_time(
    reader: PodReader, stack: AsyncExitStack, make_pods: Pods
):
    hanging = await make_pods.start("h", answer=hang)
    port = hanging.body["spec"]["containers"][0]["ports"][0]["containerPort"]
    another = DirectPodReader()
    stack.push_async_callback(another.close)

    def reads(of: PodReader, count: int) -> list[asyncio.Task[bytes]]:
        keys = [("vision", f"model-{number}") for number in range(count)]
        return [
            asyncio.create_task(of.get(key, "h", "127.0.0.1", port, "/metrics", 60)) for key in keys
        ]

    read = reads(reader, 3 * pods.AT_ONCE_IN_ALL)
    async with asyncio.timeout(30):
        while hanging.reads < pods.AT_ONCE_IN_ALL:  # noqa: ASYNC110 - a server counts them
            await asyncio.sleep(0.01)
        # Another process's come after those that the first would have begun.
        read += reads(another, 1)
        while hanging.reads < pods.AT_ONCE_IN_ALL + 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert hanging.reads == pods.AT_ONCE_IN_ALL + 1
    for task in read:
        task.cancel()
    await asyncio.gather(*read, return_exceptions=True)


async def test_a_pod_that_could_not_be_read_before_has_counted_nobody_knows_when(
    rollout: Rollout, make_pods: Pods, impatient: None
):
    late = await make_pods.start("c-2", requests=500, agreed=7, answer=hang)
    rollout.canary.append(late)
    await rollout.judged()
    late.answer = None
    measured = (await rollout.judged()).of(CANARY)
    assert measured.window.requests == 0
    assert measured.compared.agreed == {"cat": 7}
    late.requests += 3
    assert (await rollout.judged()).of(CANARY).window.requests == 3


# --- two ways to a pod ---------------------------------------------------------------------------


async def test_a_pod_that_nobody_listens_at_is_unreachable(reader: PodReader):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(PodUnreachable, match=f"pod p .127.0.0.1:{port}/metrics.: "):
        await reader.get(KEY, "p", "127.0.0.1", port, "/metrics", 5)


async def test_an_address_of_ipv6_is_one_too(reader: PodReader):
    with pytest.raises(PodUnreachable, match=r"pod p \(\[::1\]:9/x\): "):
        await reader.get(KEY, "p", "::1", 9, "/x", 5)


def proxied(url: str) -> PodReader:
    configuration = client.Configuration()
    configuration.host = url
    return pods.reader("proxy", configuration)


async def test_outside_the_cluster_a_pod_is_read_through_the_api_server():
    asked = []

    async def api_server(request: web.BaseRequest) -> web.StreamResponse:
        asked.append((request.method, request.path, request.headers["Accept"]))
        return web.Response(text="the metrics")

    async with serving(api_server) as url:
        reader = proxied(url)
        assert await reader.get(KEY, "c-0", "10.0.0.1", 8000, "/metrics", 5) == b"the metrics"
        await reader.close()
    assert asked == [("GET", "/api/v1/namespaces/vision/pods/c-0:8000/proxy/metrics", "*/*")]


@pytest.mark.parametrize(
    ("respond", "words"),
    [
        (answer('{"message": "pods \\"c-0\\" is forbidden"}', 403), "status 403: pods .c-0. is"),
        (answer("error trying to reach service", 503), "status 503: error trying"),
        (answer(b"x" * (pods.MOST_BYTES + 1)), "longer than"),
        (hang, "did not answer within 1 s"),
    ],
)
async def test_what_the_api_server_does_not_hand_through_is_an_unreachable_pod(respond, words):
    async def api_server(request: web.BaseRequest) -> web.StreamResponse:
        return await respond()

    async with serving(api_server) as url:
        reader = proxied(url)
        try:
            patience = 1 if respond is hang else 10
            with pytest.raises(PodUnreachable, match=words):
                await reader.get(KEY, "c-0", "10.0.0.1", 8000, "/metrics", patience)
        finally:
            await reader.close()


@pytest.mark.parametrize(
    ("access", "environment", "kind"),
    [
        ("auto", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, pods.DirectPodReader),
        ("auto", {}, pods.ProxyPodReader),
        ("direct", {}, pods.DirectPodReader),
        ("proxy", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, pods.ProxyPodReader),
    ],
)
async def test_the_way_is_the_settings_else_by_where_the_operator_runs(access, environment, kind):
    reader = pods.reader(access, client.Configuration(), environment=environment)
    assert isinstance(reader, kind)
    await reader.close()


def test_a_difference_keeps_the_classes_that_were_never_predicted():
    known = Counters(predictions={"cat": 3, "dog": 0})
    assert known.since(known).predictions == {"cat": 0, "dog": 0}
