"""Downloading from MLflow by its own client: from any store, and by any way to log in.

`mlflow` comes here with what it cannot do over REST alone. The client writes its files itself, so
the limits on these are the kernel's, and a look at them every now and then.
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Before mlflow is imported: a pod reports to nobody, and an unreachable registry is said within
# seconds, since Kubernetes itself tries again. The user's own values win.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_name, _value)

import structlog  # noqa: E402
from mlflow.artifacts import download_artifacts, list_artifacts  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from model_server.errors import (  # noqa: E402
    ArtifactRefused,
    ModelNotFound,
    SettingsError,
    SourceUnreachable,
)
from model_server.sources import mlflow_words as words  # noqa: E402
from model_server.sources.landing import MAX_FILES  # noqa: E402

# In the client's own texts: users, passwords, and queries, which may hold a signature.
_SECRET = re.compile(r"(?<=//)\S*@|\?\S+")
_CLIENT_ERROR = re.compile(r"\b(?P<status>40[134]) Client Error")
_PROGRESS_SECONDS = 5.0
_COUNTING_SECONDS = 0.25

log = structlog.get_logger()


def download(uri: str, root: str, registry: str, into: Path, limit: int) -> Path:
    """Return the folder below `into` that holds the files of `uri`, at most `limit` bytes.

    `root` is what of the URI the client's listings are relative to, and `registry` is what
    MLFLOW_TRACKING_URI names.

    Raises:
        SettingsError: the store needs a package that is not here.
        ArtifactRefused: the files are too much.
        ModelNotFound: the registry has no such model, or its files are gone.
        SourceUnreachable: the registry or its store did not answer as it should.

    """
    try:
        if _listed_bytes(uri, root) > limit:
            raise _too_large(uri, limit)
        with _limiting_files(limit), _counting(uri, into, limit):
            folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        if _bytes_below(into) >= limit:
            raise _too_large(uri, limit) from error
        raise _explained(error, uri, registry) from error
    except ImportError as error:
        raise SettingsError(
            f"The store of {uri} needs a package that this image lacks ({error.name}): let the "
            "MLflow server hand artifacts on (--serve-artifacts), or add it to the image."
        ) from error
    if not folder.is_dir() or not any(folder.iterdir()):
        raise words.gone(uri, registry)
    if _bytes_below(into) > limit:
        raise _too_large(uri, limit)
    return folder


def _listed_bytes(uri: str, root: str) -> int:
    """Return the bytes of all files, as the registry lists them; it may not know, or may lie."""
    size = files = 0
    folders = [uri]
    for folder in folders:
        for entry in list_artifacts(artifact_uri=folder):
            if entry.is_dir:
                folders.append(f"{root}/{entry.path}")
            size += entry.file_size or 0
            files += 1
            if files > MAX_FILES:
                raise words.too_many(uri)
    return size


@contextmanager
def _limiting_files(limit: int) -> Iterator[None]:
    """Have the kernel end the writing of any file at `limit`: MLflow's client has no such limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    lowered = limit if soft == resource.RLIM_INFINITY else min(limit, soft)
    resource.setrlimit(resource.RLIMIT_FSIZE, (lowered, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _counting(uri: str, into: Path, limit: int) -> Iterator[None]:
    """End the writing of all files once they are `limit` bytes, and log how far a download is.

    `_limiting_files` is around this: it lifts the limit again.
    """
    ended = threading.Event()

    def count() -> None:
        said = time.monotonic()
        while not ended.wait(_COUNTING_SECONDS):
            size = _bytes_below(into)
            if size > limit:
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
            if time.monotonic() - said >= _PROGRESS_SECONDS:
                said = time.monotonic()
                log.info("fetching", uri=uri, bytes=size, total=None)

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        ended.set()
        counter.join()


def _bytes_below(folder: Path) -> int:
    """Return the bytes in all files below `folder`; those that vanish meanwhile count nothing."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += (Path(parent) / name).lstat().st_size
    return size


def _too_large(uri: str, limit: int) -> ArtifactRefused:
    return ArtifactRefused(
        f"{uri} has more than {limit} bytes, the most that is fetched: raise MAX_ARTIFACT_BYTES if"
        " the model is that large."
    )


def _explained(error: Exception, uri: str, registry: str) -> ModelNotFound | SourceUnreachable:
    code = error.error_code if isinstance(error, MlflowException) else ""
    # Failed downloads are gathered into one exception that keeps their texts alone.
    refusal = _CLIENT_ERROR.search(str(error))
    status = refusal["status"] if refusal else ""
    if code == "RESOURCE_DOES_NOT_EXIST":
        return words.absent(uri, registry)
    if status == "404":
        return words.gone(uri, registry)
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED") or status in ("401", "403"):
        return words.refused(registry)
    # Parts of a password can stand anywhere in a text about such an address.
    text = type(error).__name__ if "@" in registry else str(error)
    reason = " ".join(_SECRET.sub("...", text).split())[:300]
    return SourceUnreachable(words.unwell(registry, reason))
