"""The command line of `kubectl md`. Imports nothing that takes long: `--help` is this module."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

PROGRAM = "kubectl md"
ACTION_VERBS = {
    "promote": "take the next step of the rollout, or all that is left of it",
    "abort": "end the rollout; requests go back to the stable revision",
    "retry": "try the revision that failed again",
    "resolve": "look spec.model up again: an alias that was moved becomes a new revision",
    "pause": "hold the rollout in its step",
    "resume": "end a pause",
}
_UNITS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smh])+")


def duration(text: str) -> float:
    """Seconds, from what kubectl takes as a duration.

    >>> duration("1m30s")
    90.0
    """
    if not _DURATION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 30s, 10m or 1h30m")
    parts = re.findall(r"([\d.]+)([smh])", text)
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def positive(text: str) -> float:
    """A finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    everywhere = _everywhere()
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        parents=[everywhere],
        description="Releases of computer-vision models: ModelDeployments of CV Factory.",
        epilog="Exit status: 0 done, 1 failed or refused, 2 usage, 3 not in time.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=words, description=words, parents=[everywhere])

    _deploy(command)
    _reading(command)
    for verb, words in ACTION_VERBS.items():
        _action(command(verb, words))
    _rollback(command("rollback", "serve an earlier revision"))
    _asking(command)
    return parser


def _everywhere() -> argparse.ArgumentParser:
    """Options that may stand before or after the command; absent where they are not given."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-n", "--namespace", help="default: the context's")
    parser.add_argument("--context", help="the kubeconfig's context to use")
    parser.add_argument("--kubeconfig", help="default: KUBECONFIG, then ~/.kube/config")
    return parser


def _deploy(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    parser = command("deploy", "apply ModelDeployments, and wait until they are live")
    parser.add_argument("-f", "--filename", required=True, help="a YAML file, or - (stdin)")
    parser.add_argument("--wait", action="store_true", help="end when Ready, or failed")
    parser.add_argument("--timeout", type=duration, default=600.0, help="of --wait (10m)")
    parser.add_argument("--dry-run", action="store_true", help="print what would happen")
    parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take over what other tools have set"
    )


def _reading(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    status = command("status", "revisions, weights, pods, analysis, and what is wrong")
    status.add_argument("name", nargs="?", metavar="NAME", help="default: all of the namespace")
    status.add_argument("-w", "--watch", action="store_true", help="again whenever it changes")
    history = command("history", "the revisions that are kept")
    history.add_argument("name", metavar="NAME")
    history.add_argument("--json", action="store_true", help="as JSON")


def _action(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "--timeout", type=duration, default=30.0, help="for the operator's answer (30s)"
    )


def _rollback(parser: argparse.ArgumentParser) -> None:
    _action(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("revision", nargs="?", metavar="REVISION", help="default: the one before")
    which.add_argument("--to", metavar="VERSION", dest="version", help="by the model's version")


def _asking(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    smoke = command("smoke", "ask a live endpoint for its health, a prediction and its metrics")
    load = command("load", "open-loop load on a live endpoint, with a report")
    for parser in (smoke, load):
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("name", nargs="?", metavar="NAME")
        where.add_argument("--url", help="any address of a model server")
        parser.add_argument(
            "--via",
            choices=("service", "api-server"),
            help="how to reach NAME (default: the Service, else the API server's proxy to it)",
        )
        parser.add_argument("--json", action="store_true", help="print nothing but JSON")
    smoke.add_argument("--timeout", type=duration, default=10.0, help="for each answer (10s)")
    load.add_argument("--rate", type=positive, required=True, help="requests a second")
    load.add_argument("--duration", type=duration, required=True, help="for example 30s or 5m")
    load.add_argument(
        "--picture", type=Path, action="extend", nargs="+", default=[], help="files, in turn"
    )
    load.add_argument(
        "--connections", type=count, default=16, help="kept-alive ones, used in turn (16)"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments; ends the process with status 2 where they are wrong."""
    parsed = make_parser().parse_args(arguments)
    for name in ("namespace", "context", "kubeconfig"):
        parsed.__dict__.setdefault(name, None)
    return parsed
