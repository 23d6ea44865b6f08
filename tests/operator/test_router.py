"""Provider Router: routes to objects, and objects and agents' answers to routes. Pure."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import api, naming, reasons, router_answer
from model_operator.observed import Defaults, Observed, Resource
from model_operator.route import Route
from model_operator.router_answer import RouterAnswer
from model_operator.traffic import router, router_objects, service
from model_operator.traffic.router import ROUTER
from model_router import route as agents_route
from tests.operator.builders import UID, crashed, make_model_deployment, make_pod, waiting
from tests.operator.stories import passes
from tests.operator.world import World

A, B, C = "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"
TO_A = Route(A)
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Body = dict[str, Any]


def resource(provider: str = "Router", **settings: Any) -> Resource:
    traffic: Body = {"provider": provider, **({"router": settings} if settings else {})}
    body = make_model_deployment().spec(traffic=traffic).build()
    return Resource(
        name="cats-dogs",
        namespace="vision",
        uid=UID,
        generation=1,
        body=body,
        spec=api.ModelDeploymentSpec.model_validate(body["spec"]),
        invalid=None,
        status=api.ModelDeploymentStatus(),
    )


def world(**settings: Any) -> Observed:
    """Nothing is written yet; the pods of A and B are ready."""
    pods = {r: (make_pod(f"{r}-0", ready=True),) for r in (A, B)}
    return Observed(
        resource=resource(**settings),
        defaults=Defaults(
            server_image="example/server:1", tracking_uri=None, router_image="example/router:1"
        ),
        budget_api="v1beta1",
        deployments={r: {"spec": {"replicas": 1}} for r in pods},
        pods=pods,
    )


def behind_service(observed: Observed, revision: str = A) -> Observed:
    """Provider Service gives all requests to a revision."""
    (endpoint,) = service.SERVICE.objects(observed, Route(revision))
    listed = frozenset(pod["metadata"]["name"] for pod in observed.pods[revision])
    return replace(observed, service=endpoint, endpoint_pods=listed)


def applied(observed: Observed, route: Route) -> Observed:
    """What the API server has after one pass."""
    for body in ROUTER.objects(observed, route):
        kind, name = body["kind"], body["metadata"]["name"]
        revision = name.removeprefix("cats-dogs-")
        live = copy.deepcopy(body)
        if (kind, name) == ("Service", "cats-dogs"):
            observed = replace(observed, service=live)
            continue
        if kind == "Service":
            live["spec"]["clusterIP"] = f"10.0.0.{'abc'.index(revision[0]) + 1}"
            services = {**observed.revision_services, revision: live}
            observed = replace(observed, revision_services=services)
        observed = replace(observed, others={**observed.others, (kind, name): live})
    return observed


def with_pods(observed: Observed, *names: str, ready: bool = True, **fields: Any) -> Observed:
    """Router pods; their agents hold what the ConfigMap says."""
    pods = []
    for name in names:
        pod = make_pod(name, ready=ready, **fields)
        pod["metadata"]["uid"] = f"uid-{name}"
        pods.append(pod)
    observed = replace(observed, router_pods=tuple(pods))
    return answering(observed)


def answering(observed: Observed, **others: RouterAnswer) -> Observed:
    text = router_objects.written_text(observed)
    good = RouterAnswer(hash=router_objects.digest(text or ""))
    answers = {pod["metadata"]["name"]: good for pod in observed.router_pods}
    return replace(observed, router_answers=answers | others)


def used(route: Route = TO_A, **settings: Any) -> Observed:
    """The router has the clients, at this route."""
    observed = applied(applied(world(**settings), route), route)
    observed = with_pods(observed, "r-0", "r-1")
    observed = applied(observed, route)
    return replace(observed, endpoint_pods=frozenset({"r-0", "r-1"}))


def by_kind(bodies: Any) -> dict[tuple[str, str], Body]:
    return {(body["kind"], body["metadata"]["name"]): body for body in bodies}


def document_of(observed: Observed) -> Body:
    return dict(router_objects.read_document(observed))


# --- what is written, and when -------------------------------------------------------------


def test_services_come_first_since_their_addresses_go_into_the_route():
    kinds = [body["kind"] for body in ROUTER.objects(world(), Route(A))]
    assert kinds == ["Service", "Service"], "A's, and that of B, which runs"
    observed = applied(world(), Route(A))
    kinds = [body["kind"] for body in ROUTER.objects(observed, Route(A))]
    assert kinds[2:] == ["ConfigMap", "Deployment", "PodDisruptionBudget"]


@given(
    weight=st.integers(0, 100),
    sticky=st.sampled_from([None, {"header": "X-User"}, {"cookie": "uid"}]),
    force=st.sampled_from([None, "X-Version"]),
)
def test_the_agent_reads_what_the_operator_writes(
    weight: int, sticky: Body | None, force: str | None
):
    settings = {"sticky": sticky, "forceHeader": force}
    observed = used(Route(A, B, weight), **{k: v for k, v in settings.items() if v})
    text = router_objects.written_text(observed) or ""
    read = agents_route.parse(text)
    assert read.hash == router_objects.digest(text)
    assert (read.stable, read.canary, read.weight) == (A, B, weight)
    assert {r: str(a) for r, a in read.addresses.items()} == {A: "10.0.0.1:80", B: "10.0.0.2:80"}
    assert (read.sticky and {read.sticky.kind: read.sticky.name}) == sticky
    assert read.force_header == force
    assert router.written_route(observed) == Route(A, B, weight)


def test_an_address_of_the_next_protocol_is_one_too():
    observed = used()
    body = copy.deepcopy(observed.revision_services[A])
    body["spec"]["clusterIP"] = "fd00::1"
    observed = replace(observed, revision_services={A: body})
    text = router_objects.route_document(observed, Route(A)) or ""
    assert str(agents_route.parse(text).addresses[A]) == "[fd00::1]:80"


def test_while_a_revision_has_no_address_the_written_route_stays():
    before = used(Route(A))
    third = applied(before, Route(A, C, 50))
    assert document_of(third) == document_of(before)
    assert C in third.revision_services
    assert router.written_route(applied(third, Route(A, C, 50))) == Route(A, C, 50)


def test_a_canary_of_weight_0_is_known_to_the_agents_as_soon_as_it_has_an_address():
    observed = applied(used(Route(A)), Route(A, C, 0))
    assert router.written_route(observed) == Route(A), "nothing waits for an address"
    observed = applied(observed, Route(A, C, 0))
    assert agents_route.parse(router_objects.written_text(observed) or "").canary == C
    assert document_of(observed)["revisions"].keys() == {A, C}
    reading = ROUTER.read(answering(observed))
    assert (reading.route, reading.confirmed) == (Route(A, C, 0), True)
    assert reading.actual == {A: 100, C: 0}


def test_the_next_canary_of_weight_0_takes_the_last_ones_requests_away_at_once():
    after = applied(used(Route(A, B, 50)), Route(A, C, 0))
    assert router.written_route(after) == Route(A)


@given(first=st.sampled_from([Route(A), Route(A, B, 0)]), then=st.booleans())
def test_clients_are_given_to_a_router_whether_or_not_it_knows_a_canary_of_weight_0(
    first: Route, then: bool
):
    observed = behind_service(world())
    for _ in range(2):
        observed = applied(observed, first)
    asked = Route(A, B, 0) if then else Route(A)
    assert router.router_is_ready(with_pods(observed, "r-0", "r-1"), asked)
    assert not router.router_is_ready(with_pods(observed, "r-0", "r-1"), Route(A, B, 1))


def test_a_new_resource_has_no_endpoint_before_the_router_is_ready():
    observed = applied(applied(world(), Route(A)), Route(A))
    assert observed.service is None
    observed = applied(with_pods(observed, "r-0", "r-1"), Route(A))
    assert router.endpoint_names_router(observed)


def test_clients_stay_where_they_are_until_every_router_pod_holds_the_route():
    observed = behind_service(world())
    for _ in range(2):
        observed = applied(observed, Route(A))
    not_yet = (
        observed,
        with_pods(observed, "r-0"),
        with_pods(observed, "r-0", "r-1", ready=False),
        answering(with_pods(observed, "r-0", "r-1"), **{"r-1": RouterAnswer()}),
        with_pods(replace(observed, endpoint_pods=frozenset()), "r-0"),
    )
    for state in not_yet:
        after = applied(state, Route(A))
        assert service.serving_revision(after.service) == A
        reading = ROUTER.read(after)
        assert (reading.route, reading.confirmed) == (Route(A), False)
        assert reading.why
    after = applied(with_pods(observed, "r-0", "r-1"), Route(A))
    assert router.endpoint_names_router(after)
    assert not ROUTER.read(after).confirmed, "the endpoint still lists the servers' pods"
    listed = replace(after, endpoint_pods=frozenset({"r-0", "r-1"}))
    assert ROUTER.read(listed).confirmed


def test_until_the_agents_hold_a_route_the_endpoint_itself_gives_requests_by_it():
    observed = behind_service(world())
    for _ in range(2):
        observed = applied(observed, Route(A))
    observed = with_pods(observed, "r-0", "r-1")
    assert not router.router_is_ready(observed, Route(B))
    after = applied(observed, Route(B))
    assert not router.endpoint_names_router(after)
    assert service.serving_revision(after.service) == B


def test_the_endpoint_never_goes_back_by_itself():
    observed = used(Route(A, B, 10))
    broken = replace(observed, router_pods=(), router_answers={}, endpoint_pods=frozenset())
    assert router.endpoint_names_router(applied(broken, Route(A, B, 10)))


def test_router_pods_are_no_pods_of_a_revision():
    labels = router_objects.labels("cats-dogs")
    selectors = (naming.pod_selector("cats-dogs", A), naming.server_selector("cats-dogs"))
    for selector in selectors:
        assert not selector.items() <= labels.items()
    assert router_objects.pod_selector("cats-dogs").items() <= labels.items()
    servers = naming.revision_labels("cats-dogs", A)
    assert not router_objects.pod_selector("cats-dogs").items() <= servers.items()


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_budget_is_written_in_the_version_that_the_cluster_serves(version: str):
    found = by_kind(ROUTER.objects(replace(used(), budget_api=version), Route(A)))
    budget = found["PodDisruptionBudget", "cats-dogs-router"]
    assert budget["apiVersion"] == f"policy/{version}"
    assert budget["spec"]["maxUnavailable"] == 1


# --- what rolls the router's pods ----------------------------------------------------------


def template(observed: Observed, route: Route = TO_A) -> Body:
    found = by_kind(ROUTER.objects(observed, route))
    return dict(found["Deployment", "cats-dogs-router"]["spec"]["template"])


def test_another_release_of_the_operator_rolls_no_router(monkeypatch: pytest.MonkeyPatch):
    observed = used(Route(A))
    before = template(observed)
    monkeypatch.setattr(router_objects, "RESOURCES", {"requests": {"cpu": "1"}})
    monkeypatch.setattr(router_objects, "REPLICAS", 7)
    later = replace(observed.defaults, router_image="example/router:2")
    upgraded = replace(observed, defaults=later)
    assert template(upgraded) == before
    assert template(upgraded, Route(A, B, 50)) == before
    new = template(applied(replace(world(), defaults=later), Route(A)))
    assert new["spec"]["containers"][0]["image"] == "example/router:2"


@pytest.mark.parametrize("settings", [{"resources": {"requests": {"cpu": "2"}}}, {"replicas": 3}])
def test_a_router_keeps_its_image_until_one_is_named(settings: Body):
    observed = used(Route(A))
    later = replace(observed.defaults, router_image="example/router:2")
    changed = replace(observed, defaults=later, resource=resource(**settings))
    (before,), (after,) = (template(seen)["spec"]["containers"][:1] for seen in (observed, changed))
    assert after["image"] == before["image"]
    named = replace(changed, resource=resource(**settings, image="example/router:3"))
    assert template(named)["spec"]["containers"][0]["image"] == "example/router:3"


def test_a_lost_record_is_taken_from_the_deployment_that_is_there():
    observed = used(Route(A))
    others = {k: v for k, v in observed.others.items() if k[0] != "ConfigMap"}
    later = replace(observed.defaults, router_image="example/router:2")
    lost = replace(observed, others=others, defaults=later)
    assert template(lost) == template(observed)


def test_without_its_config_map_the_route_is_what_the_agents_agree_on():
    observed = used(Route(A, B, 20))
    others = {k: v for k, v in observed.others.items() if k[0] != "ConfigMap"}
    held = RouterAnswer("h", {A: 80, B: 20}, A, B)
    lost = replace(observed, others=others, router_answers={"r-0": held, "r-1": held})
    assert ROUTER.read(lost).route == Route(A, B, 20)
    assert not ROUTER.read(lost).confirmed
    torn = replace(lost, router_answers={"r-0": held, "r-1": replace(held, weights={A: 100})})
    assert ROUTER.read(torn).route is None


@pytest.mark.parametrize(
    ("settings", "rolls"),
    [
        ({"image": "example/router:9"}, True),
        ({"resources": {"requests": {"cpu": "2"}}}, True),
        ({"replicas": 3}, False),
        ({"sticky": {"header": "X-User"}}, False),
        ({"forceHeader": "X-Version"}, False),
    ],
)
def test_only_settings_of_the_pods_roll_them(settings: Body, rolls: bool):
    observed = used(Route(A))
    changed = replace(observed, resource=resource(**settings))
    assert (template(changed) != template(observed)) is rolls
    assert document_of(applied(changed, Route(A))).keys() == document_of(observed).keys()


def test_an_invalid_spec_changes_neither_pods_nor_stickiness():
    observed = used(Route(A, B, 10), sticky={"header": "X-User"}, image="example/router:5")
    lost = replace(resource(), invalid="something is wrong")
    after = applied(replace(observed, resource=lost), Route(A, B, 20))
    assert document_of(after)["sticky"] == {"header": "X-User"}
    assert template(after) == template(observed)


def test_router_pods_are_hardened():
    spec = template(used())["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False


def test_without_an_image_status_says_what_to_set():
    observed = world()
    observed = replace(observed, defaults=replace(observed.defaults, router_image=None))
    observed = applied(observed, Route(A))
    assert {body["kind"] for body in ROUTER.objects(observed, Route(A))} == {"Service"}
    assert "spec.traffic.router.image" in ROUTER.read(observed).why
    told = router.obstacle(observed)
    assert told is not None
    assert (told.holds, told.reason) == (True, reasons.ROUTER_IMAGE_MISSING)
    assert "spec.traffic.router.image" in told.message
    assert router.obstacle(replace(observed, resource=resource("Service"))) is None


PULL = waiting("ImagePullBackOff", "no such image")


def test_why_has_the_words_of_the_routers_own_pods():
    observed = with_pods(applied(world(), TO_A), "r-0", ready=False, containers=[PULL])
    why = ROUTER.read(applied(observed, TO_A)).why
    assert why.startswith("no router pod is ready: ")
    assert "no such image" in why


@pytest.mark.parametrize(
    ("pod", "exceeded", "words"),
    [
        ({"containers": [crashed(1, "haproxy: no memory", name="router")]}, False, "no memory"),
        ({"containers": [PULL]}, False, None),
        ({"containers": [PULL]}, True, "no such image"),
        ({}, True, "no router pod is ready"),
        ({}, False, None),
    ],
)
def test_a_router_that_does_not_get_ready_is_an_obstacle_once_waiting_does_not_help(
    pod: Body, exceeded: bool, words: str | None
):
    observed = applied(applied(world(), TO_A), TO_A)
    key = ("Deployment", "cats-dogs-router")
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    deployment = {**observed.others[key], "status": {"conditions": [late] if exceeded else []}}
    observed = replace(observed, others={**observed.others, key: deployment})
    told = router.obstacle(with_pods(observed, "r-0", "r-1", ready=False, **pod))
    if words is None:
        assert told is None
    else:
        assert told is not None
        assert (told.holds, told.reason) == (True, reasons.ROUTER_NOT_READY)
        assert words in told.message
    assert router.obstacle(with_pods(observed, "r-0", "r-1")) is None


def test_a_first_version_without_a_working_router_is_told_as_stalled():
    world = World(make_model_deployment().spec(traffic={"provider": "Router"}))
    world.defaults = replace(world.defaults, router_image=None)
    passes(world, 8)
    assert world.condition("Stalled") == ("True", reasons.ROUTER_IMAGE_MISSING)
    assert "spec.traffic.router.image" in world.status["message"]
    assert world.status["phase"] == "Degraded"
    world.defaults = replace(world.defaults, router_image="example/router:1")
    world.settle()
    assert world.condition("Ready") == ("True", reasons.COMPLETE)


# --- what is read --------------------------------------------------------------------------


@given(
    weight=st.integers(0, 100),
    holds=st.lists(st.booleans(), min_size=0, max_size=4),
    ready=st.lists(st.booleans(), min_size=4, max_size=4),
    listed=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_confirmed_means_that_every_pod_that_may_get_a_request_holds_the_route(
    weight: int, holds: list[bool], ready: list[bool], listed: list[bool]
):
    observed = used(Route(A, B, weight))
    names = [f"r-{number}" for number in range(len(holds))]
    pods = [make_pod(n, ready=r) for n, r in zip(names, ready, strict=False)]
    endpoint = frozenset(n for n, is_in in zip(names, listed, strict=False) if is_in)
    observed = replace(observed, router_pods=tuple(pods), endpoint_pods=endpoint)
    stale = {n: RouterAnswer("old") for n, good in zip(names, holds, strict=True) if not good}
    reading = ROUTER.read(answering(observed, **stale))
    may_get = [r or n in endpoint for n, r in zip(names, ready, strict=False)]
    expected = bool(endpoint) and all(
        good for good, reached in zip(holds, may_get, strict=True) if reached
    )
    assert reading.confirmed is expected
    assert reading.route == Route(A, B, weight)
    assert reading.actual == ({A: 100 - weight, B: weight} if expected else {})
    assert bool(reading.why) is not expected


@pytest.mark.parametrize("listed", [None, frozenset(), frozenset({f"{A}-0"})])
def test_no_revision_is_reached_while_the_endpoint_lists_no_router_pod(
    listed: frozenset[str] | None,
):
    observed = used(Route(A, B, 10))
    assert ROUTER.read(observed).reachable == {A: 1, B: 1}
    reading = ROUTER.read(replace(observed, endpoint_pods=listed))
    assert reading.reachable == {}
    assert reading.route == Route(A, B, 10)
    one_left = ROUTER.read(replace(observed, endpoint_pods=frozenset({"r-1"})))
    assert one_left.reachable == {A: 1, B: 1}


def test_the_agents_own_words_reach_the_status():
    observed = answering(used(Route(A)), **{"r-1": RouterAnswer(error="the route is not JSON")})
    why = ROUTER.read(observed).why
    assert why.startswith("1 of 2 router pods have not taken the route over")
    assert "r-1: the route is not JSON" in why


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"stable": 1}', '{"stable": "a", "weight": 101}']
)
def test_a_config_map_that_somebody_has_spoilt_is_no_route_and_is_written_anew(text: str):
    observed = used(Route(A, B, 10))
    key = ("ConfigMap", "cats-dogs-router")
    spoilt = copy.deepcopy(observed.others[key])
    spoilt["data"]["route.json"] = text
    observed = replace(observed, others={**observed.others, key: spoilt})
    assert router.written_route(observed) is None
    assert not ROUTER.read(observed).confirmed
    assert router.written_route(applied(observed, Route(A, B, 10))) == Route(A, B, 10)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["hash", "weights", "stable", "error", "x"]), inner)
)))  # fmt: skip
def test_nonsense_from_an_agent_is_an_answer_that_holds_nothing(body: Any):
    answer = router_answer.parse(body)
    assert answer.hash is None or answer.hash == body["hash"]
    assert all(type(weight) is int for weight in answer.weights.values())


# --- telling the kubelets ------------------------------------------------------------------


def told(observed: Observed, now: datetime) -> Observed:
    """What the pods are once the touches of a pass are made."""
    found = {touch.pod: touch for touch in router.touches(observed, now)}
    pods = copy.deepcopy(observed.router_pods)
    for pod in pods:
        if touch := found.get(pod["metadata"]["name"]):
            assert touch.uid == pod["metadata"]["uid"]
            pod["metadata"]["annotations"] = {touch.annotation: touch.value}
    return replace(observed, router_pods=pods)


def test_a_pod_is_told_of_a_route_once_and_again_only_while_it_does_not_hold_it():
    observed = used(Route(A))
    assert list(router.touches(observed, NOW)) == [], "all hold it: nothing is written"
    changed = applied(observed, Route(A, B, 10))
    old = {pod["metadata"]["name"]: RouterAnswer("old") for pod in changed.router_pods}
    changed = answering(changed, **old)
    assert {t.pod for t in router.touches(changed, NOW)} == {"r-0", "r-1"}
    after = told(changed, NOW)
    assert list(router.touches(after, NOW + timedelta(seconds=1))) == []
    assert len(list(router.touches(after, NOW + timedelta(seconds=2)))) == 2
    again = answering(applied(after, Route(A, B, 20)), **old)
    assert len(list(router.touches(again, NOW))) == 2, "another route is told at once"


def test_a_pod_that_never_takes_a_route_is_told_and_asked_less_and_less():
    observed, now, times = used(Route(A)), NOW, []
    old = {pod["metadata"]["name"]: RouterAnswer("old") for pod in observed.router_pods}
    observed = answering(applied(observed, Route(A, B, 10)), **old)
    assert router.look_again(observed) == router.POLL
    for _ in range(300):
        if list(router.touches(observed, now)):
            observed, times = told(observed, now), [*times, (now - NOW).total_seconds()]
        now += timedelta(seconds=1)
    assert times[:4] == [0, 2, 4, 6], "soon, while a kubelet may be late"
    assert len(times) < 20
    assert max(b - a for a, b in itertools.pairwise(times)) == 30
    assert router.look_again(observed) == router.SLOW_POLL
    again = answering(applied(observed, Route(A, B, 20)), **old)
    assert router.look_again(again) == router.POLL


def test_what_is_watched_is_not_polled_for():
    observed = with_pods(used(Route(A)), "r-0", "r-1", ready=False)
    assert router.look_again(replace(observed, endpoint_pods=frozenset())) == router.SLOW_POLL


def test_pods_that_end_or_were_not_asked_are_not_told():
    observed = answering(used(Route(A)), **{"r-0": RouterAnswer("old"), "r-1": RouterAnswer("old")})
    ending = copy.deepcopy(observed.router_pods)
    ending[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    observed = replace(observed, router_pods=ending)
    assert [t.pod for t in router.touches(observed, NOW)] == ["r-1"]
    assert list(router.touches(replace(observed, router_answers={}), NOW)) == []


# --- what is removed -----------------------------------------------------------------------


def test_services_of_revisions_that_are_gone_go_once_no_pod_has_a_route_to_them():
    observed = used(Route(A, B, 100))
    observed = replace(observed, deployments={B: {"spec": {"replicas": 1}}})
    assert ROUTER.obsolete(observed) == []
    committed = answering(applied(observed, Route(B)), **{"r-0": RouterAnswer("old")})
    assert ROUTER.obsolete(committed) == ()
    assert ROUTER.obsolete(answering(committed)) == [("Service", f"cats-dogs-{A}")]


def test_after_the_router_its_pods_go_first_and_what_they_need_last():
    observed = replace(used(Route(A)), resource=resource("Service"))
    assert ROUTER.obsolete(observed) == (), "clients are still sent to it"
    (endpoint,) = service.SERVICE.objects(observed, Route(A))
    moved = replace(observed, service=endpoint)
    assert ROUTER.obsolete(moved) == (), "the endpoint still lists its pods"
    moved = replace(moved, endpoint_pods=frozenset({f"{A}-0"}))
    name = "cats-dogs-router"
    assert ROUTER.obsolete(moved) == [("Deployment", name), ("PodDisruptionBudget", name)]
    others = {key: body for key, body in moved.others.items() if key[1] != name}
    others["ConfigMap", name] = moved.others["ConfigMap", name]
    for revision, body in moved.revision_services.items():
        others["Service", f"cats-dogs-{revision}"] = body
    draining = replace(moved, others=others)
    assert ROUTER.obsolete(draining) == [], "its pods still answer"
    ended = replace(draining, router_pods=())
    services = [("Service", f"cats-dogs-{revision}") for revision in (A, B)]
    assert ROUTER.obsolete(ended) == [*services, ("ConfigMap", name)]
    gateway = make_model_deployment().spec(
        traffic={"provider": "GatewayAPI", "gateway": {"parentRefs": [{"name": "g"}]}}
    )
    spec = api.ModelDeploymentSpec.model_validate(gateway.build()["spec"])
    elsewhere = replace(ended, resource=replace(ended.resource, spec=spec))
    assert ROUTER.obsolete(elsewhere) == [("ConfigMap", name)]


def test_the_record_is_in_the_config_map_and_pods_mount_only_the_route():
    observed = used(Route(A))
    data = observed.others["ConfigMap", "cats-dogs-router"]["data"]
    assert json.loads(data["router.json"])["template"] == template(observed)
    (volume,) = (v for v in template(observed)["spec"]["volumes"] if "configMap" in v)
    assert volume["configMap"]["items"] == [{"key": "route.json", "path": "route.json"}]
