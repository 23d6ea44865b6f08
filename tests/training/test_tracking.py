from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from model_training.errors import TrackingError, TrackingUnreachableError
from model_training.mlflow_client import connect
from model_training.resume import Curve
from model_training.tracking import tracked_run


def curve(number: int) -> Curve:
    return Curve(number, 1.0 / number, 0.5, 0.4, 0.75, at=1_700_000_000_000 + number)


def only_run(uri: str, experiment: str = "cats-dogs") -> Any:
    client = connect(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len(found) == 1
    return found[0]


def files_of(uri: str, run_id: str, tmp_path: Path) -> dict[str, bytes]:
    folder = Path(connect(uri).download_artifacts(run_id, "", str(tmp_path)))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_run_holds_parameters_curves_figures_records_and_the_artifact(
    database: str, tmp_path: Path
):
    artifact, records, downloads = (tmp_path / name for name in ("artifact", "run", "downloads"))
    for folder in (artifact, records, downloads):
        folder.mkdir()
    (artifact / "model.json").write_bytes(b"{}\n")
    (records / "model_card.md").write_bytes(b"# card\n")
    (records / "progress.pt").write_bytes(b"large")
    with tracked_run(database, experiment="cats-dogs") as run:
        run.log_parameters({"epochs": 2, "channels": "3,4"})
        run.log_curve(curve(1))
        run.log_curve(curve(2))
        run.log_metrics({"test_accuracy": 0.85})
        run.log_records(records, ["model_card.md"])
        run.log_artifact(artifact, "a" * 64, "b" * 64)

    logged = only_run(database)
    assert logged.info.status == "FINISHED"
    assert logged.data.params == {"epochs": "2", "channels": "3,4"}
    assert (logged.data.tags["sha256"], logged.data.tags["data_version"]) == ("a" * 64, "b" * 64)
    assert logged.data.metrics["test_accuracy"] == pytest.approx(0.85)
    points = connect(database).get_metric_history(logged.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5)]
    files = files_of(database, logged.info.run_id, downloads)
    assert files == {"model/model.json": b"{}\n", "model_card.md": b"# card\n"}


def test_a_run_that_goes_on_is_the_same_run_and_its_points_are_not_doubled(database: str):
    with (
        contextlib.suppress(ZeroDivisionError),
        tracked_run(database, experiment="cats-dogs") as broken,
    ):
        broken.log_curve(curve(1))
        _ = 1 / 0
    with tracked_run(database, experiment="cats-dogs", run_id=broken.run_id) as run:
        assert only_run(database).info.status == "RUNNING"
        run.log_curve(curve(1))
        run.log_curve(curve(2))
    logged = only_run(database)
    assert (logged.info.run_id, logged.info.status) == (broken.run_id, "FINISHED")
    points = connect(database).get_metric_history(logged.info.run_id, "train_loss")
    assert [point.step for point in points] == [1, 2]


def test_a_run_that_the_server_does_not_know_is_a_new_one(database: str):
    with tracked_run(database, experiment="cats-dogs", run_id="0" * 32) as run:
        assert run.run_id != "0" * 32


def test_a_run_that_breaks_is_marked_as_failed(database: str):
    with (
        pytest.raises(ZeroDivisionError),
        tracked_run(database, experiment="cats-dogs"),
    ):
        _ = 1 / 0
    assert only_run(database).info.status == "FAILED"


def test_a_run_that_the_user_stops_is_marked_as_killed(database: str):
    with pytest.raises(KeyboardInterrupt), tracked_run(database, experiment="cats-dogs"):
        raise KeyboardInterrupt
    assert only_run(database).info.status == "KILLED"


def test_what_mlflow_refuses_becomes_one_line(database: str):
    with tracked_run(database, experiment="cats-dogs") as run:
        run.log_parameters({"epochs": 2})
        with pytest.raises(TrackingError, match=f"MLflow at {database} refused: ") as no:
            run.log_parameters({"epochs": 3})
    assert "\n" not in str(no.value)


def test_a_server_that_does_not_answer_is_told_apart_from_one_that_refuses(
    monkeypatch: pytest.MonkeyPatch, free_port: int
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"http://127.0.0.1:{free_port}"
    with (
        pytest.raises(TrackingUnreachableError, match=f"{uri} cannot be reached .*refused"),
        tracked_run(uri, experiment="cats-dogs"),
    ):
        pytest.fail("there is no server to track anything")


def test_a_run_that_somebody_has_deleted_is_begun_anew(database: str):
    with tracked_run(database, experiment="cats-dogs") as first:
        first.log_curve(curve(1))
    connect(database).delete_run(first.run_id)
    with tracked_run(database, experiment="cats-dogs", run_id=first.run_id) as run:
        run.log_curve(curve(1))
    assert only_run(database).info.run_id == run.run_id != first.run_id
