"""Copying an artifact from a folder: `pvc://CLAIM/PATH`, `file:///PATH`, or a plain path.

A claim is mounted read-only by whoever starts the process, at `$PVC_ROOT/CLAIM`. Other pods may
write there meanwhile, so each file is opened relative to its folder and without following links.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from model_server.errors import (
    ArtifactRefused,
    ModelNotFound,
    SettingsError,
    SourceUnreachable,
)
from model_server.sources.landing import Landing, chunks_of, relative
from model_server.sources.settings import SourceSettings
from model_server.sources.uris import shown

_CLAIM = re.compile(
    r"pvc://(?P<claim>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)/(?P<path>.*)", re.DOTALL
)
_FILE = re.compile(r"(file:(//)?)?(?P<path>\.{0,2}/(?!/).*)", re.DOTALL)

_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def download(uri: str, into: Path, settings: SourceSettings) -> Path:
    """Return the folder below `into` that holds copies of the files in the folder of `uri`.

    Raises:
        SettingsError: `uri` is malformed, or its claim is not mounted.
        ModelNotFound: there is no such folder.
        ArtifactRefused: it holds links or the like, or too much.
        SourceUnreachable: it cannot be read.

    """
    with _reading(shown(uri)):
        source = _folder_of(uri, settings.pvc_root)
        found = source.is_dir()
    if not found:
        raise ModelNotFound(
            f"{shown(uri)} is not there: there is no folder at {source}; name the folder that holds"
            " model.json."
        )
    if into.resolve().is_relative_to(source.resolve()):
        raise SettingsError(f"{shown(uri)} would be copied into itself: give --out another folder.")
    landing = Landing(into / "files", uri, settings.max_artifact_bytes)
    with _reading(landing.uri):
        _copy(source, landing)
    return landing.folder


def _folder_of(uri: str, pvc_root: Path) -> Path:
    if claimed := _CLAIM.fullmatch(uri):
        return _inside(pvc_root / claimed["claim"], claimed["path"].strip("/"), uri)
    if not (local := _FILE.fullmatch(uri)):
        raise SettingsError(
            f"The URI {shown(uri)!r} names no folder: write pvc://CLAIM/PATH or file:///PATH."
        )
    path = unquote(local["path"]) if uri.startswith("file:") else local["path"]
    if "\0" in path:
        raise SettingsError(f"The URI {shown(uri)!r} names no folder: no path has a zero byte.")
    return Path(os.path.realpath(path))  # which, unlike resolve(), goes round no loop of links


def _inside(mount: Path, path: str, uri: str) -> Path:
    """Return the folder at `path` in the claim at `mount`, which no link may lead out of."""
    if not mount.is_dir():
        raise SettingsError(
            f"The claim of {shown(uri)} is not mounted at {mount}: mount it there read-only, or set"
            " PVC_ROOT to the folder that holds claims by name."
        )
    folder = mount
    for part in relative(path, shown(uri)).parts if path else ():
        folder /= part
        if folder.is_symlink():
            raise ArtifactRefused(
                f"{shown(uri)} leads through the link {folder}: links in a claim may lead out of"
                " it; name the folder itself."
            )
    return folder


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _OUR_DISK:
            raise
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise SettingsError(
                f"{uri} cannot be a folder ({error.strerror}): correct the URI."
            ) from error
        raise SourceUnreachable(
            f"{uri} cannot be read ({error.strerror}): check the volume and its permissions."
        ) from error


def _copy(source: Path, landing: Landing) -> None:
    for folder, folders, files, descriptor in os.fwalk(source, onerror=_raise):
        where = Path(folder).relative_to(source)
        for name in (*folders, *files):
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise ArtifactRefused(
                    f"{landing.uri} holds {(where / name).as_posix()!r}, which is a link, a device"
                    " or the like: an artifact is plain files only; copy the file itself there."
                )
        for name in files:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
            with os.fdopen(file, "rb") as content:
                landing.expect(os.fstat(file).st_size)
                landing.write((where / name).as_posix(), chunks_of(content))


def _raise(error: OSError) -> None:
    raise error
