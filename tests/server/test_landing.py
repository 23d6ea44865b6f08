"""The Landing by itself: progress, and what a file that broke off counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from model_server.errors import ArtifactRefused, SourceInterrupted
from model_server.sources import landing
from model_server.sources.landing import Landing


def test_a_long_download_says_every_few_seconds_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]

    def chunks() -> Iterator[bytes]:
        for _ in range(12):
            now[0] += 1.0
            yield bytes(10)

    with capture_logs() as lines:
        # structlog keeps the processors that a logger was first used with.
        monkeypatch.setattr(landing, "log", landing.structlog.get_logger())
        files = Landing(tmp_path / "files", "s3://me:secret@b/m/?x", 1000, clock=lambda: now[0])
        files.expect(120)
        files.write("weights", chunks())
    assert [(line["event"], line["bytes"], line["total"]) for line in lines] == [
        ("fetching", 50, 120),
        ("fetching", 100, 120),
    ]
    assert lines[0]["uri"] == "s3://b/m/?..."


def test_a_file_that_broke_off_counts_as_never_written(tmp_path: Path):
    def breaking() -> Iterator[bytes]:
        yield bytes(80)
        raise SourceInterrupted("broke off")

    files = Landing(tmp_path / "files", "s3://b/m/", 100)
    for _ in range(3):
        with pytest.raises(SourceInterrupted):
            files.write("weights", breaking())
    assert files.write("weights", [bytes(100)]).stat().st_size == 100
    with pytest.raises(ArtifactRefused, match="has more than 100 bytes"):
        files.write("more", [b"x"])


def test_too_many_announced_bytes_are_refused_before_one_is_written(tmp_path: Path):
    files = Landing(tmp_path / "files", "s3://b/m/", 100)
    files.expect(100)
    with pytest.raises(ArtifactRefused, match="raise MAX_ARTIFACT_BYTES"):
        files.expect(101)
    assert list(files.folder.iterdir()) == []
