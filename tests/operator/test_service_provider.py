"""Provider Service: routes to the endpoint's selector, and back. Pure."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from model_operator import naming
from model_operator.observed import Observed
from model_operator.route import Route
from model_operator.traffic.service import SERVICE
from tests.operator.builders import make_pod
from tests.operator.test_router import A, B, C, resource, world


def served(observed: Observed, route: Route) -> Observed:
    """What the API server has after the write; the endpoint lists what it selects."""
    (endpoint,) = SERVICE.objects(observed, route)
    named = endpoint["spec"]["selector"].get(naming.REVISION_LABEL)
    listed = [named] if named else observed.pods
    names = frozenset(pod["metadata"]["name"] for r in listed for pod in observed.pods[r])
    return replace(observed, service=endpoint, endpoint_pods=names)


def of_service() -> Observed:
    return replace(world(), resource=resource("Service"))


@given(st.integers(0, 100))
def test_a_route_reads_back_as_it_was_asked_but_for_a_canary_of_weight_0(weight: int):
    observed = served(of_service(), Route(A, B, weight))
    reading = SERVICE.read(observed)
    assert reading.route == (Route(A, B, weight) if weight else Route(A))
    assert reading.route is not None
    assert reading.route.gives_as(Route(A, B, weight))
    assert reading.confirmed


def test_a_canary_of_weight_0_has_no_part_in_the_endpoint_and_waits_for_no_retired_pod():
    observed = of_service()
    left = replace(observed, pods={**observed.pods, C: (make_pod(f"{C}-0", ready=True),)})
    assert (
        SERVICE.cannot_divide(left, Route(A, B, 1)) == "1 pod of an older revision has to end first"
    )
    assert SERVICE.cannot_divide(left, Route(A, B, 0)) == ""
    assert SERVICE.objects(left, Route(A, B, 0)) == SERVICE.objects(left, Route(A))


@given(
    stable=st.sampled_from([A, B]),
    canary=st.sampled_from([None, A, B]),
    weight=st.integers(0, 100),
)
def test_routes_give_as_each_other_exactly_when_every_request_goes_to_the_same(
    stable: str, canary: str | None, weight: int
):
    route = Route(stable, canary, weight)
    assert route.gives_as(Route(stable)) == (route.weight_of(stable) == 100)
    assert not route.gives_as(Route(C))
    assert route.gives_as(route)
