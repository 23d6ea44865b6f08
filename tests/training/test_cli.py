from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_training.artifact import digest
from model_training.cli import main
from model_training.mlflow_client import connect

TINY = ("--size", "16", "--channels", "3,4,8", "--epochs", "2", "--threads", "1")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """Runs a command in this process and returns its summary."""
    capsys.readouterr()
    status = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    summary: dict[str, Any] = json.loads(captured.out)
    return summary


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Runs a command that fails and returns its status and the last line that it printed."""
    capsys.readouterr()
    status = main(list(map(str, arguments)))
    return status, capsys.readouterr().err.strip().splitlines()[-1]


def test_the_whole_way_from_pictures_to_a_registered_version(
    database: str, capsys: pytest.CaptureFixture[str]
):
    prepared = run(capsys, "prepare", "--synthetic", "120", "--out", "data/raw")
    trained = run(
        capsys, "train", "--data", "data/raw", "--out", "artifact", "--name", "cats-dogs", *TINY
    )
    assert trained["data_version"] == prepared["data_version"]
    assert trained["sha256"] == digest(Path("artifact"))
    judged = run(
        capsys, "evaluate", "--artifact", "artifact", "--data", "data/raw", "--split", "test"
    )
    assert judged["accuracy"] == trained["test_accuracy"]
    assert judged["images"] == trained["images"]["test"]
    registered = run(capsys, "register", "--artifact", "artifact", "--alias", "champion")
    assert registered["uri"] == "models:/cats-dogs/1"
    assert registered["run_id"] == trained["run_id"]
    assert registered["validation"] == "passed"
    version = connect(database).get_model_version_by_alias("cats-dogs", "champion")
    assert version.tags["sha256"] == trained["sha256"]
    assert version.tags["data_version"] == prepared["data_version"]


def test_training_twice_gives_the_same_bytes(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    first = run(capsys, "train", "--data", pictures, "--out", "first", *TINY)
    again = run(capsys, "train", "--data", pictures, "--out", "again", *TINY)
    other = run(capsys, "train", "--data", pictures, "--out", "other", *TINY, "--seed", "1")
    assert first["sha256"] == again["sha256"] != other["sha256"]


def test_any_number_of_classes_is_trained(
    database: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
):
    (own_pictures / "zebra").mkdir()
    for path in list((own_pictures / "cat").iterdir())[:30]:
        path.rename(own_pictures / "zebra" / path.name)
    summary = run(
        capsys, "train", "--data", own_pictures, "--out", "artifact", *TINY, "--test-percent", "20"
    )
    assert summary["classes"] == ["cat", "dog", "zebra"]


def test_a_checkpoint_is_exported_to_the_weights_of_the_training(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    checkpoint = ("--checkpoint", "best_model.pt")
    run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY, *checkpoint)
    run(capsys, "export", *checkpoint, "--out", "exported")
    trained, exported = (Path(name, "model.safetensors") for name in ("artifact", "exported"))
    assert exported.read_bytes() == trained.read_bytes()


def test_a_folder_is_judged_by_the_names_of_its_classes(
    database: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "train", "--data", own_pictures, "--out", "artifact", *TINY)
    whole = run(capsys, "evaluate", "--artifact", "artifact", "--data", own_pictures)
    assert whole["images"] == 120
    shutil.rmtree(own_pictures / "cat")
    (own_pictures / "wolf").mkdir()
    (own_pictures / "dog" / "00000.jpg").rename(own_pictures / "wolf" / "00000.jpg")
    status, sentence = refused(capsys, "evaluate", "--artifact", "artifact", "--data", own_pictures)
    assert status == 2
    assert "knows the classes cat, dog and not wolf" in sentence


def test_a_folder_may_lack_classes_that_the_model_knows(
    database: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(own_pictures / "dog", own_pictures / "ant")
    run(capsys, "train", "--data", own_pictures, "--out", "artifact", *TINY)
    shutil.rmtree(own_pictures / "ant")
    judged = run(capsys, "evaluate", "--artifact", "artifact", "--data", own_pictures)
    assert judged["classes"] == ["ant", "cat", "dog"]
    assert [sum(row) for row in judged["confusion"]] == [0, 60, 60]


def test_what_stands_at_out_is_refused_before_anything_is_trained(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    Path("mine").mkdir()
    Path("mine", "thesis.tex").touch()
    status, sentence = refused(capsys, "train", "--data", pictures, "--out", "mine", *TINY)
    assert status == 2
    assert sentence.startswith("model-train train: mine holds other files (thesis.tex)")
    assert connect(database).search_experiments(filter_string="name != 'Default'") == []


def test_a_setting_that_cannot_work_is_one_sentence(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    status, sentence = refused(
        capsys, "train", "--data", pictures, "--out", "artifact", "--epochs", "0"
    )
    assert status == 2
    assert sentence.startswith("model-train train: this training run cannot work: epochs: ")


def test_a_server_that_cannot_be_reached_ends_with_status_5(
    pictures: Path,
    tmp_path: Path,
    free_port: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = ("--tracking-uri", f"http://127.0.0.1:{free_port}")
    status, sentence = refused(
        capsys, "train", "--data", pictures, "--out", tmp_path / "artifact", *TINY, *uri
    )
    assert status == 5
    assert "cannot be reached" in sentence
    assert not (tmp_path / "artifact").exists()


def test_a_wrong_flag_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", "x", "--out", "y", "--channels", "wide"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "expected numbers like 3,16,32,64, not 'wide'" in error


@pytest.mark.parametrize("command", ["prepare", "train", "evaluate", "export", "register"])
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"model-train {command} " in capsys.readouterr().out.split("example")[1]


def test_the_summary_is_a_table_whose_digest_can_be_copied(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY)
    capsys.readouterr()
    assert main(["register", "--artifact", "artifact"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sha256", digest(Path("artifact"))] in rows


def test_the_module_runs_as_a_program_and_mlflow_stays_quiet(pictures: Path, tmp_path: Path):
    """A new database: its tables are made, and the user sees bars and the summary only."""
    command = [
        *(sys.executable, "-m", "model_training", "train", "--json"),
        *("--data", str(pictures), "--out", "artifact", *TINY),
    ]
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sha256"] == digest(tmp_path / "artifact")
    shown = [line.split()[0] for line in done.stderr.splitlines() if line.strip()]
    assert shown == ["train", "validation", "test", "epochs"]
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["artifact", "artifact-run", "mlflow.db", "mlruns"]


RECORDS = {
    "calibration.png",
    "confusion_matrix.json",
    "confusion_matrix.png",
    "curves.png",
    "data_report.json",
    "environment.json",
    "evaluation.json",
    "input_example.npy",
    "model_card.md",
    "output_example.npy",
    "predictions.json",
    "requirements.txt",
    "roc.png",
    "signature.json",
}


def test_a_folder_with_broken_files_trains_and_every_one_is_named(
    database: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
):
    broken = sorted(own_pictures.rglob("*.jpg"))[::20]
    for path in broken:
        path.write_bytes(path.read_bytes()[:400])
    names = {path.relative_to(own_pictures).as_posix() for path in broken}
    assert len(names) == 6  # 5% of 120
    arguments = ("--data", str(own_pictures), "--out", "artifact", *TINY)
    assert main(["train", *arguments]) == 0
    said = capsys.readouterr().err
    assert all(f"left out: {name} (" in said for name in names)
    report = json.loads(Path("artifact-run", "data_report.json").read_text())
    assert {finding["path"] for finding in report["findings"]} == names
    judged = run(capsys, "evaluate", "--artifact", "artifact", "--data", own_pictures)
    assert (judged["images"], judged["left_out"]) == (114, 6)
    checked = run(capsys, "prepare", "--check", own_pictures, "--report", "report.json")
    assert (checked["left_out"], checked["images"]) == (6, 120)
    assert {f["path"] for f in json.loads(Path("report.json").read_text())["findings"]} == names


def test_a_run_explains_itself_in_its_records_and_on_the_server(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    trained = run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY)
    records = Path("artifact-run")
    # A run that gets everything right has no contact sheet of what it got wrong.
    expected = RECORDS | ({"misclassified.png"} if trained["test_accuracy"] < 1 else set())
    assert {path.name for path in records.iterdir()} == expected | {"progress.pt"}
    client = connect(database)
    uploaded = {file.path for file in client.list_artifacts(trained["run_id"])}
    assert uploaded == expected | {"model"}
    card = (records / "model_card.md").read_text()
    assert trained["sha256"] in card
    assert f"Accuracy {trained['test_accuracy']:.2%}" in card
    judged = json.loads((records / "evaluation.json").read_text())
    again = run(capsys, "evaluate", "--artifact", "artifact", "--data", pictures, "--split", "test")
    assert judged["accuracy"] == again["accuracy"]
    assert judged["calibration_error"] == pytest.approx(again["calibration_error"], abs=1e-6)
    logged = client.get_run(trained["run_id"]).data
    assert logged.metrics["test_recall_dog"] == judged["per_class"]["dog"]["recall"]


def test_a_finished_run_that_is_resumed_gives_the_same_artifact_in_the_same_run(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    first = run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY)
    shutil.rmtree("artifact")
    again = run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY, "--resume")
    assert (again["sha256"], again["run_id"]) == (first["sha256"], first["run_id"])
    status, sentence = refused(
        capsys, "train", "--data", pictures, "--out", "artifact", *TINY, "--resume", "--seed", "1"
    )
    assert status == 2
    assert "is of a run with seed 0, not 1" in sentence


def test_a_worse_model_is_refused_by_status_3_until_a_reason_is_given(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    good = ("--size", "32", "--channels", "3,8,16", "--epochs", "20", "--threads", "1")
    parts = ("--test-percent", "40")
    run(capsys, "train", "--data", pictures, "--out", "good", *good, *parts)
    run(capsys, "train", "--data", pictures, "--out", "bad", *TINY, *parts, "--epochs", "1")
    run(capsys, "register", "--artifact", "good", "--alias", "champion")
    command = ["register", "--artifact", "bad", "--alias", "champion"]
    status, sentence = refused(capsys, *command)
    assert status == 3
    assert "it is worse than version 1, the champion" in sentence
    overridden = run(capsys, *command, "--override", "a test")
    assert (overridden["version"], overridden["validation"]) == (2, "overridden")


def test_onnx_is_added_to_an_artifact_in_a_folder_of_its_own(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY)
    exported = run(capsys, "export", "--artifact", "artifact", "--onnx", "--out", "exported")
    assert exported["sha256"] == digest(Path("exported"))
    weights = [Path(name, "model.safetensors").read_bytes() for name in ("artifact", "exported")]
    assert weights[0] == weights[1]
    status, sentence = refused(capsys, "export", "--artifact", "artifact", "--out", "artifact")
    assert status == 2
    assert "name a new folder" in sentence


@pytest.mark.parametrize("flag", ["--checkpoint", "--records"])
def test_what_would_lie_in_the_artifact_is_refused_before_anything_is_trained(
    flag: str, database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    status, sentence = refused(
        capsys, "train", "--data", pictures, "--out", "artifact", *TINY, flag, "artifact/more"
    )
    assert status == 2
    assert "artifact/more lies in artifact, which holds the artifact and nothing else" in sentence
    assert not Path("artifact").exists()


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(
    database: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, sentence = refused(capsys, "train", "--data", pictures, "--out", "artifact", *TINY)
    assert status == 2
    assert "No space left on device; make room" in sentence
    assert [path.name for path in Path("artifact-run").iterdir()] == ["data_report.json"]


def test_the_checkpoint_is_kept_over_a_resume(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ("train", "--data", pictures, "--out", "artifact", *TINY, "--resume")
    main([*map(str, arguments)])
    assert "nothing to resume in artifact-run: the training begins anew" in capsys.readouterr().err
    main([*map(str, arguments), "--checkpoint", "best.pt"])
    assert "resuming after epoch 2, by artifact-run/progress.pt" in capsys.readouterr().err
    exported = run(capsys, "export", "--checkpoint", "best.pt", "--out", "exported")
    assert exported["sha256"]
    weights = Path("exported", "model.safetensors").read_bytes()
    assert weights == Path("artifact", "model.safetensors").read_bytes()


def test_what_is_left_out_is_said_before_a_folder_is_refused_for_it(
    database: str, own_pictures: Path, capsys: pytest.CaptureFixture[str]
):
    cats = sorted(own_pictures.glob("cat/*"))
    for path in cats:
        path.write_bytes(path.read_bytes()[:400] + path.name.encode())
    assert main(["train", "--data", str(own_pictures), "--out", "artifact", *TINY]) == 2
    said = capsys.readouterr().err
    assert all(f"left out: cat/{path.name} (" in said for path in cats)
    report = json.loads(Path("artifact-run", "data_report.json").read_text())
    assert report["left_out"] == len(cats)


def test_only_what_the_run_has_written_is_uploaded(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    Path("mine").mkdir()
    Path("mine", "secret.env").write_text("no business of MLflow")
    arguments = ("--data", pictures, "--out", "artifact", *TINY, "--records", "mine")
    trained = run(capsys, "train", *arguments)
    names = {file.path for file in connect(database).list_artifacts(trained["run_id"])}
    assert "model_card.md" in names
    assert not names & {"secret.env", "progress.pt"}


def test_another_share_of_test_images_than_the_trainings_is_said(
    database: str, pictures: Path, capsys: pytest.CaptureFixture[str]
):
    run(capsys, "train", "--data", pictures, "--out", "artifact", *TINY, "--test-percent", "20")
    judge = ("evaluate", "--artifact", "artifact", "--data", str(pictures), "--split", "test")
    assert main([*judge]) == 0
    assert "name the same --test-percent" in capsys.readouterr().err
    assert main([*judge, "--test-percent", "20"]) == 0
    assert "--test-percent" not in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_one_sentence_before_anything_is_read(
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, sentence = refused(
        capsys, "train", "--data", tmp_path, "--out", "artifact", *TINY, "--device", "cuda"
    )
    assert status == 2
    assert "torch finds no GPU here" in sentence
