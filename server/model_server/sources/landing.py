"""Where a source's files are written: below one folder, each name once, within limits.

Names and bytes come from elsewhere and are not trusted yet, so all that is fetched is written
through a Landing; only MLflow's own client writes its files itself. It also says how far a long
download is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

import structlog

from model_server.errors import ArtifactRefused, SourceInterrupted
from model_server.sources.settings import SourceSettings
from model_server.sources.uris import shown

CHUNK_BYTES = 256 * 1024
MAX_FILES = 1000
_PROGRESS_SECONDS = 5.0
_MAX_NAME_BYTES = 255

T = TypeVar("T")
log = structlog.get_logger()


class Landing:
    """One folder that fills. The folder is made; what is in it afterwards came from one URI."""

    def __init__(
        self,
        folder: Path,
        uri: str,
        max_bytes: int,
        *,
        doing: str = "fetching",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.uri = shown(uri)
        self.bytes = 0
        self._max_bytes = max_bytes
        self._total: int | None = None
        self._files: set[PurePosixPath] = set()
        self._folders: set[PurePosixPath] = set()
        self._doing = doing
        self._clock = clock
        self._said = clock()

    def expect(self, size: int) -> None:
        """Say that `size` more bytes are announced, so that too many are refused at once.

        Raises:
            ArtifactRefused: they are more than may be written.

        """
        self._total = max(self._total or 0, self.bytes + size)
        if self._total > self._max_bytes:
            raise self._too_large()

    def write(self, name: str, chunks: Iterable[bytes]) -> Path:
        """Write one file and return it; where `chunks` break off, it counts as never written.

        Raises:
            ArtifactRefused: the name leads elsewhere or was written before, or it is too much.

        """
        place = relative(name, self.uri)
        self._take(place)
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.bytes
        try:
            with path.open("wb") as file:
                for chunk in chunks:
                    self._count(len(chunk))
                    file.write(chunk)
        except BaseException:
            self.bytes = before
            self._files.discard(place)
            raise
        return path

    def _take(self, place: PurePosixPath) -> None:
        above = set(place.parents) - {PurePosixPath()}
        if place in self._files or place in self._folders or above & self._files:
            raise ArtifactRefused(
                f"{self.uri} holds {str(place)!r} twice: each file has one content; pack it again."
            )
        if len(self._files) == MAX_FILES:
            raise ArtifactRefused(
                f"{self.uri} holds more than {MAX_FILES} files: an artifact is a model.json and its"
                " weights; name the folder or archive that holds just these."
            )
        self._files.add(place)
        self._folders |= above

    def _count(self, size: int) -> None:
        self.bytes += size
        if self.bytes > self._max_bytes:
            raise self._too_large()
        now = self._clock()
        if now - self._said >= _PROGRESS_SECONDS:
            self._said = now
            log.info(self._doing, uri=self.uri, bytes=self.bytes, total=self._total)

    def _too_large(self) -> ArtifactRefused:
        return ArtifactRefused(
            f"{self.uri} has more than {self._max_bytes} bytes, the most that is fetched: raise"
            " MAX_ARTIFACT_BYTES if the model is that large."
        )


def relative(name: str, uri: str) -> PurePosixPath:
    """Return the path that `name` means below a folder. `uri` is whose name it is.

    Raises:
        ArtifactRefused: it would lead out of the folder, or means nothing that a file can be named.

    """
    parts = name.split("/")
    if (
        not all(parts)
        or {".", ".."} & set(parts)
        or "\\" in name
        or not name.isprintable()
        or any(len(part.encode()) > _MAX_NAME_BYTES for part in parts)
    ):
        raise ArtifactRefused(
            f"{uri} holds a file named {name[:200]!r}, which is no path below a folder: pack it"
            " again with plain relative names."
        )
    return PurePosixPath(*parts)


def chunks_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield what is left of `file`."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def patiently(attempt: Callable[[], T], settings: SourceSettings) -> T:
    """Return what `attempt` returns, tried again while the source breaks off.

    Raises:
        SourceInterrupted: it broke off each time.

    """
    delay = settings.fetch_retry_delay_seconds
    for left in reversed(range(settings.fetch_retries)):
        try:
            return attempt()
        except SourceInterrupted as error:
            log.warning("trying again", reason=str(error), seconds=delay, retries_left=left)
        time.sleep(delay)
        delay *= 2
    return attempt()
