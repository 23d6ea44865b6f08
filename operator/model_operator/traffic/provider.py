"""What a traffic provider is: the one interface between rollouts and whatever divides requests.

Pure: a route to objects, objects to a confirmed route. `decide` asks the provider that the spec
names; `children` writes its objects like any others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from model_operator.observed import Observed
from model_operator.route import Reading, Route

Body = dict[str, Any]


class Provider(Protocol):
    """Divides requests between the stable revision and the one being introduced."""

    exact: bool
    """Whether it can give any integer percent; otherwise the ratio of pods decides."""

    def objects(self, observed: Observed, route: Route) -> Sequence[Body]:
        """The objects that give requests as the route says, for server-side apply, in the order
        in which they are written. The endpoint, Service NAME, is among them. A canary of weight
        0 is named where the provider can do so by now, and holds nothing up: `read` may give the
        route without it.
        """
        ...

    def read(self, observed: Observed) -> Reading:
        """What those objects and the data plane behind them say now."""
        ...

    def cannot_divide(self, observed: Observed, route: Route) -> str:
        """Why requests cannot be divided as the route says yet; empty when they can."""
        ...

    def obsolete(self, observed: Observed) -> Sequence[tuple[str, str]]:
        """Kind and name of this provider's objects that no request reaches any more."""
        ...


Providers = Mapping[str, Provider]
"""By `spec.traffic.provider`."""
