"""What is written where: colours and a line that changes on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_CODES = {"good": "32", "bad": "31", "busy": "33", "faint": "2", "bold": "1"}
_CLEAR_LINE = "\r\x1b[2K"


@dataclass(frozen=True)
class Style:
    """How words are marked, and what a tree is drawn with."""

    colours: bool = False
    unicode: bool = True

    def mark(self, text: str, kind: str) -> str:
        """The text in the colour for `kind`: good, bad, busy, faint or bold."""
        if not self.colours or not text:
            return text
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m"


def style_of(stream: TextIO, environment: Mapping[str, str] = os.environ) -> Style:
    """Colours on a terminal only, and not where NO_COLOR is set (no-color.org) or TERM is dumb."""
    wanted = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Style(colours=wanted and stream.isatty(), unicode=unicode)


class Progress:
    """Tells how far something is: one line that changes on a terminal, else a line per change."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = self._stream.isatty()
        self._started = time.monotonic()
        self._told = ""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    def tell(self, text: str) -> None:
        """Shows what is so now."""
        if self._quiet or (text == self._told and not self._live):
            return
        line = f"[{self.seconds:4.0f}s] {text}"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            short = line if len(line) <= width else f"{line[: width - 3]}..."
            self._stream.write(f"{_CLEAR_LINE}{short}")
        else:
            self._stream.write(f"{line}\n")
        self._told = text
        self._stream.flush()

    def end(self, text: str) -> None:
        """Shows the last state for good."""
        if self._quiet:
            return
        self._stream.write(f"{_CLEAR_LINE if self._live else ''}[{self.seconds:4.0f}s] {text}\n")
        self._stream.flush()
