"""Real processes: becoming ready, and refusing to."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import torch
from structlog.testing import capture_logs

from model_server import __version__, serve
from model_server.artifact import digest
from model_server.settings import Settings
from tests.server.artifacts import encode, make_artifact, make_picture, make_state
from tests.server.processes import ServerProcess, wait_until

Start = Callable[..., ServerProcess]


def test_health_answers_while_the_model_loads_and_ready_only_after(start_server: Start):
    server = start_server()
    url = server.url
    assert httpx.get(f"{url}/health").status_code == 200
    first = httpx.get(f"{url}/ready")
    assert first.status_code == 503, "loading takes longer than these two requests"
    wait_until(lambda: httpx.get(f"{url}/ready").status_code == 200, "ready")


def test_the_environment_names_what_answers(start_server: Start, artifact: Path):
    server = start_server(
        model_name="pets", model_version="7", revision="abcdef0123", model_sha256=digest(artifact)
    ).wait_ready()
    response = httpx.post(
        f"{server.url}/predict",
        content=encode(make_picture()),
        headers={"content-type": "image/jpeg"},
    )
    assert response.json()["model"] == {"name": "pets", "version": "7", "revision": "abcdef0123"}
    wait_until(lambda: server.events[-1]["event"] == "request", "the request's log line")
    line = server.events[-1]
    assert (line["model_name"], line["model_version"], line["environment"]) == (
        "pets",
        "7",
        "production",
    )


def wrong_digest(folder: Path) -> dict[str, str]:
    make_artifact(folder)
    return {"model_sha256": "0" * 64}


def nan_answers(folder: Path) -> dict[str, str]:
    state = make_state()
    state["features.0.norm.running_var"] -= 1e6
    make_artifact(folder, state=state)
    return {}


def another_class(folder: Path) -> dict[str, str]:
    make_artifact(folder, classes=["bird", "cat", "dog"])
    return {}


def pickled_module(folder: Path) -> dict[str, str]:
    make_artifact(
        folder,
        weights_name="best_model.pt",
        write_weights=lambda path: torch.save(torch.nn.Linear(1, 1), path),
    )
    return {}


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (wrong_digest, "The artifact's digest is [0-9a-f]{64}, but 0{64} was asked for"),
        (nan_answers, "answers NaN for a grey picture"),
        (another_class, "classifier.weight is float32 2x16, but float32 3x16 is needed"),
        (pickled_module, "pickled code is never run"),
    ],
)
def test_a_refused_artifact_ends_the_process_with_3_and_the_reason(
    start_server: Start,
    tmp_path: Path,
    prepare: Callable[[Path], dict[str, str]],
    sentence: str,
):
    server = start_server(tmp_path / "artifact", **prepare(tmp_path / "artifact"))
    assert server.wait() == 3
    assert re.search(sentence, server.termination_message)
    last = server.events[-1]
    assert (last["event"], last["exit_status"]) == (server.termination_message, 3)


def test_a_model_that_cannot_be_read_ends_the_process_with_3_and_the_reason(
    start_server: Start, tmp_path: Path
):
    server = start_server(tmp_path / ("a" * 300))
    assert server.wait() == 3
    assert "aaa cannot be read (File name too long): check the volume" in server.termination_message


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no such kernel\nat line 7")])
def test_what_nobody_foresaw_while_loading_ends_with_3_and_one_sentence(
    artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
):
    def fail(*_: object) -> NoReturn:
        raise error

    message = tmp_path / "message"
    monkeypatch.setenv("TERMINATION_MESSAGE_PATH", str(message))
    monkeypatch.setattr("model_server.serve.load_model", fail)
    with capture_logs() as logs:
        assert serve.run(Settings(model_path=artifact, host="127.0.0.1", port=0)) == 3
    sentence = message.read_text()
    assert sentence.startswith(
        f"The model cannot be loaded, for a reason that nobody foresaw ({type(error).__name__}"
    )
    assert "\n" not in sentence
    traced = [line for line in logs if line.get("exc_info")]
    assert [line["event"] for line in traced] == ["loading failed unforeseen"]
    assert logs[-1]["event"] == sentence


def test_a_wrong_setting_ends_the_process_with_2_and_the_reason(start_server: Start):
    server = start_server(drain_seconds="soon")
    assert server.wait() == 2
    assert server.termination_message.startswith("The setting DRAIN_SECONDS is 'soon', but ")


def test_a_port_in_use_ends_the_process_with_2_and_the_reason(artifact: Path, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = tmp_path / "message"
        command = [sys.executable, "-m", "model_server.main", "--artifact", str(artifact)]
        ended = subprocess.run(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "TERMINATION_MESSAGE_PATH": str(message)},
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
    assert ended.returncode == 2
    assert f"127.0.0.1 port {port} cannot be listened on" in message.read_text()


def test_a_wrong_argument_ends_the_process_with_2_in_one_sentence():
    command = [sys.executable, "-m", "model_server.main", "--prot", "80"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "Unrecognized arguments: --prot 80: model-serve --help lists all." in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_sigterm_while_the_server_is_imported_ends_the_process_as_it_was_asked():
    program = """
import os, signal, sys

class Terminated:
    def find_spec(self, name, *_):
        if name == "model_server.serve":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Terminated())
from model_server.main import main
sys.exit(main([]))
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_command_prints_its_version():
    command = [sys.executable, "-m", "model_server.main", "--version"]
    assert subprocess.check_output(command, text=True) == f"model-serve {__version__}\n"
