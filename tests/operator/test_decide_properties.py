"""Whatever happens in whatever order: the invariants hold at every write, and it ends well."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_operator import revisions
from model_operator.actions import Verb
from model_operator.measurement import Counters, Measurement, RevisionMeasurement
from tests.operator.builders import crashed, digest_of, make_model_deployment, waiting
from tests.operator.world import World

STRATEGIES = ["Standard", "Recreate", "Canary", "BlueGreen", "Shadow"]
PROVIDERS = ["Service", "Router"]
SETTINGS: dict[str, dict[str, Any]] = {
    "Canary": {
        "canary": {
            "steps": [
                {"setWeight": 10},
                {"pause": {"duration": "10s"}},
                {"setWeight": 60},
                {"pause": {"duration": "10s"}},
            ]
        }
    },
    "BlueGreen": {"blueGreen": {"autoPromote": True}},
}

happenings = st.lists(
    st.one_of(
        st.tuples(st.just("version"), st.integers(1, 4)),
        st.tuples(st.just("replicas"), st.integers(0, 4)),
        st.tuples(st.just("pass"), st.just(0)),
        st.tuples(st.just("dying pass"), st.integers(0, 4)),
        st.tuples(st.just("pods"), st.sampled_from([None, None, 0, 1, 2])),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 31, 601])),
        st.tuples(st.just("lose status"), st.just(0)),
        st.tuples(st.just("lose endpoint"), st.just(0)),
        st.tuples(st.just("lose records"), st.just(0)),
        st.tuples(st.just("bad version"), st.integers(1, 4)),
        st.tuples(st.just("slow version"), st.integers(1, 4)),
        st.tuples(st.just("strategy"), st.sampled_from(STRATEGIES)),
        st.tuples(st.just("paused"), st.booleans()),
        st.tuples(st.just("invalid"), st.just(0)),
        st.tuples(st.just("measured"), st.sampled_from(["good", "bad", "nothing"])),
        st.tuples(st.just("action"), st.sampled_from(sorted(Verb))),
        st.tuples(st.just("roll back to version"), st.integers(1, 4)),
        st.tuples(st.just("provider"), st.sampled_from(PROVIDERS)),
        st.tuples(st.just("router pods die"), st.just(0)),
        st.tuples(st.just("router pods ready"), st.sampled_from([None, 0, 1])),
        st.tuples(st.just("agents lag"), st.booleans()),
        st.tuples(st.just("lose route"), st.just(0)),
    ),
    max_size=30,
)


def measured(**counters: Any) -> Measurement:
    """The same of every version."""
    counted = Counters(**counters)
    found = RevisionMeasurement(window=counted, step=counted, compared=counted)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [revisions.revision_id(digest_of(version), {}) for version in range(1, 10)]
    return Measurement(moment, moment, dict.fromkeys(ids, found))


MEASURED = {
    "good": measured(requests=1000, agreed={"cat": 1000}, differed={"cat": 0}),
    "bad": measured(requests=1000, errors=900, agreed={"cat": 1}, differed={"cat": 999}),
    "nothing": None,
}


class Story:
    """Plays happenings on a world."""

    def __init__(self, world: World | None = None) -> None:
        self.version, self.replicas = 1, 3
        self.strategy, self.paused = "Standard", False
        self.provider = "Service"
        self.troubles: dict[str, dict] = {}
        self.world = world or World(make_model_deployment())
        self.world.container = lambda revision: self.troubles.get(
            self.world.version_of(revision) or ""
        )

    def play(self, what: str, value: Any) -> None:
        world = self.world
        happenings: dict[str, Callable[[], object]] = {
            "version": lambda: self.edit(version=value),
            "replicas": lambda: self.edit(replicas=value),
            "strategy": lambda: self.edit(strategy=value),
            "paused": lambda: self.edit(paused=value),
            "provider": lambda: self.edit(provider=value),
            "router pods die": world.router.die,
            "router pods ready": lambda: setattr(world.router, "at_most", value),
            "agents lag": lambda: setattr(world.router, "lags", value),
            "lose route": lambda: world.others.pop(("ConfigMap", world.router.name), None),
            "invalid": lambda: self.edit(invalid=True),
            "action": lambda: self.ask(value),
            "roll back to version": lambda: self.ask("rollback", version=str(value)),
            "measured": lambda: setattr(world, "measurement", MEASURED[value]),
            "pass": world.one_pass,
            "dying pass": lambda: world.one_pass(dies_after=value),
            "pods": lambda: world.play_pods(at_most=value),
            "wait": lambda: world.wait(value),
            "lose status": world.lose_status,
            "lose endpoint": lambda: setattr(world, "service", None),
            "lose records": world.histories.clear,
            "bad version": lambda: self.troubles.update({str(value): crashed(3, "refused")}),
            "slow version": lambda: self.troubles.update({str(value): waiting("Starting")}),
        }
        happenings[what]()

    def edit(self, *, invalid: bool = False, **changes: Any) -> None:
        vars(self).update(changes)
        resource = make_model_deployment().version(self.version).replicas(self.replicas)
        settings = SETTINGS.get(self.strategy, {})
        resource = resource.strategy(self.strategy, **settings).spec(
            paused=self.paused, traffic={"provider": self.provider}
        )
        self.world.edit(resource.spec(nonsense=True) if invalid else resource)

    def ask(self, verb: str, version: str = "") -> None:
        kept = {history["data"]["version"] for history in self.world.histories.values()}
        revision = self.world.version_revision(version) if version in kept else None
        self.world.ask(verb, **({"revision": revision} if revision else {}))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(happenings)
@example([("pass", 0), ("replicas", 0), ("pass", 0)])
def test_the_invariants_hold_and_a_good_version_ends_up_serving_alone(story_so_far):
    story = Story()
    for what, value in story_so_far:
        story.play(what, value)
    story.troubles.clear()
    story.world.measurement = MEASURED["good"]
    story.world.router.lags, story.world.router.at_most = False, None
    story.world.resource["metadata"].pop("annotations", None)
    story.edit(version=9, replicas=2, paused=False)
    story.world.settle(tick=5)
    assert story.world.status["phase"] == "Healthy"
    assert story.world.serving_version() == "9"
    running = {v: n for v, n in story.world.replicas_by_version().items() if n}
    assert running == {"9": 2}
    assert story.world.routed() == (story.provider == "Router")
    assert bool(story.world.router.pods) == story.world.routed()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(0, 6), max_size=40),
    st.sampled_from(STRATEGIES),
    st.sampled_from(PROVIDERS),
)
def test_an_operator_that_dies_at_any_writes_ends_where_an_undisturbed_one_does(
    deaths, strategy, provider
):
    def roll_out(world: World, deaths: list[int]) -> World:
        world.settle()
        world.measurement = MEASURED["good"]
        world.edit(resource.version(2))
        for writes in deaths:
            world.one_pass(dies_after=writes)
            world.play_pods()
            world.wait(1)
        world.settle()
        return world

    resource = make_model_deployment().strategy(strategy, **SETTINGS.get(strategy, {}))
    resource = resource.spec(traffic={"provider": provider})
    calm = roll_out(World(resource), [])
    killed = roll_out(World(resource), deaths)
    assert killed.serving_version() == calm.serving_version() == "2"
    assert killed.replicas_by_version() == calm.replicas_by_version()
    assert killed.status["phase"] == calm.status["phase"] == "Healthy"
