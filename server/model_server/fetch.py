"""The init container: `python -m model_server.fetch --uri URI --sha256 HEX --out DIR`.

Fetches one artifact, verifies every byte, and only then puts it into DIR, so that a fetch that was
cut off leaves nothing that could be served. With `--resolve` instead of the last two it says which
digest the URI has now, and leaves nothing behind. Exit statuses: 0 done, 2 wrong arguments or
settings, 3 the bytes are refused, 4 the model does not exist, 5 the source did not answer (worth a
retry), 143 told to end. Each but 0 leaves one sentence in the log and in the termination message.
"""

from __future__ import annotations

import errno
import json
import re
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import structlog

from model_server import logs, sources, staging, termination
from model_server.arguments import Arguments
from model_server.artifact import digest, verify
from model_server.errors import (
    ArtifactRefused,
    FetchEnded,
    SettingsError,
    SourceUnreachable,
    StartupError,
)
from model_server.sources.uris import shown

# Errors of the disk that is written to, and not of where the bytes come from.
_OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

# Not what `staging` takes for its own, should TMPDIR be somebody's --out.
_RESOLVING = ".resolve-"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a URI held when it was read."""

    uri: str
    """As messages show it: without a query."""
    sha256: str
    """The artifact's digest."""
    bytes: int
    files: int


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch or resolve one artifact and return the process's exit status."""
    logs.configure()
    try:
        arguments = _parse(argv)
        if arguments.resolve:
            line = json.dumps(asdict(resolve(arguments.uri)))
            termination.leave(line)
            sys.stdout.write(f"{line}\n")
        else:
            fetch(arguments.uri, arguments.sha256, arguments.out)
    except StartupError as error:
        return termination.explain(error)
    except _Ended:
        return termination.explain(
            FetchEnded("The fetch was told to end before it was done: start it again.")
        )
    return 0


def fetch(uri: str, sha256: str, out: Path) -> None:
    """Put the artifact of `uri` into the folder `out`, if its digest is `sha256`.

    Raises:
        StartupError: as `errors` says; `out` then holds no artifact.

    """
    with _writing(out), staging.locked(out):
        staging.clear(out)
        if _is_there(out, sha256):
            log.info("the artifact is already there", uri=shown(uri), sha256=sha256, out=str(out))
            return
        with staging.made(out) as stage:
            folder = _download(uri, stage.downloads)
            verify(folder, sha256)
            stage.move(folder)
    log.info("fetched", uri=shown(uri), sha256=sha256, out=str(out))


def resolve(uri: str) -> Resolved:
    """Return the digest that the artifact of `uri` has now; whole and valid, or it is refused.

    Raises:
        StartupError: as `errors` says.

    """
    temporary = Path(tempfile.gettempdir())
    with _writing(temporary), tempfile.TemporaryDirectory(prefix=_RESOLVING) as name:
        folder = _download(uri, Path(name))
        artifact = verify(folder)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Resolved(shown(uri), artifact.digest, sum(sizes), len(sizes))


class _Ended(SystemExit):
    """SIGTERM has arrived. No library that catches every Exception can hold it back."""


def _end(number: int, _frame: Any) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one shall not cut off the tidying
    raise _Ended


def _download(uri: str, into: Path) -> Path:
    """Have a source download, and tell its errors apart from those of our own disk."""
    try:
        return sources.download(uri, into)
    except OSError as error:
        if error.errno in _OUR_DISK or str(error.filename).startswith(str(into)):
            raise
        raise SourceUnreachable(
            f"{shown(uri)} cannot be fetched ({error.strerror or type(error).__name__}): check that"
            " it is there and may be read."
        ) from error


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError(
            f"{out} cannot be written ({reason}): give --out, or TMPDIR for --resolve, a writable"
            " folder with room."
        ) from error


def _is_there(out: Path, sha256: str) -> bool:
    """Return whether `out` holds what is asked for already; an empty folder does not."""
    if not any(out.iterdir()):
        return False
    try:
        if digest(out) == sha256:
            return True
    except ArtifactRefused:
        log.info("what is already there is no artifact", out=str(out))
    raise staging.foreign(out)


def _parse(argv: Sequence[str] | None) -> Namespace:
    parser = Arguments(
        prog="python -m model_server.fetch",
        description="Fetch and verify one artifact, or say which digest it has now.",
        epilog="Credentials and limits are read from the environment: docs/server.md lists them.",
    )
    parser.add_argument(
        "--uri",
        required=True,
        help="models:/NAME/VERSION, runs:/ID/PATH, https://HOST/ARCHIVE, https://HOST/FOLDER/,"
        " s3://BUCKET/PREFIX/, s3://BUCKET/ARCHIVE, pvc://CLAIM/PATH, file:///PATH or /PATH",
    )
    parser.add_argument("--sha256", metavar="HEX", help="the artifact's digest")
    parser.add_argument("--out", type=Path, metavar="DIR", help="an empty folder")
    parser.add_argument(
        "--resolve",
        action="store_true",
        help="fetch to a temporary folder and write one line of JSON: uri, sha256, bytes, files",
    )
    arguments = parser.parse_args(argv)
    given = arguments.sha256 is not None, arguments.out is not None
    if given != (not arguments.resolve, not arguments.resolve):
        raise SettingsError(
            "What shall be done is unclear: give --sha256 and --out to fetch, or --resolve alone."
        )
    if not arguments.resolve and not re.fullmatch(r"[0-9a-f]{64}", arguments.sha256):
        raise SettingsError(
            f"--sha256 is {arguments.sha256!r}: give the artifact's digest, 64 lower-case hex"
            " digits."
        )
    return arguments


if __name__ == "__main__":
    # A container's first process would else ignore it, and the pod would linger.
    signal.signal(signal.SIGTERM, _end)
    sys.exit(main())
