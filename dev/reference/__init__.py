"""docs/reference: what can be read from the code itself; `dev.generate` calls `files`."""

from __future__ import annotations

from pathlib import PurePath

from dev.reference import commands, metrics, reasons, settings

FOLDER = PurePath("docs/reference")


def files() -> dict[PurePath, str]:
    """The pages, by their paths in the repository."""
    return {
        FOLDER / "settings.md": settings.page(),
        FOLDER / "metrics.md": metrics.page(),
        FOLDER / "reasons.md": reasons.page(),
        FOLDER / "commands.md": commands.page(),
    }
