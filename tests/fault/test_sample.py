"""The sample of a campaign: each commit has its own, and it is the same wherever it is drawn."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fault import figures

COMMIT = "5f3c0de" * 5
EVERYTHING = range(1000)


def test_a_pipelines_commit_draws_the_same_sample_again_and_another_commit_another(monkeypatch):
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    first = figures.sample_of(EVERYTHING, 20)
    assert figures.sample_of(EVERYTHING, 20) == first
    monkeypatch.setenv("GITHUB_SHA", COMMIT[::-1])
    assert figures.sample_of(EVERYTHING, 20) != first


def test_without_a_pipeline_git_names_the_commit(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message", "a")):
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True)
    assert len(figures.seed()) == 40


def test_where_nobody_names_the_commit_no_sample_is_drawn(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    monkeypatch.setattr(figures, "ROOT", tmp_path)  # as in a container whose checkout is another's
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(figures.NoCommit, match="GITHUB_SHA"):
        figures.sample_of(EVERYTHING, 20)
