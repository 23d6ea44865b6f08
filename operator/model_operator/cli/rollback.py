"""`kubectl md rollback`: which revision to go back to, and the action that asks for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from model_operator import reasons
from model_operator.actions import Verb
from model_operator.cli import history
from model_operator.cli.arguments import PROGRAM
from model_operator.cli.asking import action, ask, new_id
from model_operator.cli.errors import Exit, Failed, UsageError
from model_operator.cli.history import Entry
from model_operator.cli.session import session

Body = Mapping[str, Any]

GITOPS = (
    "the spec still asks for what was left: GitOps ends this rollback with its next change of "
    "spec.model or spec.server, unless they are set back in git too"
)


async def run(arguments: argparse.Namespace) -> Exit:
    """Asks for the rollback and prints the operator's answer."""
    async with session(arguments) as opened:
        resource = await opened.resource(arguments.name)
        entries = await history.fetch(opened, resource)
        revision = choose(resource, entries, arguments.revision, arguments.version)
        wanted = action(Verb.ROLLBACK, resource, new_id(Verb.ROLLBACK), revision)
        answer = await ask(opened, resource, wanted, arguments.timeout)
    sys.stdout.write(f"{answer}\n")
    sys.stderr.write(f"{GITOPS}\n")
    return Exit.DONE


def choose(
    resource: Body, entries: Sequence[Entry], revision: str | None, version: str | None
) -> str:
    """The revision to go back to: the one that is named, the newest of the version that is named,
    the stable one while another is being introduced, else the one before the stable one. Pure.

    Raises:
        UsageError: there is none such.
        Failed: what would be left is out already.

    """
    name = resource["metadata"]["name"]
    kept = f"`{PROGRAM} history {name}` shows what is kept"
    status = resource.get("status") or {}
    stable = (status.get("stable") or {}).get("revision")
    if revision is not None:
        return _named(revision, entries, kept)
    if version is not None:
        found = [entry.revision for entry in entries if entry.version == version]
        if not found:
            raise UsageError(f"no revision of version {version} is kept: {kept}")
        others = [candidate for candidate in found if candidate != stable]
        return (others or found)[-1]
    failed, canary = status.get("failedRevision"), status.get("canary")
    if failed and failed != stable:
        raise Failed(
            f"revision {failed} {_became(status, failed)}, and revision {stable} serves already; "
            f"to go further back, name a revision: {kept}"
        )
    if canary and stable:
        return str(stable)
    return _before(stable, entries, kept)


def _became(status: Body, revision: str) -> str:
    """What became of a revision that is not tried again: people may have left it."""
    last = status.get("lastFailure") or {}
    reason = last.get("reason") if last.get("revision") == revision else None
    left = {reasons.ROLLED_BACK: "was rolled back from", reasons.ABORTED: "was aborted"}
    return left.get(str(reason), "has failed")


def _named(revision: str, entries: Sequence[Entry], kept: str) -> str:
    """A revision by its id, or by the beginning of it."""
    found = [entry.revision for entry in entries if entry.revision.startswith(revision)]
    if len(found) != 1:
        words = "is not kept" if not found else f"may be any of {', '.join(found)}"
        raise UsageError(f"revision {revision} {words}: {kept}")
    return found[0]


def _before(stable: str | None, entries: Sequence[Entry], kept: str) -> str:
    order = [entry.revision for entry in entries]
    place = order.index(stable) if stable in order else 0
    if place == 0:
        raise UsageError(f"there is no revision before {stable or 'the first'}: {kept}")
    return order[place - 1]
