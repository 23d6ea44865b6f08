"""What the examples of one rule are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model_operator import rules
from model_operator.rules import Rule

Json = dict[str, Any]


@dataclass(frozen=True)
class Examples:
    """Resources that keep one rule, and resources that break it and no other."""

    path: str
    words: str
    """From the rule's sentence; with the path they name one rule."""
    good: tuple[Json, ...]
    bad: tuple[Json, ...]

    def rule(self) -> Rule:
        (found,) = (
            rule for rule in rules.ALL if rule.path == self.path and self.words in rule.sentence
        )
        return found
