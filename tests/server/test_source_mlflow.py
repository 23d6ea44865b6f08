"""Fetching from a real MLflow server: over its REST API, and by its own client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from mlflow import MlflowClient

from model_server.artifact import digest, verify
from model_server.sources import mlflow_library
from model_server.sources.landing import MAX_FILES
from tests.server.artifacts import make_artifact
from tests.server.fetching import ABSENT, Fetching, free_port
from tests.server.file_server import (
    Answer,
    FileServer,
    body,
    cut_off,
    in_turn,
    redirect,
    serving,
    status,
)

MODEL = "fetched"


@dataclass(frozen=True)
class Registered:
    """A registry with one model version, and what that is made of."""

    registry: str
    uri: str
    run_uri: str
    sha256: str
    bytes: int


@pytest.fixture(scope="module")
def registered(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Registered:
    folder = make_artifact(tmp_path_factory.mktemp("registered"))
    (folder / "notes").mkdir()
    (folder / "notes" / "README").write_text("a file in a folder")
    client = MlflowClient(mlflow_server, mlflow_server)
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.create_registered_model(MODEL)
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version(MODEL, source, run.info.run_id)
    return Registered(
        registry=mlflow_server,
        uri=f"models:/{MODEL}/{version.version}",
        run_uri=f"runs:/{run.info.run_id}/model",
        sha256=digest(folder),
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


@pytest.fixture(autouse=True, params=["rest", "client"])
def way(registered: Registered, fetching: Fetching, request: pytest.FixtureRequest) -> str:
    """What says that TLS is to be verified is a variable that only the client knows."""
    fetching.set(MLFLOW_TRACKING_URI=registered.registry)
    if request.param == "client":
        fetching.set(MLFLOW_TRACKING_INSECURE_TLS="false")
    return str(request.param)


only_rest = pytest.mark.parametrize("way", ["rest"], indirect=True)
only_client = pytest.mark.parametrize("way", ["client"], indirect=True)


def test_the_command_fetches_a_registered_version_byte_by_byte(
    registered: Registered, fetching: Fetching
):
    process = fetching.start(
        *("--uri", registered.uri, "--sha256", registered.sha256, "--out", str(fetching.out))
    )
    _, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert verify(fetching.out, registered.sha256).manifest.name == "cats-dogs"
    assert {path.name for path in fetching.left} == {"model.json", "model.safetensors", "notes"}


def test_a_runs_folder_is_fetched_too(registered: Registered, fetching: Fetching):
    assert fetching(registered.run_uri, registered.sha256) == 0
    assert digest(fetching.out) == registered.sha256


def test_a_registered_version_is_resolved_to_its_digest(registered: Registered, fetching: Fetching):
    assert fetching.resolve(registered.uri) == 0
    assert fetching.resolved["uri"] == registered.uri
    assert fetching.resolved["sha256"] == registered.sha256


def test_another_digest_ends_with_3_names_both_and_leaves_nothing(
    registered: Registered, fetching: Fetching
):
    assert fetching(registered.uri, ABSENT) == 3
    assert registered.sha256 in fetching.message
    assert ABSENT in fetching.message
    assert fetching.left == []


@pytest.mark.parametrize("share", [0.1, 0.99], ids=["in one file", "in all together"])
def test_more_bytes_than_the_limit_end_with_3(
    registered: Registered, fetching: Fetching, share: float
):
    limit = int(registered.bytes * share)
    fetching.set(MAX_ARTIFACT_BYTES=limit)
    assert fetching(registered.uri, registered.sha256) == 3
    assert f"{registered.uri} has more than {limit} bytes" in fetching.message


@only_client
def test_files_that_are_too_much_together_are_refused_before_one_is_downloaded(
    registered: Registered, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr(mlflow_library, "download_artifacts")
    fetching.set(MAX_ARTIFACT_BYTES=registered.bytes - 1)
    assert fetching(registered.uri, registered.sha256) == 3
    assert fetching(registered.run_uri, registered.sha256) == 3


@only_client
def test_a_download_that_is_more_than_was_listed_is_stopped_in_the_middle(tmp_path: Path):
    def write() -> None:
        deadline = time.monotonic() + 30
        for number in count():
            (tmp_path / str(number % 100)).write_bytes(bytes(1000))
            assert time.monotonic() < deadline

    with (
        mlflow_library._limiting_files(5000),
        mlflow_library._counting("models:/fetched/1", tmp_path, 5000),
        pytest.raises(OSError, match="File too large"),
    ):
        write()
    assert (tmp_path / "after").write_bytes(bytes(6000)) == 6000, "the limit has ended"


@only_client
def test_a_file_that_grows_past_the_limit_is_cut_off_while_it_is_written(tmp_path: Path):
    with mlflow_library._limiting_files(1000), pytest.raises(OSError, match="File too large"):
        (tmp_path / "large").write_bytes(bytes(1001))
    assert (tmp_path / "large").stat().st_size <= 1000
    assert (tmp_path / "large").write_bytes(bytes(1001)) == 1001, "the limit has ended"


@pytest.mark.parametrize("uri", ["models:/no-such-model/1", f"models:/{MODEL}/99"])
def test_a_model_that_does_not_exist_ends_with_4(fetching: Fetching, uri: str):
    assert fetching(uri) == 4
    assert f"There is no {uri} in the registry" in fetching.message


def test_a_run_that_does_not_exist_ends_with_4(fetching: Fetching):
    assert fetching(f"runs:/{'0' * 32}/model") == 4


def test_a_version_whose_files_are_gone_ends_with_4(registered: Registered, fetching: Fetching):
    client = MlflowClient(registered.registry, registered.registry)
    info = client.create_run("0").info
    source = f"{info.artifact_uri}/model"
    version = client.create_model_version(MODEL, source, info.run_id)
    assert fetching(f"models:/{MODEL}/{version.version}") == 4
    assert "its files are not in the store" in fetching.message


def test_a_registry_that_does_not_answer_ends_with_5_within_seconds(fetching: Fetching):
    fetching.set(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert fetching("models:/cats-dogs/1") == 5
    assert re.search("does not answer as it should .* tries this again", fetching.message)
    assert fetching.left == []


@pytest.mark.parametrize(
    ("password", "ends"),
    [("xyzzy", 5), ("xy@zzy", 5), ("x/yzzy", 2), ("1/yzzy", 2), ("x?yzzy", 2), ("#yzzy", 2)],
)
def test_a_password_of_the_registry_shows_nowhere(
    fetching: Fetching, password: str, ends: int, capfd: pytest.CaptureFixture[str]
):
    fetching.set(MLFLOW_TRACKING_URI=f"http://me:{password}@127.0.0.1:{free_port()}")
    assert fetching("models:/cats-dogs/1") == ends
    log = capfd.readouterr()
    assert "zzy" not in log.out + log.err + fetching.message


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(401, "refuses the credentials"), (503, "does not answer as it should")],
)
def test_a_registry_that_refuses_ends_with_5_and_says_why(
    fetching: Fetching, code: int, sentence: str
):
    with serving() as server:
        server.otherwise = status(code)
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1") == 5
    assert sentence in fetching.message


def test_no_registry_ends_with_2(fetching: Fetching):
    fetching.unset("MLFLOW_TRACKING_URI")
    assert fetching("models:/cats-dogs/1") == 2
    assert "MLFLOW_TRACKING_URI does not name a registry" in fetching.message


@pytest.mark.parametrize("uri", ["models:/cats-dogs@champion", "models:/cats-dogs", "runs:/1/m"])
def test_an_alias_or_a_malformed_uri_ends_with_2(fetching: Fetching, uri: str):
    assert fetching(uri) == 2
    assert f"The URI {uri!r} is not fetched: name one version" in fetching.message


@only_rest
def test_a_version_is_fetched_without_importing_the_client(
    registered: Registered, fetching: Fetching
):
    arguments = ["--uri", registered.uri, "--sha256", registered.sha256, "--out", str(fetching.out)]
    script = (
        "import sys; from model_server.fetch import main; status = main(sys.argv[1:]);"
        "sys.exit(status or 'mlflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)
    assert digest(fetching.out) == registered.sha256


@only_rest
def test_a_store_that_the_server_does_not_hand_on_is_the_clients(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(mlflow_library, "download", lambda *given: asked.append(given) or given[3])
    for place in ("s3://bucket/a", "mlflow-artifacts://elsewhere:5000/a", "dbfs:/a"):
        with mlflow_of({"artifact_uri": place}) as server:
            fetching.set(MLFLOW_TRACKING_URI=server.url)
            fetching("models:/cats-dogs/1")
    uri = "models:/cats-dogs/1"
    assert [given[:2] for given in asked] == [(uri, uri)] * 3


@only_rest
@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "", "a\\b", "evil\n"])
def test_a_file_that_is_named_to_lie_elsewhere_is_refused(fetching: Fetching, name: str):
    with mlflow_of(files=[{"path": name, "is_dir": False, "file_size": 1}]) as server:
        server.otherwise = body(b"x")
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1") == 3
    assert "no path below a folder" in fetching.message
    assert fetching.left == []


@only_rest
def test_folders_without_end_are_refused(fetching: Fetching):
    with mlflow_of(files=[{"path": "deeper", "is_dir": True}] * 2) as server:
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1") == 3
        assert len(server.seen) < MAX_FILES
    assert f"more than {MAX_FILES} files" in fetching.message


@only_rest
def test_a_listing_that_lies_about_the_size_does_not_help(fetching: Fetching):
    with mlflow_of(files=[{"path": "model.json", "is_dir": False, "file_size": "1"}]) as server:
        server.otherwise = body(bytes(100_000))
        fetching.set(MLFLOW_TRACKING_URI=server.url, MAX_ARTIFACT_BYTES=1000)
        assert fetching("models:/cats-dogs/1") == 3
    assert "more than 1000 bytes" in fetching.message


@only_rest
@pytest.mark.parametrize(
    "broken", [cut_off(b"half"), status(503), status(429)], ids=["cut off", "503", "429"]
)
def test_a_download_that_breaks_off_is_tried_again(
    registered: Registered, fetching: Fetching, broken: Answer, artifact: Path
):
    files = [
        {"path": path.name, "is_dir": False, "file_size": path.stat().st_size}
        for path in artifact.iterdir()
    ]
    with mlflow_of(files=files) as server:
        for path in artifact.iterdir():
            server.routes[f"{FILES}/1/a/{path.name}"] = in_turn(broken, body(path.read_bytes()))
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1", digest(artifact)) == 0


@only_rest
@pytest.mark.parametrize(
    "answer", [body(b"<html>", "text/html"), body(b"[]"), status(404), cut_off(b"{")]
)
def test_a_server_that_is_no_mlflow_ends_with_5(fetching: Fetching, answer: Answer):
    with serving() as server:
        server.otherwise = answer
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1") == 5
    assert "does not answer as it should" in fetching.message


@only_rest
@pytest.mark.parametrize(
    ("variables", "sent"),
    [
        ({"USERNAME": "me", "PASSWORD": "secret"}, "Basic bWU6c2VjcmV0"),
        ({"TOKEN": "secret\n"}, "Bearer secret"),
        ({"USERNAME": "me", "PASSWORD": "secret", "TOKEN": "other"}, "Basic bWU6c2VjcmV0"),
    ],
)
def test_credentials_are_sent_as_the_client_sends_them(
    fetching: Fetching, variables: dict[str, str], sent: str
):
    fetching.set(**{f"MLFLOW_TRACKING_{name}": value for name, value in variables.items()})
    with mlflow_of(files=[]) as server:
        fetching.set(MLFLOW_TRACKING_URI=server.url)
        assert fetching("models:/cats-dogs/1") == 4
        assert {headers["Authorization"] for _, headers in server.seen} == {sent}


@only_rest
def test_a_file_of_credentials_is_the_clients_to_read(
    fetching: Fetching, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(mlflow_library, "download", lambda *given: asked.append(given) or given[3])
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]")
    fetching.set(HOME=tmp_path)
    fetching("models:/cats-dogs/1")
    assert len(asked) == 1


@only_rest
def test_redirects_are_not_followed_where_the_operator_forbids_it(fetching: Fetching):
    with mlflow_of(files=[]) as server, serving() as elsewhere:
        server.routes[VERSION] = redirect(f"{elsewhere.url}{VERSION}")
        fetching.set(MLFLOW_TRACKING_URI=server.url, MLFLOW_ALLOW_HTTP_REDIRECTS="false")
        assert fetching("models:/cats-dogs/1") == 5
        assert not elsewhere.seen
        fetching.unset("MLFLOW_ALLOW_HTTP_REDIRECTS")
        assert fetching("models:/cats-dogs/1") == 5
        assert elsewhere.seen


VERSION = "/api/2.0/mlflow/model-versions/get-download-uri"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@contextmanager
def mlflow_of(
    version: Mapping[str, object] | None = None, files: Sequence[Mapping[str, object]] = ()
) -> Iterator[FileServer]:
    """What answers as MLflow does, of one version with these files."""
    with serving() as server:
        place = version or {"artifact_uri": "mlflow-artifacts:/1/a"}
        server.routes[VERSION] = body(json.dumps(place).encode())
        server.routes[FILES] = body(json.dumps({"files": list(files)}).encode())
        yield server
