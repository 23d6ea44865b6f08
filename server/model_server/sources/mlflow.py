"""Downloading a registered model's files from MLflow, over its REST API where that is enough.

It is where the server hands the files on itself (`mlflow-artifacts:`), as servers do that nobody
has told otherwise. To import MLflow's own client takes a processor for seconds, which the pods that
serve on the same node may need: it is left for other stores, for a run's folder, and for ways to
log in that only it knows (`mlflow_library`). Nothing is resolved here: the URI names one version or
one run's folder, and what arrives is verified by its digest afterwards.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import urllib3

from model_server.errors import SettingsError, SourceInterrupted, SourceUnreachable
from model_server.sources import mlflow_words as words
from model_server.sources import web_errors
from model_server.sources.landing import CHUNK_BYTES, MAX_FILES, Landing, patiently, relative
from model_server.sources.settings import SourceSettings
from model_server.sources.uris import shown

_URI = re.compile(
    r"(?P<root>models:/(?P<name>[^/@]+)/(?P<version>[0-9]+))|(?P<run>runs:/[0-9a-f]{32})/.+"
)
_AUTHORITY = re.compile(r"https?://[^/?#]*")
_CLIENTS_OWN = (
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_WORKSPACE",
)
"""Variables that only MLflow's client knows what to do with."""
_HANDED_ON = "mlflow-artifacts"
_VERSION = "api/2.0/mlflow/model-versions/get-download-uri"
_FILES = "api/2.0/mlflow-artifacts/artifacts"
_MOST_JSON_BYTES = 16 * 1024 * 1024
_ABSENT = "RESOURCE_DOES_NOT_EXIST"


def download(uri: str, into: Path, settings: SourceSettings) -> Path:
    """Return the folder below `into` that holds the files of `uri`.

    Raises:
        SettingsError: `uri` is not of a kind that is fetched, or no registry is named.
        ArtifactRefused: the files are too much, or one is named to lie elsewhere.
        ModelNotFound: the registry has no such model, or its files are gone.
        SourceUnreachable: the registry or its store did not answer as it should.

    """
    named = _URI.fullmatch(uri)
    if not named or not uri.isprintable():
        raise SettingsError(
            f"The URI {shown(uri)!r} is not fetched: name one version as models:/NAME/VERSION, or a"
            " run's folder as runs:/ID/PATH."
        )
    registry = _registry()
    if named["version"] and not _needs_the_client():
        with requests.Session() as session:
            server = _Server(session, uri, registry, settings)
            folder = server.folder_of(named["name"], named["version"])
            if folder is not None:
                return server.fetch(folder, into)
    from model_server.sources import mlflow_library  # noqa: PLC0415 - see above

    root = named["root"] or named["run"]
    return mlflow_library.download(uri, root, registry, into, settings.max_artifact_bytes)


def _registry() -> str:
    registry = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not registry.startswith(("http://", "https://")):
        raise SettingsError(
            "MLFLOW_TRACKING_URI does not name a registry: set it to an http:// or https:// URL."
        )
    if "@" in _AUTHORITY.sub("", registry):
        raise SettingsError(
            "MLFLOW_TRACKING_URI holds a password with a /, ? or # in it, which would be sent and"
            " logged as a path: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead."
        )
    return registry.rstrip("/")


def _needs_the_client() -> bool:
    try:
        has_file = Path("~/.mlflow/credentials").expanduser().exists()
    except (RuntimeError, OSError):  # a user without a home, or one that is closed to us
        has_file = False
    return has_file or any(os.environ.get(name) for name in _CLIENTS_OWN)


class _Server:
    """One MLflow server, asked for the files of one model version."""

    def __init__(
        self, session: requests.Session, uri: str, registry: str, settings: SourceSettings
    ) -> None:
        self._session = session
        self._uri = uri
        self._registry = registry
        self._settings = settings
        user, password, token = (
            os.environ.get(f"MLFLOW_TRACKING_{name}", "")
            for name in ("USERNAME", "PASSWORD", "TOKEN")
        )
        if user and password:
            session.auth = (user, password)
        elif token:
            session.headers["Authorization"] = f"Bearer {token.strip()}"
        redirected = os.environ.get("MLFLOW_ALLOW_HTTP_REDIRECTS", "true").lower()
        self._follows = redirected not in ("false", "0")

    def folder_of(self, name: str, version: str) -> str | None:
        """Return where the server keeps a version's files; None where it does not hand them on."""
        found = self._json(_VERSION, {"name": name, "version": version})
        place = urlsplit(str(found.get("artifact_uri", "")))
        if place.scheme != _HANDED_ON or place.netloc:
            return None
        return place.path.strip("/")

    def fetch(self, folder: str, into: Path) -> Path:
        """Return the folder below `into` with all files of the server's `folder`."""
        landing = Landing(into / "download", self._uri, self._settings.max_artifact_bytes)
        files = list(self._listed(folder))
        landing.expect(sum(size for _, size in files))
        for name, _ in files:
            path = quote(f"{folder}/{name}")
            patiently(partial(self._write, path, name, landing), self._settings)
        if not files:
            raise words.gone(self._uri, self._registry)
        return landing.folder

    def _listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield the path and the bytes of each file; the server may not know these, or may lie."""
        below = [""]
        count = 0
        for parent in below:
            found = self._json(_FILES, {"path": f"{folder}/{parent}".rstrip("/")})
            for entry in _entries(found):
                count += 1
                if count > MAX_FILES:
                    raise words.too_many(self._uri)
                # What it says is a name is no path yet: `relative` refuses what leads elsewhere.
                name = str(relative(f"{parent}{entry.get('path', '')}", self._uri))
                if entry.get("is_dir"):
                    below.append(f"{name}/")
                else:
                    size = entry.get("file_size")
                    yield name, size if isinstance(size, int) else 0

    def _json(self, endpoint: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        def ask() -> Mapping[str, Any]:
            with closing(self._get(endpoint, query)) as response:
                found = self._object(response)
            if found is None:
                raise SourceUnreachable(words.unwell(self._registry, "it is no MLflow server"))
            return found

        return patiently(ask, self._settings)

    def _object(self, response: requests.Response) -> Mapping[str, Any] | None:
        """Return the JSON object that an answer holds; None where it holds none."""
        try:
            content = response.raw.read(_MOST_JSON_BYTES, decode_content=True)
            found = json.loads(content)
        except urllib3.exceptions.HTTPError as error:
            raise self._interrupted(error) from error
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _write(self, path: str, name: str, landing: Landing) -> Path:
        try:
            with closing(self._get(f"{_FILES}/{path}", {})) as response:
                chunks = response.raw.stream(CHUNK_BYTES, decode_content=True)
                return landing.write(name, chunks)
        except urllib3.exceptions.HTTPError as error:
            raise self._interrupted(error) from error

    def _get(self, endpoint: str, query: Mapping[str, str]) -> requests.Response:
        """Return an answer with status 200; its body is still to be read."""
        try:
            response = self._session.get(
                f"{self._registry}/{endpoint}",
                params=query,
                headers={"Accept-Encoding": "identity"},
                allow_redirects=self._follows,
                stream=True,
                timeout=(
                    self._settings.fetch_connect_timeout_seconds,
                    self._settings.fetch_read_timeout_seconds,
                ),
            )
            if response.status_code != 200:
                with closing(response):
                    raise self._refusal(response, endpoint)
        except requests.RequestException as error:
            raise self._interrupted(error) from error
        return response

    def _interrupted(self, error: Exception) -> Exception:
        meant = web_errors.explained(error, shown(self._registry))
        if isinstance(meant, SourceInterrupted):
            return SourceInterrupted(words.unwell(self._registry, web_errors.reason(error)))
        return meant

    def _refusal(self, response: requests.Response, endpoint: str) -> Exception:
        status = response.status_code
        if status in (401, 403):
            return words.refused(self._registry)
        if status == 404 and endpoint.startswith(f"{_FILES}/"):
            return words.gone(self._uri, self._registry)
        code = (self._object(response) or {}).get("error_code")
        if status == 404 and code == _ABSENT:
            meant = words.absent if endpoint == _VERSION else words.gone
            return meant(self._uri, self._registry)
        kind = SourceInterrupted if status == 429 or status >= 500 else SourceUnreachable
        return kind(words.unwell(self._registry, f"status {status}"))


def _entries(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = found.get("files")
    listed = files if isinstance(files, list) else []
    return [entry for entry in listed if isinstance(entry, dict)]
