"""Names what an image is made from, so that an image whose inputs did not change is not built anew.

Called by the image builder. An engine's own cache gives the same image, but only after it has read
every layer again: that takes it half a minute for ours.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

_NEVER_COPIED = ("__pycache__", ".git")


def copied(dockerfile: str) -> list[str]:
    """The sources of its COPY and ADD instructions that come from the build's context."""
    sources: list[str] = []
    for line in dockerfile.replace("\\\n", " ").splitlines():
        if not line.strip().upper().startswith(("COPY ", "ADD ")):
            continue
        words = shlex.split(line)
        if not any(word.startswith("--from") for word in words):
            sources += [word for word in words[1:-1] if not word.startswith("--")]
    return sources


def digest(dockerfile: Path, context: Path, arguments: Sequence[str]) -> str:
    """A SHA-256 over the Dockerfile, the build's arguments, and every file that it copies."""
    text = dockerfile.read_text()
    total = hashlib.sha256(repr((text, list(arguments))).encode())
    for path in _files(context, copied(text)):
        entry = (str(path.relative_to(context)), path.stat().st_mode & 0o777)
        total.update(repr(entry).encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _files(context: Path, patterns: Sequence[str]) -> Iterator[Path]:
    for pattern in patterns:
        found = [context] if pattern == "." else sorted(context.glob(pattern.strip("/")))
        for path in found:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file() and not set(file.parts) & set(_NEVER_COPIED):
                    yield file
