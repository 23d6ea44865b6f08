"""The counting of ready pods: it sees one that is missed for a moment, and none that is not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from model_operator import naming
from tests.autoscaling.chronicle import Chronicle, serving_pods, stable_pods
from tests.fault.admin import Admin
from tests.operator.builders import make_pod

OLD, NEW = "aaaaaaaaaa", "bbbbbbbbbb"
Body = dict[str, Any]


class Told(Chronicle):
    """A chronicle that is told by hand: what it hears first has happened first, if not said."""

    def __init__(self) -> None:
        super().__init__(Admin(Path()), "vision")
        self._versions = itertools.count(1)

    def pod(self, name: str, revision: str, *, ready: bool = True, at: int | None = None) -> None:
        pod = make_pod(name, ready=ready, labels=naming.pod_selector("cats-dogs", revision))
        self._tell("pods", "MODIFIED", name, pod, at)

    def endpoint(self, revision: str, at: int | None = None) -> None:
        selector = naming.pod_selector("cats-dogs", revision)
        self._tell("services", "MODIFIED", "cats-dogs", {"spec": {"selector": selector}}, at)

    def _tell(self, kind: str, change: str, name: str, body: Body, at: int | None) -> None:
        version = str(at or next(self._versions))
        metadata = {**body.get("metadata", {}), "name": name, "uid": f"{kind} {name}"}
        self.hear(kind, change, {**body, "metadata": {**metadata, "resourceVersion": version}})


def serving_two() -> Told:
    """The old revision serves with two pods, since before the mark."""
    told = Told()
    for name in ("a-0", "a-1"):
        told.pod(name, OLD)
    told.endpoint(OLD)
    told.mark()
    return told


def test_nothing_that_happened_is_the_number_there_was():
    assert serving_two().since_mark(serving_pods) == [2]


def test_a_pod_that_is_not_ready_for_a_moment_is_seen():
    told = serving_two()
    told.pod("a-0", OLD, ready=False)
    told.pod("a-0", OLD)
    assert told.since_mark(serving_pods) == [2, 1, 2]


def test_a_switch_to_fewer_pods_is_seen():
    told = serving_two()
    told.pod("b-0", NEW)
    told.endpoint(NEW)
    told.pod("b-1", NEW)
    assert told.since_mark(serving_pods) == [2, 2, 1, 2]
    assert told.since_mark(stable_pods) == [2, 2, 1, 2]


def test_a_watch_that_tells_late_changes_nothing_in_what_happened():
    told = serving_two()
    told.endpoint(NEW, at=12)
    told.pod("b-0", NEW, at=10)
    told.pod("b-1", NEW, at=11)
    assert told.since_mark(serving_pods) == [2, 2, 2, 2]
    assert len(told.now.ready(NEW)) == 2
