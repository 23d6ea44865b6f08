"""Revisions: one immutable pair of (verified model bytes, server settings).

Pure. `decide` asks here which revision a spec means; `observe` reads records back from their
ControllerRevisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_operator import canonical, sources
from model_operator.api import ModelSource

ID_LENGTH = 10


@dataclass(frozen=True)
class ResolvedModel:
    """What a model URI stood for when it was resolved."""

    uri: str
    """`models:/NAME/VERSION`, or the URI of a source that no registry knows."""
    version: str
    """The registered number, or the beginning of the digest."""
    sha256: str


@dataclass(frozen=True)
class Undigested:
    """What a model URI stood for, of which nobody has registered the digest."""

    uri: str
    """As in `ResolvedModel`."""
    version: str | None = None
    """None where no registry numbers it."""

    def with_digest(self, sha256: str) -> ResolvedModel:
        """The same, with the digest of its bytes."""
        return ResolvedModel(self.uri, self.version or sources.version_of(sha256), sha256)


@dataclass(frozen=True)
class RevisionRecord:
    """What a revision was made of, frozen when it was made.

    It is enforced as it stands: neither a newer operator's template nor its defaults change it.
    """

    revision: str
    number: int
    """Counts the revisions of one resource, from 1; the order of the history."""
    model: ResolvedModel
    pod_template: Mapping[str, Any]
    requested: Mapping[str, Any] | None = None
    """`spec.model` as it was when it was resolved to this: what it means if status is lost."""
    uid: str = ""
    """Of its ControllerRevision; empty until it has one."""

    @property
    def registry(self) -> str | None:
        """`spec.model.registry` of then; None: the operator's own, or nobody knows any more."""
        named: str | None = (self.requested or {}).get("registry")
        return named or None


def revision_id(sha256: str, server: Mapping[str, Any]) -> str:
    """The id of (model bytes, server settings): ten hex digits.

    `server` is `spec.server` as the API server returned it. Nothing else goes in: not replicas,
    strategy or traffic, and nothing of the operator's own.
    """
    return canonical.digest({"model": sha256, "server": server})[:ID_LENGTH]


def is_id(text: str) -> bool:
    """Whether a text can be a revision's id.

    >>> is_id("9c1b04aa57"), is_id("preview")
    (True, False)
    """
    return len(text) == ID_LENGTH and set(text) <= set("0123456789abcdef")


def as_requested(source: ModelSource) -> dict[str, Any]:
    """`spec.model` as a record keeps it."""
    return source.model_dump(mode="json", by_alias=True, exclude_none=True)


def to_data(record: RevisionRecord) -> dict[str, Any]:
    """The `data` of the record's ControllerRevision."""
    return {
        "resolvedUri": record.model.uri,
        "version": record.model.version,
        "sha256": record.model.sha256,
        "podTemplate": dict(record.pod_template),
        **({} if record.requested is None else {"requested": dict(record.requested)}),
    }


def from_controller_revision(body: Mapping[str, Any], revision: str) -> RevisionRecord:
    """Reads a record back.

    Raises:
        KeyError: the object does not hold a record.
    """
    data = body["data"]
    return RevisionRecord(
        revision=revision,
        number=body["revision"],
        model=ResolvedModel(data["resolvedUri"], data["version"], data["sha256"]),
        pod_template=data["podTemplate"],
        requested=data.get("requested"),
        uid=body["metadata"]["uid"],
    )
