"""Downloading over https: an archive, or `model.json` and the weights file of a folder.

Credentials come from the environment alone and go to one host: FETCH_BEARER_TOKEN to the one that
the URI names, an entry of .netrc to its own. Redirects are followed here and not by `requests`, so
that each hop is checked: never from https to http.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from model_server.artifact import MANIFEST, MANIFEST_MAX_BYTES, parse_manifest
from model_server.errors import (
    ArtifactRefused,
    ModelNotFound,
    SettingsError,
    SourceInterrupted,
    SourceUnreachable,
)
from model_server.sources import archives
from model_server.sources.landing import CHUNK_BYTES, Landing, patiently
from model_server.sources.settings import SourceSettings
from model_server.sources.uris import shown
from model_server.sources.web_errors import explained

_MAX_REDIRECTS = 5
_MOST_DIGITS = 18
"""Of a length; more of them are refused by what is there of them."""


def download(uri: str, into: Path, settings: SourceSettings) -> Path:
    """Return the folder below `into` that holds the files of `uri`.

    Raises:
        SettingsError: `uri` is malformed, holds a password, or leads to http:// unasked.
        ArtifactRefused: what came is no archive, is broken, or is too much.
        ModelNotFound: the server has nothing there.
        SourceUnreachable: the server did not answer as it should, or refuses the credentials.

    """
    parts = _checked(uri, settings)
    folder = parts.path.endswith("/")
    if not folder and not parts.path.lower().endswith(archives.SUFFIXES):
        raise SettingsError(
            f"{shown(uri)} names neither an archive ({', '.join(archives.SUFFIXES)}) nor a folder,"
            " which ends in a slash: correct the URI."
        )
    with requests.Session() as session:
        client = _Client(session, uri, settings)
        client.check_host(uri)
        landing = Landing(into / "download", uri, settings.max_artifact_bytes)
        if folder:
            manifest = client.fetch(MANIFEST, landing, max_bytes=MANIFEST_MAX_BYTES)
            client.fetch(parse_manifest(manifest.read_bytes()).weights.file, landing)
            return landing.folder
        archive = client.fetch("archive", landing)
    unpacked = Landing(into / "unpacked", uri, settings.max_artifact_bytes, doing="unpacking")
    return archives.unpack(archive, unpacked)


def _checked(uri: str, settings: SourceSettings) -> SplitResult:
    if "@" in re.split(r"[?#]", uri)[0]:
        raise SettingsError(
            f"The URI {shown(uri)} holds a user or password, which everyone could read: take it"
            " out, and set FETCH_BEARER_TOKEN or mount a .netrc; in a path write %40 for an @."
        )
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port  # an impossible port is found when it is read
    except ValueError:
        host = None  # and its text, which may quote a password, is not shown
    if not host or not uri.isprintable():
        raise SettingsError(
            f"The URI {shown(uri)} is malformed: write https://HOST/PATH."
        ) from None
    if parts.scheme != "https" and not settings.fetch_allow_http:
        raise SettingsError(
            f"{shown(uri)} is not encrypted, so anyone on the way could answer it: name an https://"
            " URI, or set FETCH_ALLOW_HTTP=true for a network that you trust."
        )
    return parts


def _token(secret: str) -> str:
    token = secret.strip()  # a Secret made from a file often ends with a line break
    if not token.isascii() or not token.isprintable():
        raise SettingsError(
            "FETCH_BEARER_TOKEN is malformed: a token is one line of ASCII characters; correct it."
        )
    return token


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Client:
    """Fetches the files of one URI into a Landing."""

    def __init__(self, session: requests.Session, uri: str, settings: SourceSettings) -> None:
        self._session = session
        self._uri = uri
        self._settings = settings
        self._origin = _origin(uri)
        secret = settings.fetch_bearer_token
        hosts = (settings.fetch_allowed_hosts or "").lower().split(",")
        self._allowed_hosts = [host.strip() for host in hosts if host.strip()]
        self._auth = _Bearer(_token(secret.get_secret_value())) if secret else None

    def check_host(self, url: str) -> None:
        """Raise where the host of `url` is none that is fetched from. It is read by the parser
        that connects.
        """
        host = (urllib3.util.parse_url(url).host or "").strip("[]").lower()
        if not self._allowed_hosts or any(
            host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:]))
            for allowed in self._allowed_hosts
        ):
            return
        asked = "" if url == self._uri else f"{shown(self._uri)} is redirected, and "
        raise SettingsError(
            f"{asked}the host of {shown(url)} is none of FETCH_ALLOWED_HOSTS: name a URI at one of"
            " them, or have it added."
        )

    def fetch(self, name: str, landing: Landing, *, max_bytes: int | None = None) -> Path:
        """Fetch the archive itself, or where the URI is a folder the file `name` in it."""
        parts = urlsplit(self._uri)
        if parts.path.endswith("/"):
            parts = parts._replace(path=parts.path + name)
        url = parts._replace(fragment="").geturl()
        return patiently(lambda: self._attempt(url, name, landing, max_bytes), self._settings)

    def _attempt(self, url: str, name: str, landing: Landing, max_bytes: int | None) -> Path:
        try:
            with closing(self._follow(url)) as response:
                _refuse(response, shown(url))
                length = response.headers.get("Content-Length", "")
                if length.isdecimal():
                    landing.expect(int(length[:_MOST_DIGITS]))
                return landing.write(name, _chunks(response, shown(url), max_bytes))
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise explained(error, shown(url)) from error

    def _follow(self, url: str) -> requests.Response:
        asked = url
        timeout = (
            self._settings.fetch_connect_timeout_seconds,
            self._settings.fetch_read_timeout_seconds,
        )
        for _ in range(_MAX_REDIRECTS + 1):
            try:
                response = self._session.get(
                    url,
                    # With no `auth`, requests takes what .netrc has for this host.
                    auth=self._auth if _origin(url) == self._origin else None,
                    headers={"Accept-Encoding": "identity"},
                    allow_redirects=False,
                    stream=True,
                    timeout=timeout,
                )
            except requests.RequestException:
                raise
            except OSError as error:  # requests looks for the certificates by itself
                raise SettingsError(
                    f"The certificates to trust {shown(url)} by cannot be read: correct the path in"
                    " REQUESTS_CA_BUNDLE."
                ) from error
            if not response.is_redirect:
                return response
            response.close()
            url = self._next(url, response.headers["Location"])
            self.check_host(url)
        raise SourceUnreachable(
            f"{shown(asked)} is redirected more than {_MAX_REDIRECTS} times, at last to"
            f" {shown(url)}: correct the URI, or the server."
        )

    def _next(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
        if scheme != "https" and (scheme != "http" or url.startswith("https:")):
            raise SettingsError(
                f"{shown(url)} is redirected to {shown(target)}, which is not https: name the"
                " https:// URI that has the files."
            )
        return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _refuse(response: requests.Response, url: str) -> None:
    """Raise what an answer that is not the file means."""
    status = response.status_code
    if status in (404, 410):
        raise ModelNotFound(f"{url} is not there (status {status}): upload it, or correct the URI.")
    if status in (401, 403, 407):
        raise SourceUnreachable(
            f"{url} is refused to these credentials (status {status}): set or correct"
            " FETCH_BEARER_TOKEN, or mount a .netrc and name it by NETRC."
        )
    if status == 429 or status >= 500:
        raise SourceInterrupted(
            f"{url} is answered with status {status}: check the server; a pod tries this again."
        )
    if status != 200:
        raise SourceUnreachable(
            f"{url} is answered with status {status} instead of a file: check the URI and the"
            " server."
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise ArtifactRefused(
            f"{url} is answered with a web page and not with a file: it may ask for a login; give"
            " credentials, or correct the URI."
        )


def _chunks(response: requests.Response, url: str, max_bytes: int | None) -> Iterator[bytes]:
    """Yield the body as it was sent; urllib3 raises when it is shorter than announced."""
    size = 0
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        size += len(chunk)
        if max_bytes is not None and size > max_bytes:
            name = posixpath.basename(unquote(urlsplit(url).path))
            raise ArtifactRefused(f"{url} is no {name}: it has more than {max_bytes} bytes.")
        yield chunk
