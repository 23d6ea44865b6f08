"""What played pods say is what the operator understands, and routers are as late as real ones."""

from __future__ import annotations

import json
from typing import Any, cast

from model_operator import router_answer
from model_operator.clients import exposition
from model_operator.router_answer import RouterAnswer
from model_operator.traffic.router import TOUCH_ANNOTATION
from model_operator.traffic.router_objects import digest, labels
from tests.fault.admin import Admin
from tests.fault.paths import parse
from tests.fault.pod_answers import AGENT, METRICS, MOUNT_SECONDS, PodAnswers, Says

Body = dict[str, Any]


class OneConfigMap:
    """An API server that knows the router's ConfigMap and nothing else."""

    text = ""

    async def get(self, path: str) -> Body | None:
        assert path == "/api/v1/namespaces/vision/configmaps/cats-router"
        return {"data": {"route.json": self.text}}


def route(weight: int) -> str:
    addresses = {revision: {"address": "10.96.0.1:80"} for revision in ("a", "b")}
    document = {"stable": "a", "canary": "b", "weight": weight, "revisions": addresses}
    return json.dumps(document)


def pod(name: str, **metadata: Any) -> Body:
    identity = {"namespace": "vision", "name": name, "uid": f"uid-{name}"}
    return {"metadata": {**identity, **metadata}, "status": {"podIP": "10.9.0.1"}}


def answers_of(found: Body, admin: OneConfigMap | None = None) -> PodAnswers:
    def find(namespace: str, name: str) -> Body | None:
        return found if (namespace, name) == ("vision", found["metadata"]["name"]) else None

    return PodAnswers(cast("Admin", admin or OneConfigMap()), find)


async def read(answers: PodAnswers) -> RouterAnswer:
    code, text = await answers.answer("vision", "router-0", *AGENT)
    assert code == 200
    return router_answer.parse(json.loads(text))


async def test_a_server_counts_the_same_number_of_requests_between_any_two_readings():
    answers = answers_of(pod("server-0"))
    readings = []
    for _ in range(3):
        code, text = await answers.answer("vision", "server-0", *METRICS)
        assert code == 200
        readings.append(exposition.parse(text.encode()).counters)
    first, second, third = readings
    assert second.since(first).requests == third.since(second).requests == 100
    assert third.errors == 0
    assert sum(third.agreed.values()) == 400


async def test_a_bad_server_fails_half_and_disagrees_in_half():
    answers = answers_of(pod("server-0"))
    answers.say("vision", Says(bad=lambda _: True))
    _, text = await answers.answer("vision", "server-0", *METRICS)
    counters = exposition.parse(text.encode()).counters
    assert (counters.requests, counters.errors) == (100, 50)
    assert sum(counters.agreed.values()) == sum(counters.differed.values()) == 200


async def test_a_router_follows_a_new_route_some_time_after_it_was_told_to_look_and_not_before():
    server = OneConfigMap()
    server.text = route(0)
    router = pod("router-0", labels=labels("cats"))
    answers = answers_of(router, server)
    assert (await read(answers)).hash == digest(route(0))
    server.text = route(50)
    assert (await read(answers)).hash == digest(route(0))
    router["metadata"]["annotations"] = {TOUCH_ANNOTATION: "look"}
    assert (await read(answers)).hash == digest(route(0))
    now = answers.clock()
    answers.clock = lambda: now + MOUNT_SECONDS
    assert (await read(answers)).hash == digest(route(50))
    assert (await read(answers)).weights == {"a": 50, "b": 50}


async def test_a_pod_that_is_not_there_does_not_answer():
    answers = answers_of(pod("server-0"))
    assert (await answers.answer("vision", "server-1", *METRICS))[0] == 503
    assert (await answers.answer("vision", "server-0", *AGENT))[0] == 503


def test_what_is_asked_of_a_pod_and_hurries_one_along_is_told_from_other_requests():
    asked = parse("GET", "/api/v1/namespaces/v/pods/p:8000/proxy/metrics")
    assert (asked.resource, asked.name, asked.tail) == ("pods/proxy", "p:8000", "/metrics")
    assert asked.path == "/api/v1/namespaces/v/pods/p:8000/proxy/metrics"
    hurried = parse("PATCH", "/api/v1/namespaces/v/pods/p-x7k2q")
    assert (hurried.label, hurried.writes, hurried.counted) == ("patch pods", True, False)
