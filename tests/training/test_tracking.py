from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model_training.errors import TrackingError, TrackingUnreachableError
from model_training.evaluate import Evaluation
from model_training.mlflow_client import connect
from model_training.tracking import confusion_picture, tracked_run
from model_training.train import Epoch

JUDGED = Evaluation(confusion=((8, 2), (1, 9)), loss=0.25)


def epoch(number: int) -> Epoch:
    return Epoch(number, 1.0 / number, 0.5, JUDGED, best=True, state={})


def only_run(uri: str, experiment: str = "cats-dogs") -> Any:
    client = connect(uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    assert len(found) == 1
    return found[0]


def files_of(uri: str, run_id: str, tmp_path: Path) -> dict[str, bytes]:
    folder = Path(connect(uri).download_artifacts(run_id, "", str(tmp_path)))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_run_holds_parameters_curves_figures_and_the_artifact(database: str, tmp_path: Path):
    artifact, downloads = tmp_path / "artifact", tmp_path / "downloads"
    artifact.mkdir()
    downloads.mkdir()
    (artifact / "model.json").write_bytes(b"{}\n")
    with tracked_run(database, experiment="cats-dogs") as run:
        run.log_parameters({"epochs": 2, "channels": "3,4"})
        run.log_epoch(epoch(1))
        run.log_epoch(epoch(2))
        run.log_evaluation(JUDGED, ("cat", "dog"))
        run.log_artifact(artifact, "a" * 64, "b" * 64)

    logged = only_run(database)
    assert logged.info.status == "FINISHED"
    assert logged.data.params == {"epochs": "2", "channels": "3,4"}
    assert (logged.data.tags["sha256"], logged.data.tags["data_version"]) == ("a" * 64, "b" * 64)
    assert logged.data.metrics["test_accuracy"] == pytest.approx(0.85)
    curve = connect(database).get_metric_history(logged.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]
    files = files_of(database, logged.info.run_id, downloads)
    assert files["model/model.json"] == b"{}\n"
    assert json.loads(files["confusion_matrix.json"]) == {
        "classes": ["cat", "dog"],
        "rows_true_columns_predicted": [[8, 2], [1, 9]],
    }
    with Image.open(io.BytesIO(files["confusion_matrix.png"])) as picture:
        assert picture.format == "PNG"


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


def test_the_confusion_picture_shows_every_count_and_class():
    figure = confusion_picture(Evaluation(((5, 0, 1), (2, 7, 0), (0, 0, 9)), 0.1), ("a", "b", "c"))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == list("501270009")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
