"""The mirror's configuration: a small JSON file that the operator mounts from a ConfigMap.

`mirror.sender` reads it every second, so that a shadow starts and ends with no restart.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

_MAX_BYTES = 65536
_TARGET = r"^http://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{0,4}$"
_REVISION = r"^[A-Za-z0-9._-]{1,128}$"
_IN_WORDS = {
    _TARGET: "has to be http://HOST:PORT with nothing after it",
    _REVISION: "has to be 1 to 128 letters, digits, dots, underscores and hyphens",
}


class MirrorConfigRefused(Exception):
    """The file cannot be read or does not say what it must; the text is the reason."""


class MirrorConfig(BaseModel):
    """Where copies go, how many of a hundred requests are copied, and which revision copies."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    target: str = Field(pattern=_TARGET)
    percent: int = Field(ge=0, le=100)
    source_revision: str = Field(alias="sourceRevision", pattern=_REVISION)

    @field_validator("target")
    @classmethod
    def _port_exists(cls, target: str) -> str:
        if urlsplit(target).port is None:  # above 65535 it raises a ValueError that says so
            raise ValueError("the port is missing")
        return target


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the file found."""

    content_hash: str
    """The SHA-256 of the file's bytes in hex, or `none`; `/metrics` shows it."""
    config: MirrorConfig | None
    problem: str
    """Why there is no `config` although there is a file; empty otherwise."""

    def state(self, revision: str) -> str:
        """Return what this makes of the server of that revision, as `/metrics` shows it."""
        if self.problem:
            return "refused"
        if self.config is None:
            return "absent"
        return "active" if self.config.source_revision == revision else "idle"


ABSENT = Reading("none", None, "")


def look(path: Path) -> Reading:
    """Read the file; it is short, but the call may block."""
    try:
        content = _content(path)
    except FileNotFoundError:
        return ABSENT
    except MirrorConfigRefused as refusal:
        return Reading(ABSENT.content_hash, None, str(refusal))
    found = hashlib.sha256(content).hexdigest()
    try:
        return Reading(found, parse(content), "")
    except MirrorConfigRefused as refusal:
        return Reading(found, None, str(refusal))


def parse(content: bytes) -> MirrorConfig:
    """Return what the file says.

    Raises:
        MirrorConfigRefused: it is not the JSON object that it must be; the first fault is named.

    """
    try:
        return MirrorConfig.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        pattern = first.get("ctx", {}).get("pattern", "")
        reason = _IN_WORDS.get(pattern, f"{first['msg'][0].lower()}{first['msg'][1:]}")
        raise MirrorConfigRefused(f"{place}: {reason}" if place else reason) from error


def _content(path: Path) -> bytes:
    try:
        # A pipe in the file's place must not hold the reader up.
        if not stat.S_ISREG(path.stat().st_mode):
            raise MirrorConfigRefused("it is not a file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise MirrorConfigRefused(f"it cannot be read ({error.strerror})") from error
    if len(content) > _MAX_BYTES:
        raise MirrorConfigRefused(f"it is longer than {_MAX_BYTES} bytes")
    return content
