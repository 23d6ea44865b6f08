"""Writes the picture of a canary for the README, or with `--check` says that it is stale.

`make generate` and `make verify` call it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.recording.canary import frames
from tests.recording.terminal_svg import terminal_svg

PICTURE = Path(__file__).resolve().parents[2] / "docs/pictures/canary.svg"


def main() -> None:
    recorded = frames()
    still = next(n for n, frame in enumerate(recorded) if "20% of the requests" in frame[2])
    fresh = terminal_svg(recorded, still=still)
    if "--check" in sys.argv:
        if not PICTURE.exists() or PICTURE.read_text() != fresh:
            sys.exit("stale: docs/pictures/canary.svg; run `make generate`")
        return
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(fresh)


if __name__ == "__main__":
    main()
