"""Provider GatewayAPI: bodies from routes, and routes from bodies and conditions. Pure."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_operator import api, naming, reasons
from model_operator.observed import Defaults, Observed, Resource
from model_operator.route import Route
from model_operator.traffic import gateway_api, service
from model_operator.traffic.gateway_api import STABLE_ANNOTATION, GatewayApi
from tests.operator.builders import UID, make_model_deployment, make_pod

STABLE, CANARY = "aaaaaaaaaa", "bbbbbbbbbb"
PUBLIC = {"name": "public", "namespace": "gateways"}
PROVIDER = GatewayApi()

Body = dict[str, Any]


def resource(*parents: Body, provider: str = "GatewayAPI", **gateway: Any) -> Resource:
    traffic: Body = {"provider": provider}
    if provider == "GatewayAPI":
        traffic["gateway"] = {"parentRefs": list(parents) or [PUBLIC], **gateway}
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


def world(*parents: Body, version: str | None = "v1", **gateway: Any) -> Observed:
    """Nothing is written yet; both revisions' pods are ready."""
    pods = {r: (make_pod(f"{r}-0", ready=True),) for r in (STABLE, CANARY)}
    return Observed(
        resource=resource(*parents, **gateway),
        defaults=Defaults(server_image="example/server:1", tracking_uri=None),
        gateway_api=version,
        deployments={r: {"spec": {"replicas": 1}} for r in pods},
        pods=pods,
    )


def written(observed: Observed, route: Route) -> Observed:
    """What the API server has once the route was asked for and everything it needs was seen."""
    for _ in range(2):
        bodies = PROVIDER.objects(observed, route)
        services = {
            naming.revision_of("cats-dogs", body): body
            for body in bodies
            if body["kind"] == "Service" and body["metadata"]["name"] != "cats-dogs"
        }
        live = observed.http_route
        for body in bodies:
            if body["kind"] == "HTTPRoute":
                generation = live["metadata"]["generation"] + 1 if live else 1
                live = copy.deepcopy(body)
                live["metadata"]["generation"] = generation
        stable = bodies[-1]["spec"]["selector"][naming.REVISION_LABEL]
        observed = replace(
            observed,
            revision_services={**observed.revision_services, **services},
            http_route=live,
            service=bodies[-1],
            endpoint_pods=frozenset(pod["metadata"]["name"] for pod in observed.pods[stable]),
        )
    return observed


def endpoint(observed: Observed, revision: str) -> Body:
    return service.endpoint(observed, naming.pod_selector("cats-dogs", revision))


def condition(kind: str, generation: int, status: str = "True", **told: str) -> Body:
    return {"type": kind, "status": status, "observedGeneration": generation, **told}


def answer(parent: Body, *conditions: Body) -> Body:
    return {"parentRef": parent, "controllerName": "example.com/c", "conditions": [*conditions]}


def accepting(parent: Body, generation: int = 1) -> Body:
    return answer(parent, condition("Accepted", generation), condition("ResolvedRefs", generation))


def answered(observed: Observed, *answers: Body) -> Observed:
    return replace(
        observed, http_route={**(observed.http_route or {}), "status": {"parents": [*answers]}}
    )


def generation_of(observed: Observed) -> int:
    assert observed.http_route
    generation: int = observed.http_route["metadata"]["generation"]
    return generation


def route_body(observed: Observed, route: Route) -> Body:
    bodies = PROVIDER.objects(written(observed, route), route)
    (body,) = (body for body in bodies if body["kind"] == "HTTPRoute")
    return body


routes = st.builds(
    Route,
    stable=st.just(STABLE),
    canary=st.sampled_from([None, CANARY, STABLE]),
    weight=st.integers(0, 100),
)

# --- objects ----------------------------------------------------------------------------------


def test_the_route_names_parents_hosts_backends_and_which_of_them_is_stable():
    parent = {**PUBLIC, "sectionName": "https", "port": 443}
    observed = world(parent, hostnames=["cats.example.com"])
    body = route_body(observed, Route(STABLE, CANARY, 10))
    assert body["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert body["metadata"]["name"] == "cats-dogs"
    assert body["metadata"]["annotations"] == {STABLE_ANNOTATION: STABLE}
    assert body["metadata"]["ownerReferences"][0]["uid"] == UID
    assert body["spec"] == {
        "parentRefs": [parent],
        "hostnames": ["cats.example.com"],
        "rules": [
            {
                "backendRefs": [
                    {"name": f"cats-dogs-{STABLE}", "port": 80, "weight": 90},
                    {"name": f"cats-dogs-{CANARY}", "port": 80, "weight": 10},
                ]
            }
        ],
    }


def test_the_route_is_of_the_version_that_the_cluster_serves():
    body = route_body(world(version="v1beta1"), Route(STABLE))
    assert body["apiVersion"] == "gateway.networking.k8s.io/v1beta1"


def test_without_host_names_the_route_has_none_of_its_own():
    assert "hostnames" not in route_body(world(), Route(STABLE))["spec"]


def test_every_revision_of_the_route_has_a_service_of_its_pods_alone_on_the_endpoints_ports():
    bodies = PROVIDER.objects(world(), Route(STABLE, CANARY, 0))
    *services, endpoint = bodies
    assert [body["metadata"]["name"] for body in services] == [
        f"cats-dogs-{STABLE}",
        f"cats-dogs-{CANARY}",
    ]
    for body, revision in zip(services, (STABLE, CANARY), strict=True):
        assert body["spec"]["selector"] == naming.pod_selector("cats-dogs", revision)
        assert body["spec"]["ports"] == endpoint["spec"]["ports"]


@given(route=routes)
def test_the_weights_of_the_backends_sum_to_100_and_read_back_as_they_were_asked(route: Route):
    observed = written(world(), route)
    assert observed.http_route
    (rule,) = observed.http_route["spec"]["rules"]
    assert sum(backend["weight"] for backend in rule["backendRefs"]) == 100
    read = PROVIDER.read(observed).route
    assert read is not None
    assert read.weights == route.weights
    assert read.stable == route.stable


@given(route=routes)
def test_the_endpoint_gives_requests_to_stable_alone_and_is_written_last(route: Route):
    last = PROVIDER.objects(written(world(), route), route)[-1]
    assert last["metadata"]["name"] == "cats-dogs"
    assert last["spec"]["selector"] == naming.pod_selector("cats-dogs", STABLE)


def test_a_revision_that_has_pods_has_its_service_before_any_route_names_it():
    bodies = PROVIDER.objects(world(), Route(STABLE))
    assert [body["metadata"]["name"] for body in bodies] == [
        f"cats-dogs-{STABLE}",
        f"cats-dogs-{CANARY}",
        "cats-dogs",
    ]


def test_requests_are_not_divided_before_every_service_has_been_seen():
    observed, route = world(), Route(STABLE, CANARY, 10)
    assert f"cats-dogs-{CANARY} is not there" in PROVIDER.cannot_divide(observed, route)
    assert PROVIDER.cannot_divide(written(observed, route), route) == ""


def test_a_canary_of_weight_0_is_a_backend_as_soon_as_its_service_has_been_seen():
    observed, route = written(world(), Route(STABLE)), Route(STABLE, CANARY, 0)
    unseen = {STABLE: observed.revision_services[STABLE]}
    unseen_canary = replace(observed, revision_services=unseen)
    assert PROVIDER.cannot_divide(unseen_canary, route) == ""
    (body,) = (b for b in PROVIDER.objects(unseen_canary, route) if b["kind"] == "HTTPRoute")
    assert body["spec"] == (observed.http_route or {})["spec"], "nothing waits for it"
    observed = written(unseen_canary, route)
    reading = PROVIDER.read(answered(observed, accepting(PUBLIC, generation_of(observed))))
    assert (reading.route, reading.confirmed) == (route, True)
    assert reading.actual == {STABLE: 100, CANARY: 0}


def test_a_stable_revision_at_0_has_to_be_seen_as_any_other():
    unseen = PROVIDER.cannot_divide(world(), Route(STABLE, CANARY, 100))
    assert f"cats-dogs-{STABLE}" in unseen


def test_no_route_names_a_service_that_has_not_been_seen():
    kinds = [body["kind"] for body in PROVIDER.objects(world(), Route(STABLE, CANARY, 50))]
    assert kinds == ["Service", "Service", "Service"]


def test_going_to_a_revision_whose_service_is_gone_moves_route_and_endpoint_only_once_it_is_back():
    observed = written(world(), Route(STABLE))
    seen = {STABLE: observed.revision_services[STABLE]}
    observed = replace(observed, revision_services=seen)
    bodies = PROVIDER.objects(observed, Route(CANARY))
    assert [body["metadata"]["name"] for body in bodies] == [
        f"cats-dogs-{CANARY}",
        f"cats-dogs-{STABLE}",
        "cats-dogs",
    ]
    assert bodies[-1]["spec"]["selector"] == naming.pod_selector("cats-dogs", STABLE)
    assert written(observed, Route(CANARY)).service == endpoint(observed, CANARY)


def test_a_cluster_without_the_gateway_api_still_gets_services_and_the_endpoint():
    observed = written(world(version=None), Route(STABLE))
    assert observed.http_route is None
    assert service.SERVICE.read(observed).route == Route(STABLE)


def test_an_invalid_spec_leaves_parents_hosts_and_the_endpoints_settings_as_they_are():
    observed = written(world(hostnames=["cats.example.com"]), Route(STABLE))
    spec = api.ModelDeploymentSpec.model_validate({"model": {"uri": "models:/cats-dogs/1"}})
    invalid = replace(observed.resource, spec=spec, invalid="no")
    live = observed.http_route
    body = route_body(replace(observed, resource=invalid), Route(STABLE))
    assert live is not None
    assert body["spec"] == live["spec"]


# --- reading ----------------------------------------------------------------------------------

HERE = {"name": "internal"}


def test_a_route_is_confirmed_when_every_parent_has_accepted_this_generation_of_it():
    observed = written(world(PUBLIC, HERE), Route(STABLE, CANARY, 10))
    reading = PROVIDER.read(answered(observed, accepting(PUBLIC), accepting(HERE)))
    assert reading.confirmed
    assert reading.actual == {STABLE: 90, CANARY: 10}
    assert reading.reachable == {STABLE: 1, CANARY: 1}
    assert not reading.approximate
    assert not reading.why


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ({**PUBLIC, "group": "gateway.networking.k8s.io", "kind": "Gateway"}, PUBLIC),
        ({**HERE, "namespace": "vision"}, HERE),
        (HERE, {**HERE, "namespace": "vision"}),
    ],
)
def test_a_parent_is_the_same_one_with_and_without_the_apis_defaults(told: Body, asked: Body):
    observed = written(world(asked), Route(STABLE))
    assert PROVIDER.read(answered(observed, accepting(told))).confirmed


NOT_THESE = [
    ({"name": "public"}, "gateways/public"),
    ({**PUBLIC, "namespace": "elsewhere"}, "gateways/public"),
    ({**PUBLIC, "sectionName": "http"}, "gateways/public"),
    ({**PUBLIC, "port": 80}, "gateways/public"),
    ({**PUBLIC, "kind": "Service", "group": ""}, "gateways/public"),
]


@pytest.mark.parametrize(("told", "words"), NOT_THESE)
def test_another_parents_answer_confirms_nothing(told: Body, words: str):
    observed = written(world(), Route(STABLE))
    reading = PROVIDER.read(answered(observed, accepting(told)))
    assert not reading.confirmed
    assert reading.actual == {}
    assert f"no controller has answered for Gateway {words}" in reading.why


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "no controller has answered for Gateway gateways/public"),
        (
            [accepting(PUBLIC)],
            "no controller has answered for Gateway vision/internal: is it there",
        ),
        ([accepting(PUBLIC), accepting(HERE, generation=0)], "Accepted is of another"),
        ([accepting(PUBLIC), answer(HERE, condition("Accepted", 1))], "ResolvedRefs is of another"),
        (
            [
                accepting(PUBLIC),
                answer(
                    HERE,
                    condition("Accepted", 1, "False", reason="NotAllowed", message="by listeners"),
                    condition("ResolvedRefs", 1),
                ),
            ],
            "internal does not take the HTTPRoute: Accepted is not true: NotAllowed: by listeners",
        ),
        (
            [
                answer(PUBLIC, condition("Accepted", 1), condition("ResolvedRefs", 1, "Unknown")),
                accepting(HERE),
            ],
            "Gateway gateways/public does not take the HTTPRoute: ResolvedRefs is not true",
        ),
        ([accepting(PUBLIC), accepting(HERE), accepting(HERE, 0)], "Accepted is of another"),
    ],
)
def test_a_parent_that_is_missing_late_or_against_it_leaves_the_route_unconfirmed_and_is_named(
    answers: list[Body], words: str
):
    observed = answered(written(world(PUBLIC, HERE), Route(STABLE, CANARY, 10)), *answers)
    reading = PROVIDER.read(observed)
    assert reading.route == Route(STABLE, CANARY, 10)
    assert not reading.confirmed
    assert reading.actual == {}
    assert words in reading.why


def test_what_a_parent_is_against_is_told_before_what_another_has_not_done_yet():
    refusal = answer(HERE, condition("Accepted", 1, "False", reason="NoMatchingParent"))
    observed = answered(written(world(PUBLIC, HERE), Route(STABLE)), refusal)
    assert "NoMatchingParent" in PROVIDER.read(observed).why


def test_a_route_without_parents_is_never_confirmed():
    observed = written(world(), Route(STABLE))
    assert observed.http_route
    observed.http_route["spec"]["parentRefs"] = []
    assert PROVIDER.read(observed).why == "the HTTPRoute names no Gateway"


def test_a_new_weight_is_not_confirmed_by_what_was_said_of_the_last():
    observed = answered(written(world(), Route(STABLE, CANARY, 10)), accepting(PUBLIC))
    raised = written(observed, Route(STABLE, CANARY, 50))
    of_before = generation_of(observed)
    assert generation_of(raised) > of_before
    assert not PROVIDER.read(answered(raised, accepting(PUBLIC, of_before))).confirmed
    assert PROVIDER.read(answered(raised, accepting(PUBLIC, generation_of(raised)))).confirmed


def test_a_route_is_not_confirmed_while_the_endpoint_names_another_revision_or_lists_other_pods():
    observed = answered(written(world(), Route(STABLE)), accepting(PUBLIC))
    assert PROVIDER.read(observed).confirmed
    elsewhere = replace(observed, service=endpoint(observed, CANARY))
    assert not PROVIDER.read(elsewhere).confirmed
    assert not PROVIDER.read(replace(observed, endpoint_pods=frozenset({"another"}))).confirmed


def test_before_the_first_route_the_endpoint_says_what_serves():
    observed = world()
    assert PROVIDER.read(observed).route is None
    observed = replace(observed, service=endpoint(observed, STABLE))
    reading = PROVIDER.read(observed)
    assert (reading.route, reading.confirmed) == (Route(STABLE), False)
    assert "is not written yet" in reading.why


def test_a_canary_of_provider_service_goes_on_at_its_weight_until_the_first_route_is_written():
    observed = world()
    divided = service.SERVICE.objects(observed, Route(STABLE, CANARY, 30))[-1]
    reading = PROVIDER.read(replace(observed, service=divided))
    assert (reading.route, reading.confirmed) == (Route(STABLE, CANARY, 30), False)


def spoil(live: Body, how: str) -> None:
    (rule,) = live["spec"]["rules"]
    match how:
        case "no annotation":
            del live["metadata"]["annotations"]
        case "stable elsewhere":
            live["metadata"]["annotations"][STABLE_ANNOTATION] = "cccccccccc"
        case "a foreign backend":
            rule["backendRefs"][1]["name"] = "somebody"
        case "a third revision":
            rule["backendRefs"].append({"name": "cats-dogs-cccccccccc", "port": 80, "weight": 1})
        case "no weight at all":
            rule["backendRefs"] = [{**b, "weight": 0} for b in rule["backendRefs"]]
        case "a second rule":
            live["spec"]["rules"].append(copy.deepcopy(rule))
        case "no rules":
            del live["spec"]["rules"]


@pytest.mark.parametrize(
    "how",
    [
        "no annotation",
        "stable elsewhere",
        "a foreign backend",
        "a third revision",
        "no weight at all",
        "a second rule",
        "no rules",
    ],
)
def test_a_route_that_somebody_has_changed_is_not_believed_and_the_endpoint_is(how: str):
    observed = answered(written(world(), Route(STABLE, CANARY, 10)), accepting(PUBLIC))
    assert observed.http_route
    spoil(observed.http_route, how)
    reading = PROVIDER.read(observed)
    assert (reading.route, reading.confirmed) == (Route(STABLE), False)
    assert "changed by somebody else" in reading.why


def test_weights_of_another_scale_are_read_as_percent():
    observed = answered(written(world(), Route(STABLE, CANARY, 10)), accepting(PUBLIC))
    assert observed.http_route
    stable, canary = observed.http_route["spec"]["rules"][0]["backendRefs"]
    stable["weight"], canary["weight"] = 3, 1
    assert PROVIDER.read(observed).route == Route(STABLE, CANARY, 25)


# --- what stands in the way, and what goes ------------------------------------------------------


def test_a_cluster_without_the_gateway_api_is_an_obstacle_that_says_what_to_install():
    told = gateway_api.obstacle(world(version=None))
    assert told is not None
    assert (told.holds, told.reason) == (True, reasons.GATEWAY_API_MISSING)
    assert "install the Gateway API" in told.message
    assert PROVIDER.read(world(version=None)).why == told.message


def test_a_parents_refusal_is_an_obstacle_only_while_it_is_of_this_generation():
    observed = written(world(), Route(STABLE))
    refusal = answer(PUBLIC, condition("Accepted", 1, "False", reason="NotAllowedByListeners"))
    told = gateway_api.obstacle(answered(observed, refusal))
    assert told is not None
    assert told.reason == reasons.ROUTE_REFUSED
    assert "NotAllowedByListeners" in told.message
    later = answered(written(observed, Route(CANARY)), refusal)
    assert gateway_api.obstacle(later) is None


def test_other_providers_need_no_gateway_api():
    observed = replace(world(version=None), resource=resource(provider="Service"))
    assert gateway_api.obstacle(observed) is None


def names(observed: Observed) -> list[tuple[str, str]]:
    return list(PROVIDER.obsolete(observed))


def test_the_service_of_a_revision_goes_once_no_route_names_it_and_its_pods_have_ended():
    observed = written(written(world(), Route(STABLE, CANARY, 100)), Route(CANARY))
    assert names(observed) == []
    observed = answered(observed, accepting(PUBLIC, generation_of(observed)))
    assert names(observed) == []
    stopped = {**observed.deployments, STABLE: {"spec": {"replicas": 0}}}
    observed = replace(observed, deployments=stopped)
    assert names(observed) == []
    observed = replace(observed, pods={CANARY: observed.pods[CANARY]})
    assert names(observed) == [("Service", f"cats-dogs-{STABLE}")]
    assert names(replace(observed, endpoint_pods=frozenset())) == []


@pytest.mark.parametrize("provider", ["Service", "Router"])
def test_with_another_provider_the_route_goes_first_and_its_services_after_it(provider: str):
    observed = replace(
        written(world(), Route(STABLE, CANARY, 0)), resource=resource(provider=provider)
    )
    assert names(observed) == [("HTTPRoute", "cats-dogs")]
    left = names(replace(observed, http_route=None))
    used_by_nobody = [("Service", f"cats-dogs-{STABLE}"), ("Service", f"cats-dogs-{CANARY}")]
    assert left == (used_by_nobody if provider == "Service" else [])


def test_services_that_a_router_still_sends_requests_to_stay_until_its_route_is_gone():
    observed = replace(
        written(world(), Route(STABLE, CANARY, 10)), resource=resource(provider="Service")
    )
    route = {"data": {"route.json": "{}"}}
    used = replace(observed, http_route=None, others={("ConfigMap", "cats-dogs-router"): route})
    assert names(used) == []
    assert len(names(replace(used, others={}))) == 2


def test_a_route_is_looked_for_as_long_as_services_of_one_revision_are_left():
    assert gateway_api.must_be_read("GatewayAPI", services=False)
    assert gateway_api.must_be_read("Service", services=True)
    assert not gateway_api.must_be_read("Service", services=False)
