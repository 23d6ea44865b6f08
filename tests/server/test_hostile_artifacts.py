"""Artifacts that must never be served, through the whole of `load_model`."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_server import termination
from model_server.errors import ArtifactRefused
from model_server.loading import load_model
from model_server.settings import Settings
from model_server.workers import Workers
from tests.server.artifacts import make_artifact
from tests.server.hostile_artifacts import HOSTILE, Make, Marks


@pytest.fixture
def one_thread() -> Iterator[Workers]:
    workers = Workers(queue_size=1, threads=1)
    yield workers
    workers.close()


@pytest.mark.parametrize(
    ("make", "sentence"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
def test_a_hostile_artifact_is_refused_with_one_sentence_as_last_words(
    tmp_path: Path,
    one_thread: Workers,
    monkeypatch: pytest.MonkeyPatch,
    make: Make,
    sentence: str,
):
    monkeypatch.setenv("TERMINATION_MESSAGE_PATH", str(tmp_path / "message"))
    folder = make(tmp_path / "artifact")
    with pytest.raises(ArtifactRefused, match=sentence) as refusal:
        load_model(Settings(model_path=folder), one_thread)
    assert termination.explain(refusal.value) == 3
    message = (tmp_path / "message").read_text()
    assert message == str(refusal.value)
    assert len(message.splitlines()) == 1
    assert ": " in message, "what is wrong, and what to do"
    assert not (tmp_path / "mark").exists(), "no code of an artifact runs"


def test_the_mark_is_made_where_pickles_are_run(tmp_path: Path):
    pickle.loads(pickle.dumps(Marks(tmp_path / "mark")))
    assert (tmp_path / "mark").is_dir()


def test_what_model_json_asks_for_takes_no_memory_before_the_weights_fit(
    tmp_path: Path, one_thread: Workers
):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folder = make_artifact(
        tmp_path / "artifact", architecture={"name": "SimpleCNN", "channels": [3, 4096, 4096]}
    )
    with pytest.raises(ArtifactRefused, match="do not fit"):
        load_model(Settings(model_path=folder), one_thread)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100 * 1024, "the second block alone would have 600 MB"


def test_a_small_limit_of_pixels_does_not_hinder_the_warm_up(artifact: Path, one_thread: Workers):
    assert load_model(Settings(model_path=artifact, max_image_pixels=9), one_thread).digest
