"""Every type and reason of conditions and Events, from the constants that the operator uses."""

from __future__ import annotations

from dev.reference.markdown import sections_of, table
from model_operator import reasons

INTRODUCTION = """\
# Conditions, reasons and Events

What to do about each stands in [the operator](../operator.md#reasons). A reason never changes its
name: alerts, health scripts and people match on it.

Events have the same reasons. One is told when a condition moves: `Warning` when `Stalled` becomes
True, and when `ModelResolved` changes to any reason but `Resolved` or `Resolving` (to
`RegistryUnreachable` too, although it may stay True); `Normal` when a rollout begins or goes on
(`Progressing`), when it is over (`Ready`), and when the model is resolved to something else. A pass
that changes nothing tells nothing.
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(
        f"\n## {title.removeprefix('Reasons: ').capitalize()}\n\n"
        + table(["name", "meaning"], ([f"`{name}`", words] for name, words in constants))
        for title, constants in sections_of(reasons)
    )
