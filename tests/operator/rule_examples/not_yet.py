"""Examples for the rules that go: an entry goes with its rule, and no other file changes.

Whatever else the release that does it must know of a field stands among the permanent rules' own.
"""

from __future__ import annotations

from tests.operator.rule_examples.examples import Examples

NOT_YET: tuple[Examples, ...] = ()
