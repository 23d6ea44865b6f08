"""How requests are divided between revisions, and what is known of it: data only.

Strategies ask for a `Route`, providers turn it into objects and read back a `Reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Route:
    """Percent of the requests for the revision being introduced; all others go to stable."""

    stable: str
    canary: str | None = None
    weight: int = 0
    """Percent of the requests that the canary gets, 0 to 100."""

    @property
    def weights(self) -> dict[str, int]:
        """Percent by revision; they sum to 100."""
        if self.canary is None or self.canary == self.stable:
            return {self.stable: 100}
        return {self.stable: 100 - self.weight, self.canary: self.weight}

    def gives_as(self, other: Route) -> bool:
        """Whether both give every request to the same revision: a canary of weight 0 gets none."""
        mine, others = (
            {revision: weight for revision, weight in route.weights.items() if weight}
            for route in (self, other)
        )
        return self.stable == other.stable and mine == others

    def weight_of(self, revision: str | None) -> int:
        """Percent of the requests that a revision gets; 0 for one that the route does not name."""
        return self.weights.get(revision or "", 0)


@dataclass(frozen=True)
class Reading:
    """What the data plane says."""

    route: Route | None = None
    """What was written last, read back from the provider's own objects; None without them."""
    confirmed: bool = False
    """Whether the whole data plane has taken that route over."""
    actual: Mapping[str, int] = field(default_factory=dict)
    """Percent by revision that the data plane has confirmed; empty while it has not."""
    reachable: Mapping[str, int] = field(default_factory=dict)
    """Ready pods by revision that the data plane sends requests to."""
    approximate: bool = False
    """The weights can only come near to what was asked for."""
    why: str = ""
    """Why it is not confirmed, as a sentence for status; empty where it is, and where waiting is
    all that there is to say.
    """
