"""Where the image builder keeps its logs, its records and, with buildah, the images."""

from __future__ import annotations

from pathlib import Path

from dev.cluster.paths import cache_dir


def folder(*parts: str) -> Path:
    """A folder of the image builder's, made if need be."""
    path = cache_dir().joinpath("images", *parts)
    path.mkdir(parents=True, exist_ok=True)
    return path
