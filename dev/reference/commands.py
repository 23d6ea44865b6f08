"""Every command with its arguments, from the parsers. argparse's own layout differs between
versions of Python, so the page has one of its own.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from dev.reference.markdown import table
from model_operator.cli.arguments import make_parser
from model_server import main as serve
from model_training import cli as training

EXAMPLES = "examples:"
INTRODUCTION = """\
# Commands

`kubectl md` is explained in [kubectl-md.md](../kubectl-md.md), `model-train` in
[training.md](../training.md), `model-serve` in [server.md](../server.md). `model-operator` (but for
`--version`) and `model-router` take nothing but their [settings](settings.md).
"""


def page() -> str:
    """The whole page."""
    parsers = (make_parser(), training._parser(), serve._parser())
    return INTRODUCTION + "".join(
        _section(whole) + "".join(_section(part, of=whole) for part in _commands(whole))
        for whole in parsers
    )


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def _section(parser: argparse.ArgumentParser, *, of: argparse.ArgumentParser | None = None) -> str:
    """Without what may stand before the command as well."""
    known = {name for action in (of._actions if of else ()) for name in action.option_strings}
    told = [action for action in parser._actions if _is_told(action)]
    rows = [_row(action) for action in told if not known.intersection(action.option_strings)]
    level = "###" if of else "##"
    words = (*(parser.description or "").split("\n\n"), *(parser.epilog or "").split("\n\n"))
    text = "\n\n".join(_paragraph(part) for part in words if part.strip())
    shown = f"\n{table(['argument', 'meaning'], rows)}" if rows else ""
    return f"\n{level} {parser.prog}\n\n{text}\n{shown}"


def _paragraph(words: str) -> str:
    """Prose, or the examples as they are to be typed, each on a line of its own."""
    if words.lstrip().startswith(EXAMPLES):
        lines = textwrap.dedent(words.strip().removeprefix(EXAMPLES).strip("\n")).splitlines()
        typed = "\n".join(line.strip() for line in lines)
        return f"Examples:\n\n```console\n{typed}\n```"
    return " ".join(words.split())


def _is_told(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)


def _row(action: argparse.Action) -> list[str]:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not names:
        names = f"`{value}`"
    elif action.choices:
        names += f" `{'`, `'.join(map(str, action.choices))}`"
    elif action.nargs != 0:
        names += f" {value}"
    wanted = " (required)" if action.required and action.option_strings else ""
    return [f"{names}{wanted}", (action.help or "").replace("%%", "%")]
