"""The init container: `python -m model_server.fetch --uri URI --sha256 HEX --out DIR`.

Fetches one artifact, verifies every byte, and only then puts it into DIR, so that a fetch that was
cut off leaves nothing that could be served. With `--resolve` instead of the last two it says which
digest the URI has now, and leaves nothing behind. Exit statuses: 0 done, 2 wrong arguments or
settings, 3 the bytes are refused, 4 the model does not exist, 5 the source did not answer (worth a
retry). Each but 0 leaves one sentence in the log and in the termination message.
"""

from __future__ import annotations

import json
import re
import shutil
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

from model_server import logs, sources, termination
from model_server.arguments import Arguments
from model_server.artifact import MANIFEST, digest, verify
from model_server.errors import ArtifactRefused, SettingsError, StartupError
from model_server.sources.uris import shown

# A folder of this name in DIR says that what else is there is ours, left by a fetch cut off.
_STAGING = ".fetch-"

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
    return 0


def fetch(uri: str, sha256: str, out: Path) -> None:
    """Put the artifact of `uri` into the folder `out`, if its digest is `sha256`.

    Raises:
        StartupError: as `errors` says; `out` then holds no artifact.

    """
    with _writing(out):
        if _prepare(out, sha256):
            log.info("the artifact is already there", uri=shown(uri), sha256=sha256, out=str(out))
            return
        with _staging(out) as staging:
            folder = sources.download(uri, staging)
            verify(folder, sha256)
            _move(folder, out)
    log.info("fetched", uri=shown(uri), sha256=sha256, out=str(out))


def resolve(uri: str) -> Resolved:
    """Return the digest that the artifact of `uri` has now; whole and valid, or it is refused.

    Raises:
        StartupError: as `errors` says.

    """
    temporary = Path(tempfile.gettempdir())
    with _writing(temporary), _staging(temporary) as staging:
        folder = sources.download(uri, staging)
        artifact = verify(folder)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return Resolved(shown(uri), artifact.digest, sum(sizes), len(sizes))


def _end(number: int, _frame: Any) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{out} cannot be written ({error}): give --out, or TMPDIR for --resolve, a writable"
            " folder with room."
        ) from error


@contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent` for the time of the block."""
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _prepare(out: Path, sha256: str) -> bool:
    """Make `out` an empty folder, or return True where it already holds what is asked for."""
    out.mkdir(parents=True, exist_ok=True)
    if any(path.name.startswith(_STAGING) for path in out.iterdir()):
        for path in out.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    if not any(out.iterdir()):
        return False
    try:
        if digest(out) == sha256:
            return True
    except ArtifactRefused:
        log.info("what is already there is no artifact", out=str(out))
    raise SettingsError(f"{out} already holds other files: give --out an empty folder.")


def _move(folder: Path, out: Path) -> None:
    """Move the files; model.json last, since nothing is served without it."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MANIFEST):
        path.rename(out / path.name)


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
