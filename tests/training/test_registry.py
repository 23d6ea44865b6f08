from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model_training.artifact import Artifact, digest, read_artifact, write_artifact
from model_training.errors import GateError, TrackingError
from model_training.manifest import Architecture, Description, InputSpec
from model_training.mlflow_client import connect
from model_training.model import SimpleCNN
from model_training.predictions import Prediction, Predictions, write_predictions
from model_training.registry import Evidence, RegisteredVersion, register
from model_training.tracking import tracked_run

DATA_VERSION = "d" * 64


@pytest.fixture
def make_artifact(tmp_path: Path) -> Callable[[int], Artifact]:
    def make(seed: int) -> Artifact:
        torch.manual_seed(seed)
        description = Description(
            name="cats-dogs",
            architecture=Architecture(channels=(3, 4)),
            classes=("cat", "dog"),
            input=InputSpec(height=8, width=8),
            metrics={"test_accuracy": 0.9875, "test_images": 80},
        )
        folder = tmp_path / f"artifact-{seed}"
        write_artifact(folder, SimpleCNN((3, 4), ("cat", "dog")).state_dict(), description)
        return read_artifact(folder)

    return make


@pytest.fixture(params=["database", "server"])
def uri(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every behaviour holds for SQLite and for a server that proxies the artifacts."""
    name = "database" if request.param == "database" else "mlflow_server"
    uri = str(request.getfixturevalue(name))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of the test's own: the tests share one server."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name)[:80]


def predictions(wrong: int) -> Predictions:
    """100 test images, so many of them taken for something else."""
    return {
        f"{number:064x}": Prediction("cat", "dog" if number < wrong else "cat", 0.9)
        for number in range(100)
    }


def judged(wrong: int = 0) -> Evidence:
    """Test images that the user names: every model that is judged gets so many of them wrong."""
    return Evidence(judge=lambda folder: predictions(wrong))


def track(uri: str, artifact: Artifact, experiment: str, wrong: int | None = None) -> str:
    with tracked_run(uri, experiment=experiment) as run:
        run.log_artifact(artifact.folder, artifact.sha256, DATA_VERSION)
        if wrong is not None:
            records = artifact.folder.with_name(f"{artifact.folder.name}-run")
            records.mkdir()
            write_predictions(records / "predictions.json", predictions(wrong))
            (records / "model_card.md").write_text(f"# {wrong} wrong\n")
            run.log_records(records, [path.name for path in records.iterdir()])
    return run.run_id


def stored(uri: str, registered: RegisteredVersion) -> Any:
    return connect(uri).get_model_version(registered.name, str(registered.version))


def download(registered: RegisteredVersion, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - after mlflow_client's settings

    folder.mkdir()
    return Path(download_artifacts(registered.uri, dst_path=str(folder)))


def test_a_version_carries_digest_data_version_and_figures(
    uri: str, name: str, make_artifact: Callable[[int], Artifact]
):
    artifact = make_artifact(1)
    run_id = track(uri, artifact, name)
    registered = register(artifact, tracking_uri=uri, name=name)
    assert registered.uri == f"models:/{name}/1"
    assert registered.run_id == run_id
    version = stored(uri, registered)
    assert version.run_id == run_id
    assert version.tags == {
        "sha256": digest(artifact.folder),
        "data_version": DATA_VERSION,
        "test_accuracy": "0.9875",
        "test_images": "80",
        "validation": "not judged",
    }


def test_what_is_fetched_by_its_models_uri_has_the_digest_of_the_tag(
    uri: str, name: str, make_artifact: Callable[[int], Artifact], tmp_path: Path
):
    artifact = make_artifact(2)
    track(uri, artifact, name)
    registered = register(artifact, tracking_uri=uri, name=name)
    fetched = download(registered, tmp_path / "fetched")
    assert digest(fetched) == stored(uri, registered).tags["sha256"] == artifact.sha256


def test_an_artifact_that_no_run_there_has_logged_gets_a_run_of_its_own(
    uri: str, name: str, make_artifact: Callable[[int], Artifact], tmp_path: Path
):
    artifact = make_artifact(3)
    registered = register(
        artifact, tracking_uri=uri, name=name, evidence=Evidence(data_version=DATA_VERSION)
    )
    assert stored(uri, registered).tags["data_version"] == DATA_VERSION
    assert digest(download(registered, tmp_path / "fetched")) == artifact.sha256
    again = register(artifact, tracking_uri=uri, name=name)
    assert (again.run_id, again.version) == (registered.run_id, 2)


def test_an_artifact_of_unknown_data_has_no_data_version(
    database: str, name: str, make_artifact: Callable[[int], Artifact]
):
    registered = register(make_artifact(4), tracking_uri=database, name=name)
    assert registered.data_version is None
    assert "data_version" not in stored(database, registered).tags


def test_an_alias_moves_to_the_newest_version_only_when_asked(
    uri: str, name: str, make_artifact: Callable[[int], Artifact]
):
    def champion() -> str:
        return str(connect(uri).get_model_version_by_alias(name, "champion").version)

    register(make_artifact(5), tracking_uri=uri, name=name, alias="champion", evidence=judged())
    register(make_artifact(6), tracking_uri=uri, name=name, evidence=judged())
    assert champion() == "1"
    register(make_artifact(7), tracking_uri=uri, name=name, alias="champion", evidence=judged())
    assert champion() == "3"


def test_a_run_that_failed_is_not_taken_for_the_origin(
    database: str, name: str, make_artifact: Callable[[int], Artifact]
):
    artifact = make_artifact(8)
    with (
        contextlib.suppress(ZeroDivisionError),
        tracked_run(database, experiment=name) as failed,
    ):
        failed.log_artifact(artifact.folder, artifact.sha256, DATA_VERSION)
        _ = 1 / 0
    assert register(artifact, tracking_uri=database, name=name).run_id != failed.run_id


def test_data_that_contradicts_the_run_is_refused_and_nothing_is_registered(
    database: str, name: str, make_artifact: Callable[[int], Artifact]
):
    artifact = make_artifact(9)
    track(database, artifact, name)
    with pytest.raises(TrackingError, match=f"on data {DATA_VERSION}, not on eee"):
        register(
            artifact,
            tracking_uri=database,
            name=name,
            evidence=Evidence(data_version="e" * 64),
        )
    assert connect(database).search_registered_models() == []


def test_a_name_that_mlflow_refuses_is_one_sentence(
    database: str, make_artifact: Callable[[int], Artifact]
):
    with pytest.raises(TrackingError, match=r"refused: .*name"):
        register(make_artifact(10), tracking_uri=database, name="cats/dogs")


def holder(uri: str, name: str, alias: str) -> int:
    """The version that has the alias."""
    return int(connect(uri).get_model_version_by_alias(name, alias).version)


def versions(uri: str, name: str) -> list[int]:
    found = connect(uri).search_model_versions(f"name = '{name}'")
    return sorted(int(version.version) for version in found)


def test_a_model_as_good_as_the_champion_passes_by_what_their_runs_have_kept(
    uri: str, name: str, make_artifact: Callable[[int], Artifact]
):
    first, second = make_artifact(11), make_artifact(12)
    track(uri, first, name, wrong=5)
    track(uri, second, name, wrong=6)
    champion = register(first, tracking_uri=uri, name=name, alias="champion")
    assert stored(uri, champion).tags["validation"] == "passed"
    assert stored(uri, champion).description == "# 5 wrong\n"
    registered = register(second, tracking_uri=uri, name=name, alias="challenger")
    tags = stored(uri, registered).tags
    assert tags["validation"] == "passed"
    assert tags["validation_figures"].startswith("94.00% against the champion's 95.00% on the same")
    assert holder(uri, name, "challenger") == 2


def test_a_model_that_is_worse_is_refused_with_its_figures_and_nothing_is_registered(
    uri: str, name: str, make_artifact: Callable[[int], Artifact]
):
    first, second = make_artifact(13), make_artifact(14)
    track(uri, first, name, wrong=2)
    track(uri, second, name, wrong=20)
    register(first, tracking_uri=uri, name=name, alias="champion")
    with pytest.raises(GateError, match=r"worse than version 1, the champion: 80\.00% .*95% inter"):
        register(second, tracking_uri=uri, name=name, alias="champion")
    assert versions(uri, name) == [1]
    assert holder(uri, name, "champion") == 1


def test_an_override_registers_it_and_is_recorded_with_its_reason(
    uri: str, name: str, make_artifact: Callable[[int], Artifact]
):
    first, second = make_artifact(15), make_artifact(16)
    track(uri, first, name, wrong=2)
    track(uri, second, name, wrong=20)
    register(first, tracking_uri=uri, name=name, alias="champion")
    evidence = Evidence(override="the old one leaks memory")
    registered = register(second, tracking_uri=uri, name=name, evidence=evidence)
    tags = stored(uri, registered).tags
    assert tags["validation"] == "overridden"
    assert tags["validation_override"] == "the old one leaks memory"
    assert "80.00% against the champion's 98.00%" in tags["validation_figures"]


def test_a_model_of_which_nobody_knows_whether_it_is_worse_is_refused(
    database: str, name: str, make_artifact: Callable[[int], Artifact]
):
    register(make_artifact(17), tracking_uri=database, name=name, alias="champion")
    with pytest.raises(GateError, match=r"nothing says whether it is worse .* by --data"):
        register(make_artifact(18), tracking_uri=database, name=name)
    assert versions(database, name) == [1]


def test_a_champion_whose_run_kept_nothing_is_judged_on_the_images_that_are_named(
    database: str, name: str, make_artifact: Callable[[int], Artifact]
):
    champion = make_artifact(19)
    register(champion, tracking_uri=database, name=name, alias="champion")
    seen = []

    def judge(folder: Path | None) -> Predictions:
        seen.append(read_artifact(folder).sha256 if folder else None)
        return predictions(30 if folder is None else 1)

    with pytest.raises(GateError, match=r"70\.00% against the champion's 99\.00%"):
        register(
            make_artifact(20), tracking_uri=database, name=name, evidence=Evidence(judge=judge)
        )
    assert seen == [None, champion.sha256]
