"""Fetching from a real MLflow server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow import MlflowClient

from model_server.artifact import digest, verify
from model_server.fetch import main
from tests.server.artifacts import make_artifact

ABSENT = "0" * 64
MODEL = "fetched"


@dataclass(frozen=True)
class Registered:
    """A registry with one model version, and what that is made of."""

    registry: str
    uri: str
    run_uri: str
    sha256: str


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


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
    )


@pytest.fixture(autouse=True)
def environment(
    registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The fetching container's environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.registry)
    monkeypatch.setenv("TERMINATION_MESSAGE_PATH", str(tmp_path / "message"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    return monkeypatch


def run(uri: str, sha256: str, out: Path) -> int:
    return main(["--uri", uri, "--sha256", sha256, "--out", str(out)])


def message(tmp_path: Path) -> str:
    text = (tmp_path / "message").read_text()
    assert len(text.splitlines()) == 1
    return text


def test_the_command_fetches_a_registered_version_byte_by_byte(
    registered: Registered, tmp_path: Path
):
    out = tmp_path / "model"
    command = [sys.executable, "-m", "model_server.fetch", "--uri", registered.uri]
    ended = subprocess.run(
        [*command, "--sha256", registered.sha256, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert verify(out, registered.sha256).manifest.name == "cats-dogs"
    assert {path.name for path in out.iterdir()} == {"model.json", "model.safetensors", "notes"}


def test_a_runs_folder_is_fetched_too(registered: Registered, tmp_path: Path):
    assert run(registered.run_uri, registered.sha256, tmp_path / "model") == 0
    assert digest(tmp_path / "model") == registered.sha256


def test_an_artifact_that_is_already_there_is_not_fetched_again(
    registered: Registered, tmp_path: Path, environment: pytest.MonkeyPatch
):
    out = tmp_path / "model"
    assert run(registered.uri, registered.sha256, out) == 0
    environment.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert run(registered.uri, registered.sha256, out) == 0


def test_what_a_fetch_that_was_cut_off_left_is_replaced(registered: Registered, tmp_path: Path):
    out = tmp_path / "model"
    (out / ".fetch-cut-off" / "model").mkdir(parents=True)
    (out / "model.safetensors").write_text("half")
    (out / "notes").mkdir()
    assert run(registered.uri, registered.sha256, out) == 0
    assert digest(out) == registered.sha256


def test_another_digest_ends_with_3_names_both_and_leaves_nothing(
    registered: Registered, tmp_path: Path
):
    out = tmp_path / "model"
    assert run(registered.uri, ABSENT, out) == 3
    assert registered.sha256 in message(tmp_path)
    assert ABSENT in message(tmp_path)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("uri", ["models:/no-such-model/1", f"models:/{MODEL}/99"])
def test_a_model_that_does_not_exist_ends_with_4(tmp_path: Path, uri: str):
    assert run(uri, ABSENT, tmp_path / "model") == 4
    assert f"There is no {uri} in the registry" in message(tmp_path)


def test_a_run_that_does_not_exist_ends_with_4(tmp_path: Path):
    assert run(f"runs:/{'0' * 32}/model", ABSENT, tmp_path / "model") == 4


def test_a_version_whose_files_are_gone_ends_with_4(registered: Registered, tmp_path: Path):
    client = MlflowClient(registered.registry, registered.registry)
    info = client.create_run("0").info
    source = f"{info.artifact_uri}/model"
    version = client.create_model_version(MODEL, source, info.run_id)
    assert run(f"models:/{MODEL}/{version.version}", ABSENT, tmp_path / "model") == 4
    assert "its files are not in the store" in message(tmp_path)


def test_a_registry_that_does_not_answer_ends_with_5_within_seconds(
    tmp_path: Path, environment: pytest.MonkeyPatch
):
    environment.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    assert run("models:/cats-dogs/1", ABSENT, tmp_path / "model") == 5
    assert re.search("does not answer as it should .* tried again", message(tmp_path))
    assert "secret" not in message(tmp_path)
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refuses the credentials"), (503, "does not answer as it should")],
)
def test_a_registry_that_refuses_ends_with_5_and_says_why(
    tmp_path: Path, environment: pytest.MonkeyPatch, status: int, sentence: str
):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        environment.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        assert run("models:/cats-dogs/1", ABSENT, tmp_path / "model") == 5
        server.shutdown()
    assert sentence in message(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--uri", "models:/cats-dogs/1"], "required: --sha256, --out"),
        (["--uri", "models:/m/1", "--sha256", "abc", "--out", "o"], "--sha256 is 'abc'"),
    ],
)
def test_wrong_arguments_end_with_2_in_one_sentence(
    tmp_path: Path, arguments: list[str], sentence: str
):
    assert main(arguments) == 2
    assert sentence in message(tmp_path)


@pytest.mark.parametrize(
    "uri", ["models:/cats-dogs@champion", "cats-dogs", "file:///etc", "s3://bucket/model", ""]
)
def test_a_uri_of_another_kind_ends_with_2(tmp_path: Path, uri: str):
    assert run(uri, ABSENT, tmp_path / "model") == 2
    assert "is not fetched: name one version" in message(tmp_path)


def test_no_registry_ends_with_2(tmp_path: Path, environment: pytest.MonkeyPatch):
    environment.delenv("MLFLOW_TRACKING_URI")
    assert run("models:/cats-dogs/1", ABSENT, tmp_path / "model") == 2
    assert "MLFLOW_TRACKING_URI does not name a registry" in message(tmp_path)


def test_a_folder_with_other_files_is_refused_and_left_alone(
    registered: Registered, tmp_path: Path
):
    (tmp_path / "letter").write_text("mine")
    assert run(registered.uri, registered.sha256, tmp_path) == 2
    assert "already holds other files" in message(tmp_path)
    assert (tmp_path / "letter").read_text() == "mine"


def test_a_folder_that_cannot_be_written_ends_with_2(registered: Registered, tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert run(registered.uri, registered.sha256, tmp_path / "file" / "model") == 2
    assert "cannot be written" in message(tmp_path)
