"""Hostile and broken archives, through the whole command: refused with status 3, nothing left."""

from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_server.errors import ArtifactRefused
from model_server.sources.archives import unpack
from model_server.sources.landing import MAX_FILES, Landing
from tests.server.fetching import tar_of, zip_of

LIMIT = 1_000_000


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> bytes:
    """A tar of one member."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(info, io.BytesIO(bytes(size)))
    return buffer.getvalue()


def zipped(name: str, content: bytes = b"", mode: int = 0) -> bytes:
    """A zip of one member."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, content)
    return buffer.getvalue()


def many(count: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"file-{number}")
            info.type = kind
            tar.addfile(info)
    return gzip.compress(buffer.getvalue())


def twice() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a/model.json", "a/model.json"):
            tar.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def file_and_folder() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a", "a/model.json"):
            tar.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def huge_header() -> bytes:
    """A tar whose extended header alone has 64 MiB, in a few kilobytes of gzip."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 64 * 1024 * 1024
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(info.size))


def nested_headers() -> bytes:
    """Ten thousand extended headers, each for the next."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 512
    content = b"11 foo=bar\n".ljust(512, b"\0")
    return gzip.compress((info.tobuf(tarfile.USTAR_FORMAT) + content) * 10_000)


def bomb() -> bytes:
    return zipped("bomb", bytes(20 * LIMIT))


def packed(method: int) -> bytes:
    """A zip that announces few bytes, by a method that is unpacked before it is counted."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a", bytes(20 * LIMIT))
    real = struct.pack("<I", 20 * LIMIT)
    return file.getvalue().replace(real, struct.pack("<I", 1))


def lying_bomb() -> bytes:
    """A zip that announces one byte and unpacks to many."""
    content = bytearray(bomb())
    real = struct.pack("<I", 20 * LIMIT)
    assert content.count(real) == 2, "in the file's header and in the directory"
    return bytes(content).replace(real, struct.pack("<I", 1))


def encrypted() -> bytes:
    content = bytearray(zipped("model.json", b"x"))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def unknown_compression() -> bytes:
    content = bytearray(zipped("model.json", b"x"))
    content[8] = 99
    content[content.index(b"PK\x01\x02") + 10] = 99
    return bytes(content)


REFUSED: list[tuple[str, Callable[[], bytes], str]] = [
    ("tar parent", lambda: member("../escape"), "no path below a folder"),
    ("tar inner parent", lambda: member("a/../../escape"), "no path below a folder"),
    ("tar absolute", lambda: member("/tmp/escape"), "no path below a folder"),
    ("tar empty part", lambda: member("a//b"), "no path below a folder"),
    ("tar backslash", lambda: member("a\\b"), "no path below a folder"),
    ("tar line break", lambda: member("a\nb"), "no path below a folder"),
    ("tar long name", lambda: member("a" * 256), "no path below a folder"),
    ("tar symlink", lambda: member("a", tarfile.SYMTYPE, link="/etc/passwd"), "is a link"),
    ("tar hard link", lambda: member("a", tarfile.LNKTYPE, link="model.json"), "is a link"),
    ("tar device", lambda: member("a", tarfile.CHRTYPE), "is a link, a device"),
    ("tar pipe", lambda: member("a", tarfile.FIFOTYPE), "is a link, a device"),
    ("tar twice", twice, "holds 'a/model.json' twice"),
    ("tar file and folder", file_and_folder, "holds 'a/model.json' twice"),
    ("tar too many files", lambda: many(MAX_FILES + 1), f"more than {MAX_FILES} files"),
    ("tar too many folders", lambda: many(MAX_FILES + 1, tarfile.DIRTYPE), "too many folders"),
    ("tar bomb", lambda: gzip.compress(member("a", size=20 * LIMIT)), "has more than 1000000"),
    ("tar header bomb", huge_header, "headers of more than"),
    ("tar nested headers", nested_headers, "is broken"),
    ("tar cut off", lambda: member("a", size=10_000)[:2000], "is broken"),
    ("gzip cut off", lambda: gzip.compress(member("a", size=99))[:-30], "is broken"),
    ("gzip of noise", lambda: gzip.compress(b"noise" * 500), "is broken"),
    ("gzip bad sum", lambda: gzip.compress(member("a"))[:-8] + bytes(8), "is broken"),
    ("zip parent", lambda: zipped("../escape"), "no path below a folder"),
    ("zip absolute", lambda: zipped("/tmp/escape"), "no path below a folder"),
    ("zip backslash", lambda: zipped("..\\escape"), "no path below a folder"),
    ("zip symlink", lambda: zipped("a", b"/etc/passwd", stat.S_IFLNK | 0o777), "is a link"),
    ("zip bomb", bomb, "has more than 1000000"),
    ("zip lying bomb", lying_bomb, "is broken"),
    ("zip bzip2 bomb", lambda: packed(zipfile.ZIP_BZIP2), "otherwise than by deflate"),
    ("zip lzma bomb", lambda: packed(zipfile.ZIP_LZMA), "otherwise than by deflate"),
    ("zip encrypted", encrypted, "is encrypted"),
    ("zip compression", unknown_compression, "otherwise than by deflate"),
    ("zip cut off", lambda: zipped("a", os.urandom(5000))[:3000], "is broken"),
    ("html", lambda: b"\n<!DOCTYPE html><title>Log in</title>", "is a web page and no archive"),
    ("text", lambda: b"404 not found", "is no archive by its first bytes"),
    ("empty", lambda: b"", "is no archive by its first bytes"),
    ("bzip2", lambda: b"BZh91AY&SY" + bytes(600), "is no archive by its first bytes"),
]


@pytest.mark.parametrize(
    ("make", "sentence"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_a_hostile_or_broken_archive_is_refused_and_nothing_leaves_the_folder(
    tmp_path: Path, make: Callable[[], bytes], sentence: str
):
    archive = tmp_path / "archive"
    archive.write_bytes(make())
    landing = Landing(tmp_path / "unpacked", "https://host/m.tar", LIMIT)
    with pytest.raises(ArtifactRefused) as refusal:
        unpack(archive, landing)
    assert sentence in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "unpacked"}
    assert sum(p.stat().st_size for p in landing.folder.rglob("*") if p.is_file()) <= LIMIT


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_what_is_unpacked_is_what_was_packed(
    tmp_path: Path, artifact: Path, pack: Callable[[Path], bytes]
):
    archive = tmp_path / "archive"
    archive.write_bytes(pack(artifact))
    folder = unpack(archive, Landing(tmp_path / "unpacked", "https://host/m", LIMIT))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in artifact.iterdir()
    }
    assert not archive.exists()
