"""`make test-fuzz`: a million generated requests to a real server over the loopback.

Mutated pictures, forms, JSON, headers and whole requests, over several connections, several at
once. `--requests` sends fewer; a request is made of `--seed` and its number alone. What is wrong
stands above the last line, which has the figures. The server decodes and computes in the fastest
way that is installed. Exit status 1 when it ends, gives an answer of 5xx other than that it is
overloaded, owes an answer, or refuses a well-behaved client, and when too few requests have reached
the decoder to say anything of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.server.artifacts import make_artifact
from tests.server.fuzz.campaign import Outcome, Plan, play
from tests.server.fuzz.sending import Tally
from tests.server.processes import ServerProcess
from tests.server.usage import Usage

SETTINGS = {"engine": "auto", "decoding": "reduced"}
SHOWN = 20
LEAST_DECODED = 0.30
MOST_MEGABYTES = 50
MOST_SLOWER = 2.0


def main() -> int:
    """Read the command line, start a server and play."""
    parser = argparse.ArgumentParser(prog="python -m tests.server.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--connections", type=int, default=8)
    arguments = parser.parse_args()
    plan = Plan(arguments.requests, arguments.seed, arguments.connections)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        artifact = make_artifact(Path(folder) / "artifact")
        server = ServerProcess(artifact, Path(folder) / "run", SETTINGS)
        try:
            outcome = play(server.wait_ready(), plan, _progress(plan.requests, started))
        finally:
            server.close()
    say("\n".join([*outcome.wrong[:SHOWN], figures(outcome, time.monotonic() - started)]))
    return 1 if outcome.wrong or outcome.decoded_share < LEAST_DECODED else 0


def figures(outcome: Outcome, seconds: float) -> str:
    """Return what was counted, and one last line: target, measured, met or not."""
    tally = outcome.tally
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    kinds = ", ".join(f"{kind} {count}" for kind, count in tally.kinds.most_common())
    share, grown = outcome.decoded_share, outcome.grown_megabytes
    good, fuzz = outcome.good_p99 * 1000, outcome.fuzz_p99 * 1000
    slower = fuzz / good if good else float("inf")
    figures = [
        f"fuzz: requests {tally.requests} in {seconds:.0f} s, crashes {int(outcome.crashed)}",
        f"wrong answers {len(tally.findings)}",
        f"reached the decoder: target at least {LEAST_DECODED:.0%}, measured {share:.1%}, "
        + _met(share >= LEAST_DECODED),
        f"memory: target at most +{MOST_MEGABYTES} MB, measured {grown:+.1f} MB, "
        + _met(grown <= MOST_MEGABYTES),
        f"a well-behaved client's p99: {good:.1f} ms beside good requests, {fuzz:.1f} ms beside "
        f"these, target at most {MOST_SLOWER:g} times, measured {slower:.2f}, "
        + _met(slower <= MOST_SLOWER),
    ]
    return "\n".join([f"kinds: {kinds}", f"answers by status: {statuses}", "; ".join(figures)])


def say(text: str) -> None:
    """Write it now: a campaign takes long."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _met(is_met: bool) -> str:
    return "met" if is_met else "not met"


def _progress(requests: int, started: float) -> Callable[[Tally, Usage], None]:
    step = max(1, requests // 50)
    told = 0

    def tell(tally: Tally, usage: Usage) -> None:
        nonlocal told
        if tally.requests // step > told:
            told = tally.requests // step
            rate = tally.requests / (time.monotonic() - started)
            say(
                f"{tally.requests} of {requests}, {rate:.0f}/s, {len(tally.findings)} wrong,"
                f" {usage.megabytes:.0f} MB"
            )

    return tell


if __name__ == "__main__":
    sys.exit(main())
