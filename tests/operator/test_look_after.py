"""A pass that has settled a resource makes the one over its own status needless, and only that."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from model_operator import standing
from model_operator.decide import decide
from model_operator.reconcile import look_after
from tests.operator.builders import make_model_deployment
from tests.operator.world import World


def one_pass(world: World) -> tuple[bool, bool]:
    """Makes one pass; whether the next is said to be needless, and whether that would do nothing
    and ask to be looked at again at the same moment.
    """
    observed = world.observed()
    plan = world.one_pass()
    if plan.status is None:
        return False, True
    then = look_after(observed, plan, world.resource, world.now)
    following = decide(world.observed(), world.now)
    nothing = not (following.writes or following.events)
    same = then is not None and then.requeue_after == following.requeue_after
    return then is not None, nothing and (then is None or same)


def test_the_last_pass_of_a_first_revision_needs_none_after_it():
    world = World(make_model_deployment())
    needless = []
    while not standing.is_settled(world.resource):
        needless.append(one_pass(world)[0])
        world.play_pods()
    assert needless[-1]
    assert not any(needless[:-1])


def test_a_status_that_lies_is_looked_at_again(live: World):
    live.resource["status"]["message"] = "nonsense"
    observed = live.observed()
    plan = live.one_pass()
    assert look_after(observed, plan, live.resource, live.now) is not None
    unsettled = {**live.resource, "status": {**live.resource["status"], "conditions": []}}
    assert look_after(observed, plan, unsettled, live.now) is None


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["Standard", "Recreate"]),
    ready=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    seconds=st.lists(st.integers(0, 90), min_size=12, max_size=12),
)
def test_what_is_called_needless_would_have_done_nothing(kind, ready, seconds):
    world = World(make_model_deployment().strategy(kind))
    world.settle()
    world.edit(make_model_deployment().strategy(kind).version(2))
    for pods, pause in zip(ready, seconds, strict=False):
        needless, nothing = one_pass(world)
        assert nothing or not needless
        world.play_pods(at_most=pods)
        world.wait(pause)
