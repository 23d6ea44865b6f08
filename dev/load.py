"""An open-loop load client that never retries: what a release costs its clients.

    python dev/load.py --url http://HOST:PORT/predict --image cat.jpg --requests 6000 --rate 80

The demo and the end-to-end tests run it in a pod, where there is nothing but this file, the
load client (which says what a failure is) and the standard library. Requests start by the clock.
SIGTERM ends the load early: what is under way is still waited for. With `--closed` a new request
starts only when one was answered, to find out how many a second there can be. The last line is a
JSON report; the exit status is 0 whatever it says.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from model_operator.cli.load_client import Load, Report, Target

MOST_REQUESTS = 500_000


async def play(arguments: argparse.Namespace, target: Target) -> Report:
    """The load that was asked for, until it or SIGTERM ends it."""
    load = Load(
        target,
        late_seconds=arguments.late,
        connections=arguments.connections,
        tell=lambda report: print(report.as_json(), flush=True),
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
    if arguments.closed:
        return await load.run_closed(arguments.requests, arguments.connections)
    return await load.run_open(arguments.requests, arguments.rate)


def main() -> int:
    """Runs the load and prints its report."""
    parser = argparse.ArgumentParser(description="Open-loop load, no retries.")
    parser.add_argument("--url", required=True, help="http://HOST:PORT/predict")
    parser.add_argument("--image", required=True, type=Path, help="the JPEG file to send")
    parser.add_argument("--requests", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--rate", type=float, default=50, help="how many a second (default 50)")
    parser.add_argument(
        "--connections", type=int, default=16, help="kept-alive ones, used in turn (default 16)"
    )
    parser.add_argument(
        "--closed", action="store_true", help="--connections requests at any time, not --rate"
    )
    parser.add_argument("--late", type=float, default=2.0, help="seconds (default 2)")
    arguments = parser.parse_args()
    if not 0 < arguments.requests <= MOST_REQUESTS:
        parser.error(f"--requests must be between 1 and {MOST_REQUESTS}")
    if not arguments.rate > 0:
        parser.error("--rate must be above 0")
    url = urlsplit(arguments.url)
    target = Target(
        url.hostname or "", url.port or 80, url.path or "/", arguments.image.read_bytes()
    )
    print(asyncio.run(play(arguments, target)).as_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
