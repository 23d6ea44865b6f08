"""The layout that keeps the three packages apart, and Python's own `operator` within reach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("operator", "server", "training")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Lints the packages of `folder`, not those that are installed."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    packages = ":".join(str(folder / name) for name in PACKAGES)
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": packages},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_folder_operator_is_no_package_so_that_the_standard_librarys_is_found(
    repository: Path,
):
    assert (repository / "operator").is_dir()
    assert not (repository / "operator/__init__.py").exists()
    code = "import operator; print(operator.add(1, 2), operator.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("3 ")
    assert str(repository / "operator") not in done.stdout


def test_no_folder_of_tests_is_a_package(repository: Path):
    assert list((repository / "tests").rglob("__init__.py")) == []


def test_the_three_packages_and_the_operators_rooms_keep_to_their_layers(repository: Path):
    done = lint_imports(repository)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("server/model_server/app.py", "import model_operator.api"),
        ("operator/model_operator/decide.py", "import model_operator.observe"),
        ("operator/model_operator/rollout/standard.py", "import model_operator.status"),
    ],
)
def test_an_import_across_the_layers_is_noticed(repository: Path, tmp_path: Path, module, line):
    for folder in PACKAGES:
        shutil.copytree(
            repository / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copyfile(repository / "pyproject.toml", tmp_path / "pyproject.toml")
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    assert lint_imports(tmp_path).returncode == 1
