"""SIGTERMs under load, counted: `make test-drain`, or `python -m tests.drain --terminations 10`.

First with the drain, where no request may be lost; then some with the drain switched off, where
the same clients must see losses, or they would see none before either. What was lost stands above
the last two lines. Exit status 1 when a request was lost, when a process ended too late or not
with 0, or when nothing was lost without the drain.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.drain.campaign import AT_ONCE_SECONDS, Outcome, Plan, play
from tests.server.artifacts import make_artifact

SHOWN = 40  # losses that are told; the rest is counted
CONTROLS = 4  # SIGTERMs without the drain


def main() -> int:
    """Reads the command line and plays."""
    parser = argparse.ArgumentParser(prog="python -m tests.drain", description=__doc__)
    parser.add_argument("--terminations", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=4, help="of lags, pauses and slowness")
    parser.add_argument("--drain-seconds", type=float, default=1.5)
    parser.add_argument("--side-by-side", type=int, default=2, help="Services at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        artifact = make_artifact(root / "artifact")

        def plan(name: str, terminations: int, *, drain_off: bool) -> Plan:
            return Plan(
                artifact=artifact,
                folder=root / name,
                terminations=terminations,
                seed=options.seed,
                drain_seconds=options.drain_seconds,
                drain_off=drain_off,
                side_by_side=min(options.side_by_side, terminations),
            )

        drained = plan("drained", options.terminations, drain_off=False)
        say(
            f"{drained.terminations} SIGTERMs, drain {drained.drain_seconds:g} s, nodes up to"
            f" {drained.drain_seconds:g} s late, {drained.side_by_side} Services side by side,"
            f" seed {drained.seed}"
        )
        outcome = asyncio.run(play(drained, progress(drained)))
        tell(outcome, drained)
        control = asyncio.run(play(plan("control", CONTROLS, drain_off=True)))
    bad_ends = outcome.bad_ends + control.bad_ends
    for line in bad_ends:
        say(line)
    lost = len(control.ledger.losses)
    verdict = "as it must" if lost else "which proves nothing: these clients must see losses"
    say(
        f"drain switched off, {CONTROLS} SIGTERMs: requests {control.ledger.requests},"
        f" failed {lost}, {verdict}"
    )
    say(f"requests {outcome.ledger.requests}, failed {len(outcome.ledger.losses)}")
    return 1 if outcome.ledger.losses or bad_ends or not lost else 0


def progress(plan: Plan) -> Callable[[Outcome], None]:
    """Says something at each tenth termination."""
    started = time.monotonic()

    def on_exit(outcome: Outcome) -> None:
        done = len(outcome.exits)
        if done % 10 == 0:
            say(
                f"{done} of {plan.terminations} after {time.monotonic() - started:.0f} s:"
                f" requests {outcome.ledger.requests}, failed {len(outcome.ledger.losses)}"
            )

    return on_exit


def tell(outcome: Outcome, plan: Plan) -> None:
    """What was lost, who the clients were, and how long the ends took."""
    losses = outcome.ledger.losses
    for line in losses[:SHOWN]:
        say(f"lost: {line}")
    if len(losses) > SHOWN:
        say(f"and {len(losses) - SHOWN} more")
    kinds = ", ".join(f"{name} {n}" for name, n in sorted(outcome.ledger.by_client.items()))
    say(f"answered: {kinds}")
    exits = sorted(outcome.exits)
    say(
        f"from SIGTERM to exit: median {exits[len(exits) // 2]:.1f} s, longest {exits[-1]:.1f} s"
        f" (limit {plan.limit_seconds:g} s); from the drain's end or a later last answer to the"
        f" server's end: longest {max(outcome.idle):.1f} s (limit {AT_ONCE_SECONDS:g} s)"
    )


def say(line: str) -> None:
    """One line, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
