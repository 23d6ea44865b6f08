"""The init container: `python -m model_server.fetch --uri URI --sha256 HEX --out DIR`.

Fetches one artifact, verifies every byte, and only then puts it into DIR, so that a fetch that was
cut off leaves nothing that could be served. Exit statuses: 0 done, 2 wrong arguments or settings,
3 the bytes are refused, 4 the model does not exist, 5 the source did not answer (worth a retry).
Each but 0 leaves one sentence in the log and in the termination message.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from model_server import logs, termination
from model_server.arguments import Arguments
from model_server.artifact import MANIFEST, digest, verify
from model_server.errors import ArtifactRefused, SettingsError, StartupError
from model_server.sources import mlflow

# A folder of this name in DIR says that what else is there is ours, left by a fetch cut off.
_STAGING = ".fetch-"

log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch one artifact and return the process's exit status."""
    logs.configure()
    try:
        arguments = _parser().parse_args(argv)
        if not re.fullmatch(r"[0-9a-f]{64}", arguments.sha256):
            raise SettingsError(
                f"--sha256 is {arguments.sha256!r}: give the artifact's digest, 64 lower-case hex"
                " digits."
            )
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
            log.info("the artifact is already there", uri=uri, sha256=sha256, out=str(out))
            return
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=out))
    try:
        folder = mlflow.download(uri, staging)
        verify(folder, sha256)
        with _writing(out):
            _move(folder, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    log.info("fetched", uri=uri, sha256=sha256, out=str(out))


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"{out} cannot be written ({error}): give --out a writable folder with room."
        ) from error


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


def _parser() -> Arguments:
    parser = Arguments(
        prog="python -m model_server.fetch",
        description="Fetch and verify one artifact.",
        epilog="MLFLOW_TRACKING_URI and MLflow's credentials are read from the environment.",
    )
    parser.add_argument("--uri", required=True, help="models:/NAME/VERSION or runs:/ID/PATH")
    parser.add_argument("--sha256", required=True, help="the artifact's digest")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="an empty folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
