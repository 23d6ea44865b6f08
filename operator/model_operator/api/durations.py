"""Durations as the resource writes them: `30s`, `5m`, `1h`."""

from __future__ import annotations

import re
from datetime import timedelta

PATTERN = "^[1-9][0-9]{0,4}[smh]$"
"""The same to Python, to RE2 (CEL) and to a structural schema."""

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours"}


def parse_duration(text: str) -> timedelta:
    """The duration that a valid text means; ValueError for any other.

    >>> parse_duration("90m")
    datetime.timedelta(seconds=5400)
    """
    if re.fullmatch(PATTERN.strip("^$"), text) is None:
        raise ValueError(f"{text!r} is not a duration: write a number and s, m or h, as in 30s")
    return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
