"""The rules that go: what only a later release does is refused until then, never ignored.

Each line of the table goes by itself, with the release that does what it refuses; its remark in
the field's description goes with it. At present there is none.
"""

from __future__ import annotations

from model_operator.rules.rule import Rule

NOT_YET: tuple[Rule, ...] = ()
