"""`kubectl md history`: the revisions of a resource that are kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from model_operator import naming, sources, tracking
from model_operator.cli import describe
from model_operator.cli.errors import Exit
from model_operator.cli.session import Session, as_json, session
from model_operator.timestamps import parse_time

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """One revision that is kept."""

    number: int
    """The order of the history; the newest has the largest."""
    revision: str
    version: str
    uri: str
    """Without its query, which may hold a signature."""
    sha256: str
    created: str
    role: str
    """stable, canary, retiring, failed, or nothing."""
    rollout: str
    """What became of its last rollout, where status still has that."""


async def run(arguments: argparse.Namespace) -> Exit:
    """Shows the history of one resource."""
    async with session(arguments) as opened:
        resource = await opened.resource(arguments.name)
        entries = await fetch(opened, resource)
    if arguments.json:
        sys.stdout.write(as_json({"revisions": [asdict(entry) for entry in entries]}) + "\n")
    else:
        sys.stdout.write("\n".join(table(entries, datetime.now(UTC))) + "\n")
    return Exit.DONE


async def fetch(opened: Session, resource: Body) -> list[Entry]:
    """The revisions of a resource that are kept, the oldest first."""
    name = resource["metadata"]["name"]
    selector = naming.owned_by_selector(name)
    records, _ = await opened.cluster.list("ControllerRevision", opened.namespace, selector)
    return of(resource, records)


def of(resource: Body, records: Iterable[Body]) -> list[Entry]:
    """The history by the records that the resource controls."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    entries = []
    for record in records:
        owners = record["metadata"].get("ownerReferences") or ()
        if metadata["uid"] not in [owner["uid"] for owner in owners]:
            continue
        revision = naming.revision_of(metadata["name"], record)
        data = record.get("data") or {}
        entries.append(
            Entry(
                number=record["revision"],
                revision=revision,
                version=data.get("version", ""),
                uri=sources.shown(data.get("resolvedUri", "")),
                sha256=data.get("sha256", ""),
                created=record["metadata"].get("creationTimestamp") or "",
                role=role_of(revision, status),
                rollout=rollout_of(revision, status),
            )
        )
    return sorted(entries, key=lambda entry: (entry.number, entry.revision))


def role_of(revision: str, status: Body) -> str:
    """What a revision is to its resource now."""
    for role in ("stable", "canary"):
        if (status.get(role) or {}).get("revision") == revision:
            failed = status.get("failedRevision") == revision and role == "canary"
            return "failed" if failed else role
    if status.get("failedRevision") == revision:
        return "failed"
    return "retiring" if status.get("retiring") == revision else ""


def rollout_of(revision: str, status: Body) -> str:
    """How the last rollout of a revision ended, and after how long: `complete, 1m12s`; empty where
    it is under way, or not known any more.
    """
    rollouts = status.get("rollouts") or ()
    last: Body = next((r for r in rollouts if r["revision"] == revision), {})
    ended = parse_time(last.get("endedAt"))
    if ended is None:
        return ""
    outcome = tracking.OUTCOMES.get(last.get("outcome", ""), "")
    return f"{outcome}, {describe.age(last['startedAt'], ended)}"


def table(entries: Sequence[Entry], now: datetime) -> list[str]:
    """For people, as kubectl aligns it."""
    if not entries:
        return ["no revision has been made yet"]
    rows = [("NUMBER", "REVISION", "VERSION", "URI", "SHA256", "AGE", "ROLE", "ROLLOUT")]
    for entry in entries:
        age = describe.age(entry.created, now)
        digest = entry.sha256[:12]
        made_of = (str(entry.number), entry.revision, entry.version, entry.uri, digest, age)
        rows.append((*made_of, entry.role, entry.rollout))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
