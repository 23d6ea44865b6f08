"""What a strategy sees, and what it answers: data only.

`decide` builds a `View` from what was observed and asks the strategy for a `Step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from model_operator import api
from model_operator.route import Route


@dataclass(frozen=True)
class Size:
    """The pods of one revision, as just observed."""

    desired: int = 0
    """`spec.replicas` of its Deployment."""
    ready: int = 0
    """Pods that are ready and not terminating."""
    available: int = 0
    """Of those, the pods that have been ready for minReadySeconds."""
    existing: int = 0
    """All its pods, those that are ending included: they hold their node's resources."""
    current: bool = True
    """Its controller has seen how many pods are asked for: it is not about to end ready ones."""


@dataclass(frozen=True)
class Trouble:
    """Why pods of a revision do not become ready."""

    reason: str
    message: str
    permanent: bool = False
    """Waiting will not help: the bytes are wrong, the model does not exist."""
    vague: bool = False
    """It only says that something is tried again; what was told before says more."""
    looping: bool = False
    """A container has ended again and again: strategies that send it requests wait no longer."""


@dataclass(frozen=True)
class Findings:
    """What the analysis says of the target now; without one there is nothing to wait for."""

    failure: Trouble | None = None
    """Why the target may not go on."""
    holds: str = ""
    """Why no step is taken yet, for example too few requests; empty: one may be taken."""


@dataclass(frozen=True)
class View:
    """Everything that a strategy decides from."""

    target: str
    """The revision that the spec means."""
    serving: str | None
    """The stable revision, as the data plane has it: it gets all requests that no weight gives
    to another.
    """
    recorded_stable: str | None
    """The stable revision as the last status has it; None also when status was lost."""
    sizes: Mapping[str, Size]
    """Every revision that has a Deployment."""
    replicas: int
    now: datetime
    scale_down_delay: timedelta
    progress_deadline: timedelta
    strategy: api.Strategy = field(default_factory=api.Strategy)
    route: Route | None = None
    """What the data plane was told last."""
    serving_confirmed: bool = False
    """The whole data plane has taken that route over, and lists exactly the ready pods."""
    unconfirmed: str = ""
    """Why not, where that is known."""
    exact: bool = False
    """It can give any percent; otherwise the ratio of ready pods decides."""
    cannot_divide: str = ""
    """Why requests cannot be divided yet; empty when they can."""
    shadow: Findings = field(default_factory=Findings)
    """How far the shadow's predictions agree."""
    analysis: Findings = field(default_factory=Findings)
    promoted: bool = False
    """The action promote was accepted in this pass."""
    retiring: str | None = None
    """The revision that served before this one, as long as it is kept."""
    step_index: int | None = None
    same_steps: bool = True
    """The recorded index counts in the steps that the spec has now."""
    step_started_at: datetime | None = None
    introduced: str | None = None
    """The revision that the recorded step was introducing."""
    failed: str | None = None
    verdict_recorded: bool = False
    """The last status has it already that the target failed."""
    retried: bool = False
    """It was just asked to try the target again: its time begins anew."""
    paused: bool = False
    """No step is taken and nothing is promoted; aborting, repairing and scaling go on."""
    rollouts_elsewhere: int | None = None
    """So many rollouts of other resources are under way, as many as may be; None: one may begin."""
    trouble: Trouble | None = None
    """What the target's pods suffer from."""

    def size(self, revision: str) -> Size:
        """The size of a revision, zero when it has no Deployment."""
        return self.sizes.get(revision, Size())

    def weight_of(self, revision: str) -> int:
        """Percent of the requests that the data plane was told to give to a revision."""
        return self.route.weight_of(revision) if self.route else 0

    @property
    def divides(self) -> bool:
        """Whether the strategy gives the target a part of the requests."""
        return self.strategy.type == "Canary"

    @property
    def waits_to_begin(self) -> bool:
        """Whether something keeps the rollout to the target from beginning: a pause, or too many
        other rollouts where something serves already. A target that served before, as the record
        has it, is repaired, not rolled out.
        """
        held = self.paused or (self.rollouts_elsewhere is not None and self.serving is not None)
        return held and not self.has_begun and self.target != self.recorded_stable

    @property
    def has_begun(self) -> bool:
        """Whether the rollout to the target is under way already."""
        recorded = self.step_index is not None and self.same_steps
        return recorded and self.introduced == self.target


class State(Enum):
    """Where a rollout stands."""

    COMPLETE = "complete"
    WAITING = "waiting"
    """For its turn: so many other rollouts are under way."""
    SCALING = "scaling"
    STOPPING = "stopping"
    """The serving revision ends before the target starts (strategy Recreate)."""
    STARTING = "starting"
    INTRODUCING = "introducing"
    """The target gets a part of the requests, or copies of them."""
    AWAITING_PROMOTION = "awaiting promotion"
    SWITCHED = "switched"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True)
class Step:
    """What a strategy wants now."""

    state: State
    message: str
    serve: str | None
    """The revision that shall be stable: it has all requests but those that `weight` gives to
    another. None leaves the data plane alone.
    """
    canary: str | None = None
    """The revision that is being introduced or withdrawn; None: the target."""
    weight: int = 0
    """Percent of the requests that it shall have."""
    shows: str | None = None
    """The revision that can be tried before it serves (strategy BlueGreen)."""
    shadow: str | None = None
    """The revision that shall get copies of the requests."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Wanted pods by revision; a revision that is not named is left alone, and not created."""
    index: int | None = None
    started_at: datetime | None = None
    failed: str | None = None
    roll_back_to: str | None = None
    """The target was switched to and failed: the revision that shall have the requests again."""
    retiring: str | None = None
    """The revision that served before, kept for scaleDownDelaySeconds."""
    trouble: Trouble | None = None
    requeue_after: timedelta | None = None
