"""`kubectl md promote`, `abort`, `retry`, `resolve`, `pause` and `resume`."""

from __future__ import annotations

import argparse
import sys

from model_operator.actions import Verb
from model_operator.cli.asking import action, ask, new_id
from model_operator.cli.errors import Exit
from model_operator.cli.session import session


async def run(arguments: argparse.Namespace) -> Exit:
    """Asks for one action and prints the operator's answer."""
    verb = Verb(arguments.command)
    async with session(arguments) as opened:
        resource = await opened.resource(arguments.name)
        wanted = action(verb, resource, new_id(verb))
        answer = await ask(opened, resource, wanted, arguments.timeout)
    sys.stdout.write(f"{answer}\n")
    return Exit.DONE
