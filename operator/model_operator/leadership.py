"""Who may lead: decided from the Lease as it was seen, who we are, and our own clock. Pure.

The rules are those of Kubernetes' own components (client-go's leader election):

- A Lease that another process holds is taken only when it has not changed for its whole duration
  by *this* machine's clock, counted from when it was seen, or when its holder has given it back.
  Times that stand in it are for people: no other machine's clock is believed.
- Every write names the version that was seen, so of two who try at once one is refused.
- The holder may write for two thirds of the duration, counted from when its last renewal was
  *sent*. Whoever takes the Lease saw that renewal later than that, and waits for all of it. The
  third in between is for clocks that run at different rates and for requests under way.

`runtime.election` asks this and does what it says; `clients.leases` reads and writes the object.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True)
class Terms:
    """How long things take, all by the one setting."""

    lease_seconds: int
    """For so long a Lease that is not renewed keeps its holder."""

    @property
    def write_seconds(self) -> float:
        """For so long the holder may write after its last renewal was sent."""
        return self.lease_seconds * 2 / 3

    @property
    def answer_seconds(self) -> float:
        """For so long an answer is waited for: two tries fit in before the holder must stop."""
        return self.lease_seconds / 3

    @property
    def renew_seconds(self) -> float:
        """Between two renewals."""
        return self.lease_seconds * 2 / 15

    @property
    def look_seconds(self) -> float:
        """Between two looks at a Lease that another holds, and between two tries."""
        return self.lease_seconds / 30


@dataclass(frozen=True)
class Lease:
    """What was answered."""

    version: str
    """Its resourceVersion; empty: there is no such object."""
    holder: str = ""
    """Empty: nobody."""
    seconds: int = 0
    """What its holder lives by; 0: it does not say."""
    transitions: int = 0
    """How often it has changed hands."""


ABSENT = Lease("")


@dataclass(frozen=True)
class Standing:
    """What one process knows."""

    identity: str
    """Its own, and nobody else's ever."""
    pod: str = ""
    """The pod that it runs in: a pod's process starts only when the one before has ended."""
    seen: Lease | None = None
    since: float = 0.0
    """When that was first seen, by our clock."""
    first: bool = True
    """Whether nothing else was seen before."""

    @property
    def holds(self) -> bool:
        """Whether the Lease was ours when it was last seen."""
        return self.seen is not None and self.seen.holder == self.identity


class Move(Enum):
    """What is to be done."""

    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why."""

    move: Move
    why: str = ""
    seconds: float = 0.0
    """Until the next look, for WAIT."""


@dataclass(frozen=True)
class Claim:
    """What is to be written into the Lease."""

    holder: str
    """Empty: it is given back."""
    seconds: int
    transitions: int
    anew: bool
    """Whether its holder's time begins now."""


def see(standing: Standing, lease: Lease, now: float) -> Standing:
    """What is known after an answer that came at `now`."""
    before = standing.seen
    if before is not None and before.version == lease.version:
        return standing
    return replace(standing, seen=lease, since=now, first=before is None)


def decide(standing: Standing, terms: Terms, now: float, *, may_write: bool = False) -> Decision:
    """What to do about the Lease that was last seen; the first rule that holds.

    `may_write`: whether we lead at this moment.

    >>> terms, other = Terms(15), Lease("7", holder="b_1", seconds=15)
    >>> standing = see(Standing("a_1"), other, 100.0)
    >>> decide(standing, terms, 114.9).move, decide(standing, terms, 115.0).move
    (<Move.WAIT: 'wait'>, <Move.TAKE: 'take'>)
    """
    lease = standing.seen
    if lease is None:
        return Decision(Move.WAIT, "it was not seen yet", terms.look_seconds)
    if standing.holds:
        return Decision(Move.RENEW, "it was ours")
    if why := _nobody_to_wait_for(standing, lease, may_write=may_write):
        return Decision(Move.TAKE, why)
    duration = lease.seconds or terms.lease_seconds
    left = standing.since + duration - now
    holder = lease.holder or "whoever held it"
    if left <= 0:
        return Decision(Move.TAKE, f"{holder} did not renew it for {duration} s")
    return Decision(Move.WAIT, f"{holder} holds it", min(left, terms.look_seconds))


def _nobody_to_wait_for(standing: Standing, lease: Lease, *, may_write: bool) -> str:
    """Why the Lease can be taken at once; empty where somebody may still live by it."""
    if not lease.version:
        # One that was deleted may have a holder who does not know it yet.
        if may_write:
            return "it was deleted under us"
        return "there was none" if standing.first else ""
    if not lease.holder:
        return "it was free"
    if standing.first and standing.pod and lease.holder.rpartition("_")[0] == standing.pod:
        return "an earlier process of this pod held it"
    return ""


def claim(standing: Standing, terms: Terms, move: Move) -> Claim:
    """What TAKE or RENEW writes; transitions are counted from 0, when the object is made."""
    lease = standing.seen or ABSENT
    changes_hands = move is Move.TAKE and bool(lease.version)
    return Claim(
        holder=standing.identity,
        seconds=terms.lease_seconds,
        transitions=lease.transitions + changes_hands,
        anew=move is Move.TAKE,
    )


def give_back(lease: Lease) -> Claim:
    """What the holder writes when it ends: the next one need not wait."""
    return Claim(holder="", seconds=1, transitions=lease.transitions, anew=False)


def renewed(seen: Lease, answer: Lease, identity: str) -> bool:
    """Whether an answer shows that our claim is in the Lease.

    An update that changes nothing leaves the version as it is, and others would not see it.
    """
    return answer.holder == identity and answer.version != seen.version
