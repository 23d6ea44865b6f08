"""Frames of a terminal as one animated SVG: no script, no font or address from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

SECONDS_EACH = 3
COLUMNS = 112
COLUMN, LINE, MARGIN = 8.4, 19, 18
"""Pixels; the font's width is its own size times 0.6."""
NAMESPACE = 'xmlns="http://www.w3.org/2000/svg" xml:space="preserve"'
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
COLOURS = {"32": "#3fb950", "31": "#f85149", "33": "#d29922", "2": "#8b949e", "1": "#ffffff"}
Span = tuple[str, str]
"""The code of a colour, or nothing, and what is shown in it."""
_MARKED = re.compile(r"\x1b\[(\d+)m(.*?)\x1b\[0m|([^\x1b]+)")


def terminal_svg(frames: Sequence[Sequence[str]], *, still: int) -> str:
    """Each frame's lines, with the escape sequences of `kubectl md`, shown in turn. `still` is the
    frame that is seen where nothing moves.
    """
    screens = [[row for line in frame for row in wrapped(line)] for frame in frames]
    rows = max(map(len, screens))
    width, height = round(COLUMNS * COLUMN) + 2 * MARGIN, rows * LINE + 2 * MARGIN
    share = 100 / len(frames)
    style = (
        f"text{{font:14px {FONT};fill:#c9d1d9;white-space:pre}}"
        f"g{{opacity:0;animation:s {SECONDS_EACH * len(frames)}s step-end infinite}}"
        f"@keyframes s{{0%{{opacity:1}}{share:.2f}%{{opacity:0}}}}"
        f"@media(prefers-reduced-motion:reduce){{g{{animation:none}}}}#still{{opacity:1}}"
    )
    # All have begun when the picture is opened: one that is still to begin is as if nothing moved.
    groups = (
        _group(
            screen,
            SECONDS_EACH * (number - len(screens)),
            "still" if number == still else f"f{number}",
        )
        for number, screen in enumerate(screens)
    )
    return "\n".join(
        (
            f'<svg {NAMESPACE} viewBox="0 0 {width} {height}">',
            "<title>kubectl md status --watch, while a canary fails and is taken back</title>",
            f"<style>{style}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
            *groups,
            "</svg>",
            "",
        )
    )


def wrapped(line: str) -> list[list[Span]]:
    """The line's spans, broken where a terminal of so many columns breaks it.

    >>> wrapped("\x1b[32m" + "x" * 113 + "\x1b[0my")[1]
    [('32', 'x'), ('', 'y')]
    """
    rows: list[list[Span]] = [[]]
    room = COLUMNS
    for code, marked, rest in _MARKED.findall(line):
        text = marked or rest
        while text:
            if not room:
                rows.append([])
                room = COLUMNS
            part, text = text[:room], text[room:]
            rows[-1].append((code, part))
            room -= len(part)
    return rows


def _group(frame: Sequence[Sequence[Span]], seconds: int, name: str) -> str:
    """One frame, whose animation is so many seconds behind that of the first one."""
    lines = (
        f'<text x="{MARGIN}" y="{MARGIN + LINE * row + 14}">{"".join(_spans(line))}</text>'
        for row, line in enumerate(frame)
    )
    return f'<g id="{name}" style="animation-delay:{seconds}s">\n{chr(10).join(lines)}\n</g>'


def _spans(line: Sequence[Span]) -> Iterator[str]:
    for code, text in line:
        if code:
            weight = ' font-weight="bold"' if code == "1" else ""
            yield f'<tspan fill="{COLOURS[code]}"{weight}>{escape(text)}</tspan>'
        else:
            yield escape(text)
