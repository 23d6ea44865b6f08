"""Unpacking .tar, .tar.gz, .tgz and .zip files that nobody has verified yet.

`web` and `s3` use it. Only regular files and folders come out; names, their number and the bytes
that are written are limited by the Landing, and what an archive makes us read at once by
`_SmallReads`, so that no header can fill the memory. The kind is read from the bytes.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO

from model_server.errors import ArtifactRefused
from model_server.sources.landing import MAX_FILES, Landing, chunks_of, relative

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
_MAX_READ_BYTES = 512 * 1024
_GZIP, _ZIP, _USTAR = b"\x1f\x8b", b"PK\x03\x04", b"ustar"
_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What zipfile unpacks piece by piece; all else it unpacks first and cuts to length afterwards."""
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RecursionError,  # extended headers of extended headers in a tar
    ValueError,
    OverflowError,
)


def unpack(archive: Path, into: Landing) -> Path:
    """Unpack `archive`, delete it, and return the folder that holds the artifact's files.

    That is the single folder in which all of them were packed, or else `into.folder`.

    Raises:
        ArtifactRefused: it is no archive, is broken, or holds what has no place in an artifact.

    """
    with archive.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        try:
            if head.startswith(_ZIP):
                _unzip(file, into)
            elif head.startswith(_GZIP):
                with gzip.open(file) as plain:
                    _untar(plain, into)
            elif head[257:262] == _USTAR:
                _untar(file, into)
            else:
                raise ArtifactRefused(_no_archive(head, into.uri))
        except _BROKEN as error:
            raise ArtifactRefused(
                f"The archive {into.uri} is broken ({_reason(error)}): pack and upload it again."
            ) from error
    archive.unlink()
    return _innermost(into.folder)


def _untar(file: IO[bytes] | gzip.GzipFile, into: Landing) -> None:
    folders = 0
    bounded = _SmallReads(file, into.uri)
    with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.isdir():
                folders += 1
                if folders > MAX_FILES:
                    raise ArtifactRefused(f"{into.uri} holds too many folders: pack it again.")
                continue  # made with their files; an empty one is no part of an artifact
            if not member.isreg() or member.issparse():
                raise _not_regular(member.name, into.uri)
            name = member.name.removeprefix("./")
            relative(name, into.uri)
            tarfile.data_filter(member, str(into.folder))  # what the library itself refuses
            into.expect(member.size)
            content = tar.extractfile(member)
            if content is None:  # pragma: no cover - a regular file has content
                raise _not_regular(member.name, into.uri)
            with content:
                into.write(name, chunks_of(content))
    bounded.read()  # the padding, and with it the checksum at the end of a gzip


def _unzip(file: BinaryIO, into: Landing) -> None:
    with zipfile.ZipFile(_SmallReads(file, into.uri)) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise _not_regular(info.filename, into.uri)
            if info.flag_bits & 1:
                raise ArtifactRefused(
                    f"{into.uri} is encrypted, and there is no password for it: pack it without."
                )
            if info.compress_type not in _BOUNDED:
                raise ArtifactRefused(
                    f"{into.uri} holds {info.filename[:200]!r}, which is compressed otherwise than"
                    " by deflate: pack it again."
                )
            into.expect(info.file_size)
            with archive.open(info) as content:
                into.write(info.filename, chunks_of(content))


def _innermost(folder: Path) -> Path:
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _not_regular(name: str, uri: str) -> ArtifactRefused:
    return ArtifactRefused(
        f"{uri} holds {name[:200]!r}, which is a link, a device or the like: an artifact is plain"
        " files only; pack it again."
    )


def _no_archive(head: bytes, uri: str) -> str:
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return (
            f"{uri} is a web page and no archive: it may ask for a login; give credentials, or"
            " correct the URI."
        )
    return f"{uri} is no archive by its first bytes: {', '.join(SUFFIXES)} are unpacked."


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text if text.isprintable() and text else type(error).__name__


class _SmallReads:
    """A file that never returns more than 512 KiB at once: no archive of ours needs more."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, uri: str) -> None:
        self._file = file
        self._uri = uri

    def read(self, size: int = -1) -> bytes:
        wanted = size if 0 <= size <= _MAX_READ_BYTES else _MAX_READ_BYTES + 1
        found = self._file.read(wanted)
        if len(found) > _MAX_READ_BYTES:
            raise ArtifactRefused(
                f"The archive {self._uri} has headers of more than {_MAX_READ_BYTES} bytes: pack"
                " only model.json and its weights."
            )
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
