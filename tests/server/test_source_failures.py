"""Every source with every failure: the exit status, and one sentence that names the URI.

The web and S3 see the same bad servers; what only one source can do wrong stands in its own file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from tests.server.artifacts import make_artifact
from tests.server.fetching import Fetching, free_port, tar_of
from tests.server.file_server import (
    Answer,
    Authority,
    FileServer,
    body,
    cut_off,
    cut_off_chunk,
    endless,
    make_authority,
    redirect,
    serving,
    status,
)

LOGIN = b"<!DOCTYPE html><html><title>Log in</title></html>"
S3_ERROR = b"<Error><Code>%s</Code><Message>no</Message></Error>"
LIMIT = 300_000


def another_archive() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model.json", "{}")
    return buffer.getvalue()


@dataclass(frozen=True)
class Failure:
    """One way in which a server fails, and what each source makes of it (status, words)."""

    name: str
    answer: Answer
    web: tuple[int, str]
    s3: tuple[int, str]
    requests: int = 1


FAILURES = [
    Failure("gone", status(404), (4, "is not there (status 404)"), (4, "is not there (404)")),
    Failure("gone for good", status(410), (4, "is not there"), (5, "answered with status 410")),
    Failure(
        "unauthorised",
        status(401),
        (5, "is refused to these credentials (status 401): set or correct FETCH_BEARER_TOKEN"),
        (5, "is refused to these credentials (401): correct AWS_ACCESS_KEY_ID"),
    ),
    Failure(
        "forbidden",
        status(403, S3_ERROR % b"AccessDenied"),
        (5, "is refused to these credentials (status 403)"),
        (5, "is refused to these credentials (AccessDenied)"),
    ),
    Failure(
        "expired",
        status(400, S3_ERROR % b"ExpiredToken"),
        (5, "is answered with status 400 instead of a file"),
        (5, "is refused to these credentials (ExpiredToken)"),
    ),
    Failure(
        "error",
        status(500, S3_ERROR % b"InternalError"),
        (5, "is answered with status 500: check the server; a pod tries this again"),
        (5, "is answered with status 500 (InternalError): check the store"),
        requests=2,
    ),
    Failure(
        "overloaded",
        status(429, S3_ERROR % b"TooManyRequests"),
        (5, "is answered with status 429"),
        (5, "is answered with status 429"),
        requests=2,
    ),
    Failure(
        "unavailable",
        status(503, S3_ERROR % b"SlowDown"),
        (5, "is answered with status 503"),
        (5, "is answered with status 503 (SlowDown)"),
        requests=2,
    ),
    Failure("no content", status(204), (5, "status 204 instead of a file"), (3, "is no archive")),
    Failure(
        "cut off",
        cut_off(b"half an archive"),
        (5, "cannot be fetched (the answer breaks off)"),
        (5, "cannot be fetched ("),
        requests=2,
    ),
    Failure(
        "cut off in a chunk",
        cut_off_chunk(b"half an archive"),
        (5, "cannot be fetched ("),
        (5, "cannot be fetched ("),
        requests=2,
    ),
    Failure(
        "announced too large",
        cut_off(b"half", announced=LIMIT + 1),
        (3, f"has more than {LIMIT} bytes"),
        (3, f"has more than {LIMIT} bytes"),
    ),
    Failure(
        "endless",
        endless,
        (3, f"has more than {LIMIT} bytes"),
        (3, f"has more than {LIMIT} bytes"),
    ),
    Failure(
        "login page",
        body(LOGIN, "text/html; charset=utf-8"),
        (3, "is answered with a web page and not with a file"),
        (3, "is a web page and no archive"),
    ),
    Failure(
        "login page in disguise",
        body(LOGIN),
        (3, "is a web page and no archive: it may ask for a login"),
        (3, "is a web page and no archive: it may ask for a login"),
    ),
    Failure("empty", body(b""), (3, "is no archive"), (3, "is no archive")),
    Failure(
        "other bytes",
        body(another_archive()),
        (3, "bytes are not those that were registered"),
        (3, "bytes are not those that were registered"),
    ),
    Failure(
        "silent",
        lambda request: request.rfile.read(),
        (5, "cannot be fetched (nothing arrives)"),
        (5, "cannot be fetched (ReadTimeoutError)"),
        requests=2,
    ),
]


@pytest.fixture
def server(fetching: Fetching) -> Iterator[FileServer]:
    fetching.set(
        AWS_ACCESS_KEY_ID="me",
        AWS_SECRET_ACCESS_KEY="secret",
        MAX_ARTIFACT_BYTES=LIMIT,
        FETCH_READ_TIMEOUT_SECONDS="0.5",
    )
    with serving() as server:
        fetching.set(AWS_ENDPOINT_URL_S3=server.url)
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def web_uri(server_url: str) -> str:
    return f"{server_url}/models/m.tar.gz"


def s3_uri(_: str) -> str:
    return "s3://models/m.tar.gz"


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
@pytest.mark.parametrize("source", ["web", "s3"])
def test_a_server_that_fails_ends_the_fetch_with_its_status_and_a_sentence(
    server: FileServer, fetching: Fetching, failure: Failure, source: str
):
    server.otherwise = failure.answer
    uri = {"web": web_uri, "s3": s3_uri}[source](server.url)
    expected, words = {"web": failure.web, "s3": failure.s3}[source]
    assert fetching(uri) == expected
    assert words in fetching.message
    if "registered" not in words:
        assert uri in fetching.message
    assert len(server.seen) == failure.requests
    assert fetching.left == []


@pytest.mark.parametrize("make_uri", [web_uri, s3_uri])
def test_a_server_that_is_not_there_ends_the_fetch_with_5(
    server: FileServer, fetching: Fetching, make_uri: Callable[[str], str]
):
    url = f"http://127.0.0.1:{free_port()}"
    fetching.set(AWS_ENDPOINT_URL_S3=url)
    assert fetching(make_uri(url)) == 5
    assert f"{make_uri(url)} cannot be fetched (" in fetching.message
    assert "a pod tries this again" in fetching.message


@pytest.mark.parametrize("make_uri", [web_uri, s3_uri])
def test_a_certificate_that_nobody_signed_ends_the_fetch_with_5(
    server: FileServer,
    authority: Authority,
    fetching: Fetching,
    make_uri: Callable[[str], str],
):
    with serving(authority.server) as secure:
        fetching.set(AWS_ENDPOINT_URL_S3=secure.url)
        assert fetching(make_uri(secure.url)) == 5
        assert secure.seen == []
    assert "is not trusted" in fetching.message
    assert make_uri(secure.url) in fetching.message


@pytest.mark.parametrize("make_uri", [web_uri, s3_uri])
def test_a_server_that_speaks_no_tls_ends_the_fetch_with_5(
    server: FileServer, fetching: Fetching, make_uri: Callable[[str], str]
):
    url = server.url.replace("http:", "https:")
    fetching.set(AWS_ENDPOINT_URL_S3=url)
    assert fetching(make_uri(url)) == 5
    assert make_uri(url) in fetching.message


def test_a_redirect_in_a_circle_ends_the_fetch_with_5(server: FileServer, fetching: Fetching):
    server.routes["/a.tgz"], server.routes["/b.tgz"] = redirect("/b.tgz"), redirect("/a.tgz")
    assert fetching(f"{server.url}/a.tgz") == 5
    assert f"{server.url}/a.tgz is redirected more than 5 times" in fetching.message


@pytest.mark.parametrize(
    ("manifest", "status_", "words"),
    [
        (status(404), 4, "/m/model.json is not there"),
        (body(b"{}"), 3, "model.json is refused at"),
        (body(LOGIN, "text/html"), 3, "is answered with a web page"),
        (body(bytes(1024 * 1024 + 1)), 3, "has more than"),
        (None, 4, "/m/model.safetensors is not there"),
    ],
)
def test_a_folder_on_the_web_that_is_no_artifact_ends_with_a_sentence(
    server: FileServer,
    artifact: Path,
    fetching: Fetching,
    manifest: Answer | None,
    status_: int,
    words: str,
):
    server.routes["/m/model.json"] = manifest or body((artifact / "model.json").read_bytes())
    assert fetching(f"{server.url}/m/") == status_
    assert words in fetching.message
    assert fetching.left == []


def test_an_archive_that_unpacks_to_more_than_the_limit_ends_with_3(
    server: FileServer, fetching: Fetching, tmp_path: Path
):
    folder = make_artifact(tmp_path / "large")
    (folder / "zeros").write_bytes(bytes(LIMIT))
    archive = tar_of(folder)
    assert len(archive) < LIMIT
    server.routes["/m.tgz"] = body(archive)
    assert fetching(f"{server.url}/m.tgz") == 3
    assert f"has more than {LIMIT} bytes" in fetching.message
