"""`kubectl md status`: what is live, what is under way and what is wrong."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime

from model_operator import api, naming
from model_operator.cli import tree
from model_operator.cli.errors import Exit, Failed
from model_operator.cli.session import Session, no_answer, session
from model_operator.cli.terminal import Style, style_of
from model_operator.cli.tree import Snapshot
from model_operator.clients.transport import Body
from model_operator.errors import ApiError, ApiUnreachable

Observation = tuple[Body, list[Body] | None]
"""A resource and its pods."""

POLL_SECONDS = 1.0
_CLEAR_SCREEN = "\x1b[H\x1b[2J\x1b[3J"


async def run(arguments: argparse.Namespace) -> Exit:
    """Shows one resource, or all of the namespace; again whenever it changes with `--watch`."""
    began = datetime.now(UTC)
    async with session(arguments) as opened:
        shown: list[str] | None = None
        while True:
            try:
                found = await _observe(opened, arguments.name)
            except (ApiError, ApiUnreachable) as error:
                words = no_answer(error)
                if shown is None or words is None:
                    raise
                if shown:
                    sys.stderr.write(f"{words}; still watching\n")
                shown = []
                await asyncio.sleep(POLL_SECONDS)
                continue
            # Time that passes is no news, except to somebody who looks at a terminal.
            news = _lines(found, datetime.now(UTC) if sys.stdout.isatty() else began, Style())
            if news != shown:
                shown = news
                _show(_lines(found, datetime.now(UTC), style_of(sys.stdout)), clear=arguments.watch)
            if not arguments.watch:
                return Exit.DONE
            await asyncio.sleep(POLL_SECONDS)


async def _observe(opened: Session, name: str | None) -> list[Observation]:
    if name is not None:
        resources = [await opened.resource(name)]
    else:
        resources, _ = await opened.cluster.list(api.KIND, opened.namespace)
    if not resources:
        raise Failed(f"there is no ModelDeployment in namespace {opened.namespace}")
    return [(resource, await _pods(opened, resource)) for resource in resources]


def _lines(found: list[Observation], now: datetime, style: Style) -> list[str]:
    trees = [tree.render(Snapshot(resource, pods, now), style) for resource, pods in found]
    return [line for lines in trees for line in lines]


async def _pods(opened: Session, resource: Body) -> list[Body] | None:
    """The resource's pods; None when this user may not list them."""
    name = resource["metadata"]["name"]
    selector = naming.as_selector({naming.OWNER_LABEL: name})
    try:
        pods, _ = await opened.cluster.list("Pod", opened.namespace, selector)
    except ApiError as error:
        if error.status == 403:
            return None
        raise
    return pods


def _show(lines: list[str], *, clear: bool) -> None:
    if clear and sys.stdout.isatty():
        sys.stdout.write(_CLEAR_SCREEN)
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
