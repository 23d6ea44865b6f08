"""`kubectl_complete-md`: what kubectl asks when somebody presses the tabulator key after `md`.

It passes the words so far, the unfinished one last, and reads a candidate per line and last a
directive: 0 lets the shell complete files, 4 does not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence

from model_operator.cli.arguments import make_parser
from model_operator.cli.errors import CommandError

FILES = 0
NO_FILES = 4
SECONDS = 3.0
"""A shell that waits longer for names is a nuisance."""

_FILE_OPTIONS = {"-f", "--filename", "--kubeconfig", "--picture"}


def main() -> int:
    """Prints the candidates for the words on the command line."""
    words = sys.argv[1:] or [""]
    found, directive = complete(words[:-1], words[-1], names)
    sys.stdout.write("".join(f"{candidate}\n" for candidate in found) + f":{directive}\n")
    return 0


def complete(
    words: Sequence[str], unfinished: str, names_of: Callable[[Sequence[str]], list[str]]
) -> tuple[list[str], int]:
    """The candidates for the unfinished word, and the directive."""
    parser = make_parser()
    commands: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands.update(action.choices)
    command = next((word for word in words if word in commands), None)
    if words and words[-1] in _FILE_OPTIONS:
        return [], FILES
    if unfinished.startswith("-"):
        options = _options(commands[command] if command else parser)
        return [option for option in options if option.startswith(unfinished)], NO_FILES
    if command is None:
        return [name for name in commands if name.startswith(unfinished)], NO_FILES
    if any(action.dest == "name" for action in commands[command]._actions):
        return [name for name in names_of(words) if name.startswith(unfinished)], NO_FILES
    return [], NO_FILES


def _options(parser: argparse.ArgumentParser) -> list[str]:
    options = [option for action in parser._actions for option in action.option_strings]
    return [option for option in options if option.startswith("--")]


def names(words: Sequence[str]) -> list[str]:
    """The names of the namespace's ModelDeployments; none where they cannot be had in time."""
    given = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for option in ("--namespace", "--context", "--kubeconfig"):
        given.add_argument(*(("-n",) if option == "--namespace" else ()), option)
    try:
        arguments, _ = given.parse_known_args(list(words))
        return asyncio.run(_names(arguments))
    except (argparse.ArgumentError, CommandError, TimeoutError):
        return []


async def _names(arguments: argparse.Namespace) -> list[str]:
    from model_operator import api  # noqa: PLC0415 - takes a second, and commands need none of it
    from model_operator.cli.session import session  # noqa: PLC0415

    async with asyncio.timeout(SECONDS), session(arguments) as opened:
        found, _ = await opened.cluster.list(api.KIND, opened.namespace)
    return sorted(str(body["metadata"]["name"]) for body in found)
