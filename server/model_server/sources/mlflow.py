"""Downloading a registered model's files from MLflow. `fetch` is the only caller.

Nothing is resolved here: the URI names one version, or one run's folder, and what arrives is
verified by its digest afterwards.
"""

from __future__ import annotations

import os
import re
import resource
import threading
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
from mlflow.artifacts import download_artifacts  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from model_server.errors import (  # noqa: E402
    ArtifactRefused,
    ModelNotFound,
    SettingsError,
    SourceUnreachable,
)
from model_server.sources.settings import SourceSettings  # noqa: E402
from model_server.sources.uris import shown  # noqa: E402

_URI = re.compile(r"models:/[^/@]+/[0-9]+|runs:/[0-9a-f]{32}/.+")
_PASSWORD = re.compile(r"//[^/@\s]+@")
_CLIENT_ERROR = re.compile(r"\b(?P<status>40[134]) Client Error")
_PROGRESS_SECONDS = 5.0

log = structlog.get_logger()


def download(uri: str, into: Path, settings: SourceSettings) -> Path:
    """Return the folder below `into` that holds the files of `uri`.

    Raises:
        SettingsError: `uri` is not of a kind that is fetched, or no registry is named.
        ArtifactRefused: the files are too much.
        ModelNotFound: the registry has no such model, or its files are gone.
        SourceUnreachable: the registry or its store did not answer as it should.

    """
    if not _URI.fullmatch(uri) or not uri.isprintable():
        raise SettingsError(
            f"The URI {shown(uri)!r} is not fetched: name one version as models:/NAME/VERSION, or a"
            " run's folder as runs:/ID/PATH."
        )
    registry = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not registry.startswith(("http://", "https://")):
        raise SettingsError(
            "MLFLOW_TRACKING_URI does not name a registry: set it to an http:// or https:// URL."
        )
    limit = settings.max_artifact_bytes
    try:
        with _limiting_files(limit), _telling(uri, into):
            folder = Path(download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        if _bytes_below(into) >= limit:
            raise _too_large(uri, limit) from error
        raise _explained(error, uri, _PASSWORD.sub("//", registry)) from error
    except ImportError as error:
        raise SettingsError(
            f"The store of {uri} needs a package that this image lacks ({error.name}): let the "
            "MLflow server hand artifacts on (--serve-artifacts), or add it to the image."
        ) from error
    if not folder.is_dir() or not any(folder.iterdir()):
        raise _gone(uri, _PASSWORD.sub("//", registry))
    if _bytes_below(into) > limit:
        raise _too_large(uri, limit)
    return folder


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
def _telling(uri: str, into: Path) -> Iterator[None]:
    """Log every few seconds how far a long download is; the registry does not say its end."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_PROGRESS_SECONDS):
            log.info("fetching", uri=uri, bytes=_bytes_below(into), total=None)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


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
        return ModelNotFound(
            f"There is no {uri} in the registry at {registry}: register it, or correct the URI."
        )
    if status == "404":
        return _gone(uri, registry)
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED") or status in ("401", "403"):
        return SourceUnreachable(
            f"The registry at {registry} refuses the credentials: correct MLFLOW_TRACKING_USERNAME"
            " and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    reason = " ".join(_PASSWORD.sub("//", str(error)).split())[:300]
    return SourceUnreachable(
        f"The registry at {registry} does not answer as it should ({reason}): check the address"
        " and that it is up; this is tried again."
    )


def _gone(uri: str, registry: str) -> ModelNotFound:
    return ModelNotFound(
        f"{uri} is registered at {registry}, but its files are not in the store: register it again."
    )
