"""Decides what `up` has to do about a local cluster. Pure; called by the local cluster."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from dev.cluster.node import PROGRAMS, Facts


class Action(enum.Enum):
    """What `up` has to do."""

    CREATE = "create"
    REBUILD = "rebuild"  # clear away, then create
    RESTART = "restart"  # start the dead programs again
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Plan:
    """An action, why, and for which programs."""

    action: Action
    why: str = ""
    dead: tuple[str, ...] = ()


def decide(*, exists: bool, facts: Facts | None, alive: Mapping[str, bool], wanted: Facts) -> Plan:
    """What `up` does about a cluster that is there; `wanted` holds this build and this boot."""
    if not exists:
        return Plan(Action.CREATE)
    dead = tuple(name for name in PROGRAMS if not alive.get(name, False))
    if why := _beyond_repair(facts, dead, wanted):
        return Plan(Action.REBUILD, why)
    if dead:
        return Plan(Action.RESTART, f"{', '.join(dead)} died", dead)
    return Plan(Action.KEEP)


def _beyond_repair(facts: Facts | None, dead: tuple[str, ...], wanted: Facts) -> str:
    """Why the cluster cannot be gone on with; empty when it can."""
    if facts is None:
        return "its start was not completed"
    if facts.boot != wanted.boot:
        return "the machine was started anew"
    if facts.build != wanted.build:
        return "it runs another build of Kubernetes"
    if "containerd" in dead:  # the containers' mounts hang on it
        return "containerd has died"
    return ""
