"""The folder that `fetch` downloads into, and what a killed fetch left of it.

Everything arrives in `OUT/.fetch-*/`. Before anything is moved from there to OUT, its names are
recorded in that folder, so that the next fetch removes what was moved and nothing else. A lock on
OUT keeps a second fetch away from the first one's work; the kernel lifts it when its holder dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from model_server.artifact import MANIFEST
from model_server.errors import SettingsError

_PREFIX = ".fetch-"
_RECORD = "moved.json"

log = structlog.get_logger()


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make `out` if there is none, and keep it for this process alone.

    Raises:
        SettingsError: another fetch works there.

    """
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise SettingsError(
                f"Another fetch is writing to {out}: let it end, or give --out another folder."
            ) from held
        except OSError as error:  # some network file systems lock no folders
            log.info("the folder cannot be locked", out=str(out), reason=str(error))
        yield
    finally:
        os.close(descriptor)


def clear(out: Path) -> None:
    """Remove what a fetch that was cut off left in `out`; all of it, or nothing is touched.

    Raises:
        SettingsError: there is something beside it that is not a fetch's.

    """
    left = [path for path in out.iterdir() if _is_staging(path)]
    if not left:
        return
    moved = {name for path in left for name in _recorded(path)}
    if {path.name for path in out.iterdir()} - moved - {path.name for path in left}:
        raise foreign(out)
    for name in moved:
        _remove(out / name)
    for path in left:  # last, since it has the record
        shutil.rmtree(path)


def foreign(out: Path) -> SettingsError:
    """Return the error that says that `out` is not ours to fill."""
    return SettingsError(f"{out} already holds other files: give --out an empty folder.")


@dataclass(frozen=True, slots=True)
class Staging:
    """A folder in `out` that is there for the time of one download."""

    out: Path
    folder: Path

    @property
    def downloads(self) -> Path:
        """Where a source writes; the record of what was moved stands beside it."""
        return self.folder / "downloads"

    def move(self, artifact: Path) -> None:
        """Move the files of `artifact`, which is in `downloads`, to `out`: all, or none is left.

        model.json comes last, since nothing is served without it.
        """
        paths = sorted(artifact.iterdir(), key=lambda path: path.name == MANIFEST)
        (self.folder / _RECORD).write_text(json.dumps([path.name for path in paths]))
        try:
            for path in paths:
                path.rename(self.out / path.name)
        except BaseException:
            for path in paths:
                _remove(self.out / path.name)
            raise


@contextmanager
def made(out: Path) -> Iterator[Staging]:
    """Make a staging folder in `out` for the time of the block."""
    staging = Staging(out, Path(tempfile.mkdtemp(prefix=_PREFIX, dir=out)))
    try:
        staging.downloads.mkdir()
        yield staging
    finally:
        shutil.rmtree(staging.folder, ignore_errors=True)


def _is_staging(path: Path) -> bool:
    return path.name.startswith(_PREFIX) and path.is_dir() and not path.is_symlink()


def _recorded(folder: Path) -> list[str]:
    """Return the names that were moved out of `folder`, or were about to be."""
    record = folder / _RECORD
    try:
        names = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):  # nothing was moved before the record was whole
        return []
    return [name for name in names if isinstance(name, str) and Path(name).name == name]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
