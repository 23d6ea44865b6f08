"""The command `model_server.fetch`, whatever the source: its folder, its result, its end."""

from __future__ import annotations

import errno
import json
import re
import signal
import sys
from pathlib import Path
from subprocess import check_output
from threading import Event

import pytest
from pydantic import TypeAdapter

from model_server.artifact import digest, verify
from model_server.errors import ArtifactRefused
from model_server.fetch import main
from model_server.sources.settings import SourceSettings
from tests.server.artifacts import make_artifact, make_state
from tests.server.fetching import ABSENT, Fetching, tar_of
from tests.server.file_server import Held, serving
from tests.server.processes import wait_until

STAGING = ".fetch-*/downloads/download"


def test_an_artifact_is_put_into_an_empty_folder(artifact: Path, fetching: Fetching):
    fetching.out.mkdir()
    assert fetching(str(artifact), digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


def test_other_bytes_than_asked_for_end_with_3_and_leave_nothing(
    artifact: Path, fetching: Fetching
):
    assert fetching(str(artifact), ABSENT) == 3
    assert f"digest is {digest(artifact)}, but {ABSENT} was asked for" in fetching.message
    assert fetching.left == []


def test_an_artifact_that_is_already_there_is_not_fetched_again(artifact: Path, fetching: Fetching):
    assert fetching(str(artifact), digest(artifact)) == 0
    assert fetching("/no/such/folder", digest(artifact)) == 0


def test_what_a_fetch_that_was_cut_off_left_is_replaced(artifact: Path, fetching: Fetching):
    staging = fetching.out / ".fetch-cut-off"
    (staging / "downloads" / "model").mkdir(parents=True)
    (staging / "moved.json").write_text('["model.safetensors", "notes", "model.json"]')
    (fetching.out / "model.safetensors").write_text("half")
    (fetching.out / "notes").mkdir()
    (fetching.out / ".fetch-without-a-record").mkdir()
    (fetching.out / ".fetch-without-a-record" / "moved.json").write_text('["not')
    assert fetching(str(artifact), digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


@pytest.mark.parametrize("recorded", [None, "[]", '["../letter"]', '["model.json"]'])
def test_what_no_fetch_has_recorded_is_refused_and_left_alone(
    artifact: Path, fetching: Fetching, recorded: str | None
):
    (fetching.out / "sub").mkdir(parents=True)
    (fetching.out / "sub" / "letter").write_text("mine")
    (fetching.out / "model.json").write_text("perhaps a fetch's")
    letter = fetching.out.parent / "letter"
    letter.write_text("mine too")
    (fetching.out / ".fetch-left").mkdir()
    if recorded is not None:
        (fetching.out / ".fetch-left" / "moved.json").write_text(recorded)
    before = sorted(fetching.out.rglob("*"))
    assert fetching(str(artifact), digest(artifact)) == 2
    assert "already holds other files" in fetching.message
    assert sorted(fetching.out.rglob("*")) == before
    assert letter.exists()


def test_a_second_fetch_into_the_same_folder_is_refused_and_the_first_succeeds(
    artifact: Path, fetching: Fetching
):
    release = Event()
    with serving() as server:
        server.routes["/m.tar"] = Held(tar_of(artifact, mode="w"), release)
        uri, sha256 = f"{server.url}/m.tar", digest(artifact)
        first = fetching.start("--uri", uri, "--sha256", sha256, "--out", str(fetching.out))
        wait_until(lambda: any(fetching.out.glob(f"{STAGING}/archive")), "a download")
        assert fetching(str(artifact), sha256) == 2
        assert f"Another fetch is writing to {fetching.out}" in fetching.message
        release.set()
        _, log = first.communicate(timeout=30)
    assert first.returncode == 0, log
    assert digest(fetching.out) == sha256


def test_a_move_that_fails_in_the_middle_leaves_nothing(
    artifact: Path, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
):
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target.name == "model.json":
            raise OSError(errno.EIO, "Input/output error", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert fetching(str(artifact), digest(artifact)) == 2
    assert fetching.left == []


def test_resolving_takes_no_folder_for_its_own_where_a_fetch_cleans_up(
    artifact: Path, fetching: Fetching
):
    fetching.out.mkdir()
    fetching.set(TMPDIR=fetching.out)
    release = Event()
    with serving() as server:
        server.routes["/m.tar"] = Held(tar_of(artifact, mode="w"), release)
        process = fetching.start("--uri", f"{server.url}/m.tar", "--resolve")
        wait_until(lambda: any(fetching.out.glob("*/download/archive")), "a download")
        process.kill()
        process.communicate(timeout=30)
        release.set()
    assert not any(fetching.out.glob(".fetch-*"))
    assert fetching(str(artifact), digest(artifact)) == 2
    assert "already holds other files" in fetching.message


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_fetch_killed_in_the_middle_leaves_nothing_to_serve_and_the_next_one_succeeds(
    artifact: Path, fetching: Fetching, number: signal.Signals
):
    release = Event()
    with serving() as server:
        archive = tar_of(artifact)
        server.routes["/model.tar.gz"] = Held(archive, release)
        uri = f"{server.url}/model.tar.gz"
        arguments = ("--uri", uri, "--sha256", digest(artifact), "--out", str(fetching.out))
        process = fetching.start(*arguments)
        wait_until(lambda: any(fetching.out.glob(f"{STAGING}/archive")), "a download")
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == (-9 if number is signal.SIGKILL else 128 + 15)
        if number is signal.SIGTERM:
            assert "was told to end before it was done" in fetching.message
        with pytest.raises(ArtifactRefused):
            verify(fetching.out)
        release.set()
        assert fetching(uri, digest(artifact)) == 0
    assert digest(fetching.out) == digest(artifact)


def test_a_folder_with_other_files_is_refused_and_left_alone(artifact: Path, fetching: Fetching):
    fetching.out.mkdir()
    (fetching.out / "letter").write_text("mine")
    assert fetching(str(artifact), digest(artifact)) == 2
    assert "already holds other files" in fetching.message
    assert (fetching.out / "letter").read_text() == "mine"


def test_a_folder_that_cannot_be_written_ends_with_2(artifact: Path, fetching: Fetching):
    fetching.out.parent.joinpath("file").write_text("")
    fetching.out = fetching.out.parent / "file" / "model"
    assert fetching(str(artifact), digest(artifact)) == 2
    assert "cannot be written" in fetching.message


def test_an_error_of_a_source_is_not_told_as_one_of_our_own_disk(
    artifact: Path, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
):
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/mnt/models/3")

    monkeypatch.setattr("model_server.sources.download", failing)
    assert fetching(str(artifact)) == 5
    assert f"{artifact} cannot be fetched (Input/output error)" in fetching.message


def test_resolving_says_the_digest_in_one_line_and_leaves_nothing_behind(
    artifact: Path, fetching: Fetching, tmp_path: Path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    fetching.set(TMPDIR=temporary)
    process = fetching.start("--uri", f"file://{artifact}", "--resolve")
    output, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert json.loads(output) == {
        "uri": f"file://{artifact}",
        "sha256": digest(artifact),
        "bytes": sum(path.stat().st_size for path in artifact.iterdir()),
        "files": 2,
    }
    assert output == fetching.message + "\n"
    assert list(temporary.iterdir()) == []


def test_a_source_that_changes_is_resolved_to_another_digest(fetching: Fetching, tmp_path: Path):
    folder = make_artifact(tmp_path / "mutable")
    assert fetching.resolve(str(folder)) == 0
    before = fetching.resolved["sha256"]
    state = make_state()
    state["classifier.bias"] += 1
    make_artifact(folder, state=state)
    assert fetching.resolve(str(folder)) == 0
    assert fetching.resolved["sha256"] == digest(folder) != before


def test_what_is_no_whole_artifact_is_not_resolved(fetching: Fetching, tmp_path: Path):
    folder = make_artifact(tmp_path / "half")
    (folder / "model.safetensors").unlink()
    assert fetching.resolve(str(folder)) == 3
    assert "which the artifact does not hold" in fetching.message


def test_a_resolving_fetch_that_is_told_to_end_leaves_nothing_behind(
    artifact: Path, fetching: Fetching, tmp_path: Path
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    fetching.set(TMPDIR=temporary)
    with serving() as server:
        release = Event()
        server.routes["/m.tar"] = Held(tar_of(artifact, mode="w"), release)
        process = fetching.start("--uri", f"{server.url}/m.tar", "--resolve")
        wait_until(lambda: any(temporary.glob(".resolve-*/download/archive")), "a download")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        release.set()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sha256", ABSENT, "--out", "o"], "required: --uri"),
        (["--uri", "/m"], "give --sha256 and --out to fetch, or --resolve alone"),
        (["--uri", "/m", "--sha256", ABSENT], "give --sha256 and --out to fetch"),
        (["--uri", "/m", "--sha256", ABSENT, "--resolve"], "or --resolve alone"),
        (["--uri", "/m", "--sha256", "abc", "--out", "o"], "--sha256 is 'abc'"),
        (["--uri", "/m", "--sha256", "A" * 64, "--out", "o"], "lower-case hex"),
    ],
)
def test_wrong_arguments_end_with_2_in_one_sentence(
    fetching: Fetching, arguments: list[str], sentence: str
):
    assert main(arguments) == 2
    assert sentence in fetching.message


@pytest.mark.parametrize("uri", ["cats-dogs", "", "ftp://host/m.tar", "gs://bucket/m/", "S3://b/"])
def test_a_uri_of_an_unknown_kind_ends_with_2(fetching: Fetching, uri: str):
    assert fetching(uri) == 2
    assert f"The URI {uri!r} is of no kind that is fetched: begin it with" in fetching.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_ARTIFACT_BYTES", "much"),
        ("FETCH_ALLOW_HTTP", "perhaps"),
        ("FETCH_RETRIES", "-1"),
        ("FETCH_READ_TIMEOUT_SECONDS", "0"),
    ],
)
def test_a_wrong_setting_ends_with_2_and_is_named(
    artifact: Path, fetching: Fetching, name: str, value: str
):
    fetching.set(**{name: value})
    assert fetching(str(artifact)) == 2
    assert fetching.message.startswith(f"The setting {name} is {value!r}, but ")


def test_a_termination_message_that_is_too_long_is_cut_at_a_whole_character(fetching: Fetching):
    assert fetching("ö" * 5000) == 2
    assert len(fetching.message.encode()) <= 4096


def test_clients_are_imported_only_where_they_are_used(artifact: Path, fetching: Fetching):
    code = (
        "import sys; from model_server.fetch import main;"
        f"main(['--uri', {str(artifact)!r}, '--resolve']);"
        "print([m for m in ('mlflow', 'boto3', 'requests', 'torch') if m in sys.modules])"
    )
    output = check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines()[-1] == "[]"


def test_the_documented_table_is_every_setting_with_its_default():
    section = Path("docs/server.md").read_text().split("\n## Fetching\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? *\|", section, re.MULTILINE)
    for name, default in rows:
        field = SourceSettings.model_fields[name.lower()]
        if default:
            parsed = TypeAdapter(field.annotation).validate_python(default)
            assert parsed == field.default, name
        else:
            assert field.default is None, name
    assert {name.lower() for name, _ in rows} == set(SourceSettings.model_fields)


def test_model_json_is_the_last_file_that_is_put_in_place(
    artifact: Path, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
):
    moved: list[str] = []
    rename = Path.rename

    def recording(path: Path, target: Path) -> Path:
        moved.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", recording)
    assert fetching(str(artifact), digest(artifact)) == 0
    assert moved == ["model.safetensors", "model.json"]
