from __future__ import annotations

import multiprocessing
import pickle
import random
import time
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from model_training import resume
from model_training.errors import ArtifactError
from model_training.evaluate import Evaluation
from model_training.train import Epoch, Progress
from tests.training.one_run import CONFIG, run, run_and_tell

KILLS = 4
LONGEST_SECONDS = 120.0


def version(path: Path) -> int | None:
    """Tells one writing of a file from the next."""
    return path.stat().st_mtime_ns if path.exists() else None


class Runs:
    """Starts of one training run, each in a process that has nothing from the one before."""

    def __init__(self, data: Path, progress: Path) -> None:
        # Its server imports torch once, and is forked for every start.
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["model_training.resume", "model_training.data"])
        self.data, self.progress = data, progress

    def kill_after(self, epochs: int, seconds: float) -> None:
        """Kills it when so many more epochs are on the disk, and a moment later."""
        process, _ = self._start()
        seen, count, deadline = version(self.progress), 0, time.monotonic() + LONGEST_SECONDS
        while count < epochs and time.monotonic() < deadline and process.is_alive():
            count += version(self.progress) != seen
            seen = version(self.progress)
        process.join(seconds)
        assert process.is_alive(), "it ended before it could be killed"
        process.kill()
        process.join()

    def finish(self) -> str:
        """Lets it come to its end; the digest of its weights."""
        process, told = self._start()
        assert told.poll(LONGEST_SECONDS)
        process.join()
        return str(told.recv())

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=run_and_tell, args=(self.data, self.progress, theirs), daemon=True
        )
        process.start()
        return process, ours


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    pictures: Path, tmp_path: Path
):
    moments = random.Random(8)
    runs = Runs(pictures, tmp_path / "progress.pt")
    for epochs in moments.sample(range(KILLS), KILLS):
        runs.kill_after(epochs, moments.uniform(0, 0.02))
    reached = torch.load(runs.progress, weights_only=True)["number"]
    assert 0 < reached < CONFIG.epochs
    assert runs.finish() == run(pictures, None)


@pytest.fixture
def saved() -> resume.Saved:
    judged = Evaluation(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([1, 0]))
    epoch = Epoch(2, 0.5, 0.75, judged, best=True, state={"weight": torch.ones(2)})
    progress = Progress(3, {"weight": torch.zeros(2)}, {"weight": torch.ones(2)}, {}, epoch)
    return resume.Saved(progress, (resume.Curve(1, 0.5, 0.75, 0.4, 1.0, 7),), "run", 12.5)


def test_what_was_saved_is_what_is_read(saved: resume.Saved, tmp_path: Path):
    path = tmp_path / "records" / "progress.pt"
    resume.save(path, saved, CONFIG, "data")
    read = resume.read(path, CONFIG, "data")
    assert read
    assert (read.curves, read.run_id, read.seconds) == (saved.curves, "run", 12.5)
    assert read.progress.number == 3
    assert torch.equal(read.progress.best.state["weight"], torch.ones(2))
    assert read.progress.best.validation.accuracy == 1.0
    assert [file.name for file in path.parent.iterdir()] == ["progress.pt"]


def test_nothing_saved_is_a_run_from_the_beginning(tmp_path: Path):
    assert resume.read(tmp_path / "progress.pt", CONFIG, "data") is None


def test_a_run_goes_on_with_its_own_settings_and_data_only(saved: resume.Saved, tmp_path: Path):
    path = tmp_path / "progress.pt"
    resume.save(path, saved, CONFIG, "data")
    other = CONFIG.model_copy(update={"epochs": 99})
    with pytest.raises(ArtifactError, match=r"with epochs 12, not 99: .* without --resume"):
        resume.read(path, other, "data")
    with pytest.raises(ArtifactError, match="is of a run on data data"):
        resume.read(path, CONFIG, "more data")
    with pytest.raises(ArtifactError, match=r"with name .*, not other"):
        resume.read(path, CONFIG.model_copy(update={"name": "other"}), "data")
    content = torch.load(path, weights_only=True)
    del content["config"]["cutmix"]
    torch.save(content, path)
    with pytest.raises(ArtifactError, match=r"with cutmix None, not 0\.5"):
        resume.read(path, CONFIG, "data")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("was-run"),))


@pytest.mark.parametrize("kind", ["pickle", "text", "truncated", "other"])
def test_a_file_that_is_no_progress_is_refused_and_none_of_it_runs(
    kind: str, saved: resume.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "progress.pt"
    resume.save(path, saved, CONFIG, "data")
    content = {
        "pickle": pickle.dumps(Malicious()),
        "text": b"epoch 3",
        "truncated": path.read_bytes()[:-300],
        "other": path.read_bytes(),
    }[kind]
    path.write_bytes(content)
    if kind == "other":
        torch.save({"state_dict": {}}, path)
    with pytest.raises(ArtifactError, match=r"is refused|is not the progress"):
        resume.read(path, CONFIG, "data")
    assert not (tmp_path / "was-run").exists()
