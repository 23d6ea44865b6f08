"""What one pass does: made by `decide`, carried out by `apply` in the order of the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Scale:
    """A replica count to set through the scale subresource of a Deployment."""

    deployment: str
    replicas: int
    uid: str | None = None
    resource_version: str | None = None
    """Of the Deployment that was seen; None when this pass itself changes it."""


@dataclass(frozen=True)
class Replacement:
    """A member of a child to set to exactly this value, whoever else has set something in it."""

    kind: str
    name: str
    resource_version: str
    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True)
class Touch:
    """An annotation of a pod, by which its kubelet looks at once at what is mounted."""

    pod: str
    uid: str
    annotation: str
    value: str


@dataclass(frozen=True)
class Delete:
    """A child to delete; the uid makes sure that it is the one that was seen."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class Event:
    """A transition, told to people."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """Writes, then when to look again."""

    applies: tuple[Body, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    scales: tuple[Scale, ...] = ()
    touches: tuple[Touch, ...] = ()
    deletes: tuple[Delete, ...] = ()
    status: Body | None = None
    """The whole new status; None when it is what it was."""
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = None
    back_off: timedelta | None = None
    """Something outside refused, or did not answer: try again, later each time, but never later
    than this.
    """
    waits_for_turn: bool = False
    """A rollout would begin if not so many others were under way."""
    exists: bool = True
    """False when there is no such resource (any more): nothing to look at again."""

    @property
    def writes(self) -> bool:
        """Whether the pass changes anything."""
        return self.writes_children or bool(self.status)

    @property
    def writes_children(self) -> bool:
        """Whether it changes anything but the resource's status."""
        return bool(
            self.applies or self.replacements or self.scales or self.touches or self.deletes
        )
