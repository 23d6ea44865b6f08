"""What a rule is, and the form that most rules about texts have."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One thing that must hold for every value at a path."""

    path: str
    """Fields joined by dots, `[]` for the items of a list: `spec.server.env[]`; "" is the root."""
    cel: str
    """Over `self`, the value at the path."""
    sentence: str
    """What a user reads: what is wanted, or what to do instead."""
    holds: Callable[[Any], bool]
    """The same as `cel`, over the JSON value at the path."""
    without_cel: Mapping[str, Any] = field(default_factory=dict)
    """Schema keywords that stand in for `cel` where the API server knows none; may be weaker."""
    remark: tuple[str, str] | None = None
    """A field's path, and what to add to its description as long as there is this rule."""


def full_match(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text matches. In Python, unlike in RE2, `$` also stands before a newline."""
    compiled = re.compile(pattern.removeprefix("^").removesuffix("$"))
    return lambda text: compiled.fullmatch(text) is not None


def looks_like(path: str, pattern: str, sentence: str) -> Rule:
    """A text's form. A schema's own `pattern` would answer with the expression itself."""
    stand_in: dict[str, Any] = {"pattern": pattern}
    if full_match(pattern)(""):
        # Kubernetes 1.20 takes an empty text for null.
        stand_in["nullable"] = True
    return Rule(path, f"self.matches('{pattern}')", sentence, full_match(pattern), stand_in)
