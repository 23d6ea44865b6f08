"""Fetching over https and http from a server on the loopback, credentials and TLS included."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server.artifact import digest
from model_server.sources.uris import shown
from tests.server.fetching import Fetching, free_port, tar_of, zip_of
from tests.server.file_server import (
    Authority,
    FileServer,
    body,
    cut_off,
    in_turn,
    make_authority,
    redirect,
    serving,
    status,
)

TOKEN = "token-to-be-kept"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure(authority: Authority, fetching: Fetching) -> Iterator[FileServer]:
    """A server with TLS, whose certificate is trusted; http is not allowed."""
    fetching.unset("FETCH_ALLOW_HTTP")
    fetching.set(REQUESTS_CA_BUNDLE=authority.certificates)
    with serving(authority.server) as server:
        yield server


@pytest.mark.parametrize("inside", ["", "model-3"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".zip"])
def test_an_archive_is_fetched_with_its_files_at_the_top_or_in_one_folder(
    server: FileServer, artifact: Path, fetching: Fetching, suffix: str, inside: str
):
    content = (
        zip_of(artifact, inside)
        if suffix == ".zip"
        else tar_of(artifact, inside, "w" if suffix == ".tar" else "w:gz")
    )
    server.routes[f"/m{suffix}"] = body(content)
    assert fetching(f"{server.url}/m{suffix}", digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


def test_a_folder_is_fetched_as_model_json_and_the_weights_that_it_names(
    server: FileServer, artifact: Path, fetching: Fetching
):
    for path in artifact.iterdir():
        server.routes[f"/models/3/{path.name}"] = body(path.read_bytes())
    assert fetching(f"{server.url}/models/3/?signed=by-me", digest(artifact)) == 0
    assert [path for path, _ in server.seen] == [
        "/models/3/model.json?signed=by-me",
        "/models/3/model.safetensors?signed=by-me",
    ]


def test_https_is_fetched_with_the_certificates_that_are_named(
    secure: FileServer, artifact: Path, fetching: Fetching
):
    secure.routes["/m.tgz"] = redirect("/moved.tgz")
    secure.routes["/moved.tgz"] = body(tar_of(artifact))
    assert fetching(f"{secure.url}/m.tgz", digest(artifact)) == 0


def test_a_certificate_that_is_not_trusted_ends_with_5_and_says_what_to_mount(
    secure: FileServer, artifact: Path, fetching: Fetching
):
    fetching.unset("REQUESTS_CA_BUNDLE")
    secure.routes["/m.tgz"] = body(tar_of(artifact))
    assert fetching(f"{secure.url}/m.tgz", digest(artifact)) == 5
    assert "is not trusted (" in fetching.message
    assert "REQUESTS_CA_BUNDLE" in fetching.message
    assert secure.seen == []


def test_certificates_that_are_not_there_end_with_2(secure: FileServer, fetching: Fetching):
    fetching.set(REQUESTS_CA_BUNDLE="/no/such/file")
    assert fetching(f"{secure.url}/m.tgz") == 2
    assert "correct the path in REQUESTS_CA_BUNDLE" in fetching.message


def test_http_is_refused_unless_it_is_allowed(
    server: FileServer, artifact: Path, fetching: Fetching
):
    fetching.unset("FETCH_ALLOW_HTTP")
    assert fetching(f"{server.url}/m.tgz", digest(artifact)) == 2
    assert "is not encrypted" in fetching.message
    assert server.seen == []


def test_a_redirect_from_https_to_http_is_refused_even_where_http_is_allowed(
    secure: FileServer, server: FileServer, artifact: Path, fetching: Fetching
):
    fetching.set(FETCH_ALLOW_HTTP="true")
    secure.routes["/m.tgz"] = redirect(f"{server.url}/m.tgz")
    assert fetching(f"{secure.url}/m.tgz", digest(artifact)) == 2
    assert f"is redirected to {server.url}/m.tgz, which is not https" in fetching.message
    assert server.seen == []


def test_a_redirect_to_a_local_file_is_refused(server: FileServer, fetching: Fetching):
    server.routes["/m.tgz"] = redirect("file:///etc/hostname")
    assert fetching(f"{server.url}/m.tgz") == 2
    assert "is redirected to file:///etc/hostname, which is not https" in fetching.message


@pytest.mark.parametrize("allowed", ["127.0.0.1", "*.example.com, 127.0.0.1,"])
def test_what_is_not_among_the_allowed_hosts_is_neither_fetched_nor_followed(
    server: FileServer, artifact: Path, fetching: Fetching, allowed: str
):
    fetching.set(FETCH_ALLOWED_HOSTS=allowed)
    server.routes["/here.tgz"] = redirect("/m.tgz")
    server.routes["/m.tgz"] = body(tar_of(artifact))
    server.routes["/away.tgz"] = redirect(f"http://localhost:{server.server_port}/m.tgz?key=secret")
    assert fetching(f"http://localhost:{server.server_port}/m.tgz") == 2
    assert server.seen == []
    assert fetching(f"{server.url}/away.tgz") == 2
    assert fetching.message.startswith(f"{server.url}/away.tgz is redirected, and the host of ")
    assert "secret" not in fetching.message
    assert len(server.seen) == 1
    assert fetching(f"{server.url}/here.tgz", digest(artifact)) == 0


def test_the_token_goes_to_the_host_of_the_uri_and_to_no_other(
    server: FileServer, artifact: Path, fetching: Fetching
):
    fetching.set(FETCH_BEARER_TOKEN=f"{TOKEN}\n")
    with serving() as other:
        server.routes["/m.tgz"] = redirect("/there.tgz")
        server.routes["/there.tgz"] = redirect(f"{other.url}/m.tgz")
        other.routes["/m.tgz"] = body(tar_of(artifact))
        assert fetching(f"{server.url}/m.tgz", digest(artifact)) == 0
    sent = [headers.get("Authorization") for _, headers in (*server.seen, *other.seen)]
    assert sent == [f"Bearer {TOKEN}", f"Bearer {TOKEN}", None]


def test_an_entry_of_netrc_goes_to_its_own_host_alone(
    server: FileServer, artifact: Path, fetching: Fetching, tmp_path: Path
):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password netrc-password\n")
    with serving() as other:
        server.routes["/m.tgz"] = redirect(f"http://localhost:{other.server_port}/m.tgz")
        other.routes["/m.tgz"] = body(tar_of(artifact))
        assert fetching(f"{server.url}/m.tgz", digest(artifact)) == 0
    assert server.seen[0][1]["Authorization"] == (
        f"Basic {base64.b64encode(b'me:netrc-password').decode()}"
    )
    assert "Authorization" not in other.seen[0][1]


@pytest.mark.parametrize("code", [200, 401, 404, 500])
def test_a_password_or_a_signature_in_the_uri_shows_in_no_message(
    server: FileServer, fetching: Fetching, code: int
):
    server.otherwise = status(code)
    host = server.url.removeprefix("http://")
    for uri in (f"http://me:secret@{host}/m.tgz", f"http://{host}/m.tgz?signature=secret"):
        assert fetching(uri) != 0
        assert "secret" not in fetching.message
        assert "/m.tgz" in fetching.message


@pytest.mark.parametrize(
    "password", ["se/cret", "12/secret", "s?cret", "1?secret", "#cret", "c@ret"]
)
@pytest.mark.parametrize("user", ["bob:", "", "b/ob:"])
def test_no_part_of_a_password_that_is_not_escaped_is_shown(
    fetching: Fetching, user: str, password: str, capfd: pytest.CaptureFixture[str]
):
    assert fetching(f"https://{user}{password}@127.0.0.1:{free_port()}/m.tgz") != 0
    log = capfd.readouterr()
    assert "ret" not in log.out + log.err + fetching.message
    assert "holds a user or password" in fetching.message or "https://... " in fetching.message


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        ("https://host/m.tgz?signature=a@b", "https://..."),
        ("https://host/m.tgz?signature=a", "https://host/m.tgz?..."),
        ("https://me:pw@host/m.tgz?signature=a", "https://host/m.tgz?..."),
        ("s3://key:se/cret@bucket/m/", "s3://bucket/m/"),
        ("s3://bucket/me@home/m/", "s3://bucket/me@home/m/"),
        ("/data/me@home", "/data/me@home"),
        ("file:///data/me@home", "file:///data/me@home"),
        ("pvc://claim/me@home", "pvc://claim/me@home"),
        ("models:/cats-dogs@champion", "models:/cats-dogs@champion"),
        ("models://me:pw@host/m", "models://host/m"),
        ("ftp://me:p//w@host/m", "ftp://host/m"),
        ("me:pw@host/m", "host/m"),
    ],
)
def test_a_uri_is_shown_without_what_may_be_secret(uri: str, seen: str):
    assert shown(uri) == seen


def test_no_secret_shows_in_the_log_of_the_whole_process(
    server: FileServer, artifact: Path, fetching: Fetching
):
    fetching.set(FETCH_BEARER_TOKEN=TOKEN, LOG_LEVEL="DEBUG")
    server.routes["/m.tgz"] = in_turn(status(500), body(tar_of(artifact)))
    process = fetching.start("--uri", f"{server.url}/m.tgz?signature=secret", "--resolve")
    output, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "trying again" in log
    for secret in (TOKEN, "secret"):
        assert secret not in output + log + fetching.message


def test_a_token_that_no_header_can_carry_ends_with_2_and_is_not_shown(
    server: FileServer, fetching: Fetching
):
    fetching.set(FETCH_BEARER_TOKEN="secret\nX-More: 1")
    assert fetching(f"{server.url}/m.tgz") == 2
    assert "FETCH_BEARER_TOKEN is malformed" in fetching.message
    assert "secret" not in fetching.message


@pytest.mark.parametrize("failure", [status(500), status(429), cut_off(b"half")])
def test_a_failure_that_passes_is_tried_again_at_once(
    server: FileServer, artifact: Path, fetching: Fetching, failure
):
    server.routes["/m.tgz"] = in_turn(failure, body(tar_of(artifact)))
    assert fetching(f"{server.url}/m.tgz", digest(artifact)) == 0
    assert len(server.seen) == 2


def test_an_answer_that_is_final_is_not_asked_for_again(server: FileServer, fetching: Fetching):
    for code in (404, 403, 400):
        server.otherwise = status(code)
        fetching(f"{server.url}/m.tgz")
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "uri",
    [
        "https://",
        "https:///m.tgz",
        "https://host:port/m.tgz",
        "https://[::1/m.tgz",
        "https://host/model",
        "https://host/m.tgz\nhttps://other",
        "https://host/m.rar",
    ],
)
def test_a_malformed_uri_ends_with_2(fetching: Fetching, uri: str):
    assert fetching(uri) == 2
    assert any(words in fetching.message for words in ("is malformed", "names neither an archive"))
