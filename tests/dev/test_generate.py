"""`make generate` and `make verify`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dev import generate


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["dev.generate", *arguments])
    return generate.main()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in which nothing was generated yet."""
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_the_committed_files_are_fresh(pytestconfig: pytest.Config):
    done = subprocess.run(
        [sys.executable, "-m", "dev.generate", "--check"],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_was_generated_is_fresh(root: Path, monkeypatch):
    assert main(monkeypatch) == 0
    assert main(monkeypatch, "--check") == 0


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_a_stale_file_is_named_and_left_as_it_is_until_it_is_generated_anew(
    root: Path, monkeypatch, capsys, change
):
    main(monkeypatch)
    path = root / "charts/cv-factory/templates/crd.yaml"
    fresh = path.read_text()
    if change == "edited":
        path.write_text(fresh.replace("ModelDeployment", "Something", 1))
    else:
        path.unlink()
    assert main(monkeypatch, "--check") == 1
    said = capsys.readouterr().out.strip()
    assert said == "stale: charts/cv-factory/templates/crd.yaml; run `make generate`"
    assert not path.exists() or path.read_text() != fresh
    assert main(monkeypatch) == 0
    assert path.read_text() == fresh


def test_a_value_that_is_there_twice_is_written_out_twice():
    shared = {"type": "string"}
    text = generate.as_yaml({"first": shared, "second": shared})
    assert "&" not in text
    assert yaml.safe_load(text) == {"first": shared, "second": shared}


def test_every_generated_file_says_that_it_is_not_to_be_edited():
    for path, text in generate.generated().items():
        assert "Do not edit" in text.splitlines()[0], path
