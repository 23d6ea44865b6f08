"""How words of others are fitted into a sentence of status. Pure."""

from __future__ import annotations

MOST_CHARACTERS = 500


def one_line(text: object, longest: int = MOST_CHARACTERS) -> str:
    """At most so many characters of the text, on one line.

    >>> one_line("no such   model", 10)
    'no such...'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
