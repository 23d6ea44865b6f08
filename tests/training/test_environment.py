from __future__ import annotations

import subprocess
from pathlib import Path

from model_training.environment import environment, git_commit, requirements


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    command = ["git", *identity, *arguments]
    return subprocess.check_output(command, cwd=folder, text=True).strip()


def test_the_commit_says_when_files_differ_from_it(tmp_path: Path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "params.yaml").write_text("epochs: 1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == head
    (tmp_path / "untracked.txt").touch()
    assert git_commit(tmp_path) == head
    (tmp_path / "params.yaml").write_text("epochs: 2")
    assert git_commit(tmp_path) == f"{head}-dirty"


def test_a_folder_without_git_has_no_commit(tmp_path: Path):
    assert git_commit(tmp_path) is None


def test_what_a_run_was_made_with_is_named_by_version():
    known = environment()
    assert {"python", "torch", "torchvision", "pillow", "processors"} <= set(known)
    assert f"torch=={known['torch']}" in requirements().splitlines()
