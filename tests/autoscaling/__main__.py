"""`make test-autoscaling`: whether a pod is ever missed under Kubernetes' own autoscaler.

A whole canary at six pods, by each provider that needs nothing, and autoscaling switched on and
off twice. The ready pods that get requests are counted at every change of a pod or a route. Exit
status 1 when one was ever missing.
"""

from __future__ import annotations

import asyncio
import sys

from tests.autoscaling.stories import CANARIES, CONTROLLER_OPTIONS, SWITCHES, play_all
from tests.fault.house import house

PODS = 6


def main() -> int:
    """Plays, and tells."""
    with house(*CONTROLLER_OPTIONS) as opened:
        outcomes = asyncio.run(play_all(opened, {**CANARIES, **SWITCHES}, to_the_end=True))
    for outcome in outcomes.values():
        sys.stdout.write(f"{outcome}\n")
    canaries = min(outcomes[name].least for name in CANARIES)
    switches = min(outcomes[name].least for name in SWITCHES)
    sys.stdout.write(
        f"ready count never below {PODS}: canary under an HPA at {PODS}: least {canaries}; "
        f"switched on and off: least {switches}\n"
    )
    whole = all(outcome.kept and outcome.before == PODS for outcome in outcomes.values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
