"""`kubectl md`: parses the command line, runs one command, and ends with its exit status.

What a command needs is imported when it runs: the Kubernetes client takes a second, and the usage
is shown without asyncio.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from model_operator.cli.arguments import ACTION_VERBS, PROGRAM, parse
from model_operator.cli.errors import CommandError, Exit

Command = Callable[[argparse.Namespace], Coroutine[Any, Any, Exit]]

_MODULES = {
    "deploy": "deploy",
    "status": "status",
    "history": "history",
    "rollback": "rollback",
    "smoke": "smoke",
    "load": "load",
    **dict.fromkeys(ACTION_VERBS, "verbs"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command in a loop of its own."""
    parsed = parse(arguments)
    import asyncio  # noqa: PLC0415

    try:
        return asyncio.run(run(parsed))
    except KeyboardInterrupt:
        return _ended("interrupted; what was asked for goes on", Exit.INTERRUPTED)
    except BrokenPipeError:  # such as `| head`: who reads no more wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE


async def run(parsed: argparse.Namespace) -> int:
    """The exit status of one command; its error, if there is one, is told."""
    module = importlib.import_module(f"model_operator.cli.{_MODULES[parsed.command]}")
    command: Command = module.run
    try:
        status = await command(parsed)
    except CommandError as error:
        status = Exit(_ended(str(error), error.exit_status))
    sys.stdout.flush()
    return int(status)


def _ended(sentence: str, status: Exit) -> int:
    sys.stderr.write(f"{PROGRAM}: {sentence}\n")
    return int(status)
