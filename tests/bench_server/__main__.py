"""This server beside its peers: `make bench-server`, or `python -m tests.bench_server`.

    --peers NAME,...  only these (`ours` is always among them; see contenders.py)
    --rounds N        how often everything is measured (default 3); figures are medians
    --seconds S       of each load over the main pictures (default 6); others take half
    --quick           one round of 2 seconds, the main pictures only
    --write           writes the page and the picture into docs/benchmarks

The first run makes a virtual environment for each peer. A figure that is not met is printed as
such; exit status 1 when somebody answered wrongly, or not at all, and when there are no figures of
this server or of decoding and inference alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from dev.progress import say, step
from tests.bench_server import campaign, drawing, report
from tests.bench_server.contenders import CONTENDERS, OUR_ENVIRONMENT, Contender
from tests.bench_server.environments import ROOT, CannotInstall
from tests.bench_server.figures import CONNECTIONS
from tests.bench_server.material import SETS, Material

OUT = ROOT / "docs" / "benchmarks"
INSTALL_SECONDS = 120.0
START_SECONDS = 12.0
"""Of one contender, and ending it."""
WARM_UP_SECONDS = 2.5
"""Of one load, on average."""


def main() -> int:
    """Reads the command line and measures."""
    options = _parser().parse_args()
    wanted = set(options.peers.split(",")) if options.peers else {one.name for one in CONTENDERS}
    if unknown := wanted - {one.name for one in CONTENDERS}:
        _parser().error(f"no such peers: {', '.join(sorted(unknown))}")
    chosen = [one for one in CONTENDERS if one.name == "ours" or one.name in wanted]
    absent: list[str] = []
    installed = [one for one in chosen if _installed(one, absent)]
    if not OUR_ENVIRONMENT.is_ready:
        say("\n".join(absent))
        return 1
    plan = campaign.Plan(
        installed,
        SETS[:1] if options.quick else SETS,
        1 if options.quick else options.rounds,
        2.0 if options.quick else options.seconds,
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with step("drawing the model and the pictures", 30):
            material = drawing.make(Path(folder), plan.sets, say)
        record = _measured(plan, material)
    record.troubles += absent
    for line in report.page(plan, record):
        say(line)
    if options.write:
        report.write(plan, record, OUT)
        say(f"written: {OUT}")
    say(report.last_line(plan, record))
    return 1 if record.wrong or record.failed or not record.is_whole else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", default="", metavar="NAME,...")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    return parser


def _installed(contender: Contender, absent: list[str]) -> bool:
    """Make its environment where it is missing; who has none is not measured, and that is said."""
    environment = contender.environment
    if environment.is_ready:
        return True
    try:
        with step(f"installing {environment.name}", INSTALL_SECONDS):
            environment.make()
    except CannotInstall as error:
        absent.append(f"{contender.name} is not measured: {error}")
    return environment.is_ready


def _measured(plan: campaign.Plan, material: Material) -> campaign.Record:
    loads = sum(WARM_UP_SECONDS + plan.seconds_of(one.name) for one in plan.sets) * len(CONNECTIONS)
    estimate = plan.rounds * len(plan.contenders) * (loads + START_SECONDS)
    with step("measuring", estimate):
        return asyncio.run(campaign.play(plan, material, say))


if __name__ == "__main__":
    sys.exit(main())
