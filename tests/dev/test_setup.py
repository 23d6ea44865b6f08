"""`make setup` where it cannot work: one sentence, and a status other than 0."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dev import setup


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that nothing was installed in yet."""
    here = Path(setup.__file__).parent
    shutil.copytree(here, tmp_path / "dev", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(setup.ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def run_setup(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it without apt-get within reach."""
    (checkout / "bin").mkdir()
    return subprocess.run(
        [sys.executable, "-m", "dev.setup"],
        cwd=checkout,
        env=os.environ | {"PATH": str(checkout / "bin")} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_venv_module_and_without_apt_one_sentence_says_what_to_install(checkout: Path):
    # As on a Debian without python3-venv: the module is found, and cannot do its work.
    modules = checkout / "modules"
    modules.mkdir()
    (modules / "venv.py").write_text("raise SystemExit('ensurepip is not available')")
    done = run_setup(checkout, PYTHONPATH=str(modules))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "setup: Python has no venv module: install it (Debian: apt install python3-venv)"
    )
    assert not (checkout / ".venv/.ready").exists()


def test_a_command_that_fails_is_named_and_the_environment_does_not_count_as_made(checkout: Path):
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "raise SystemExit(7)"\n')
    python.chmod(0o755)
    python.with_name("pip").touch()  # so that the environment is there already
    done = run_setup(checkout)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.endswith("ended with status 7")
    assert "pip install" in line
    assert not (checkout / ".venv/.ready").exists()


@pytest.mark.parametrize("apt_get", [True, False])
def test_debian_packages_can_be_installed_only_by_root_and_only_with_apt(
    tmp_path: Path, monkeypatch, apt_get
):
    if apt_get:
        (tmp_path / "apt-get").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.can_install_debian_packages() is (apt_get and os.geteuid() == 0)


def test_the_lock_gives_the_lines_of_one_package_with_its_hashes_and_no_others():
    lines = setup.locked((setup.ROOT / "requirements/dev.txt").read_text(), "uv").splitlines()
    assert lines[0].startswith("uv==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])


@pytest.mark.parametrize(
    ("index", "found", "uv_works", "installed"),
    [
        ("https://wheels.example", "", False, "pip --index-url https://wheels.example"),
        ("", "2.13.0+cpu", False, "pip"),
        ("", "2.13.0", True, "uv --torch-backend=cpu"),
    ],
)
def test_torch_is_taken_from_where_its_cpu_build_is(monkeypatch, index, found, uv_works, installed):
    told: list[str] = []

    def uv(*arguments: str) -> bool:
        told.append(" ".join(["uv", *arguments]))
        return uv_works

    monkeypatch.setattr(setup.sys, "platform", "linux")
    monkeypatch.setenv("TORCH_INDEX_URL", index)
    monkeypatch.setattr(setup, "torch_that_pip_finds", lambda: found)
    monkeypatch.setattr(setup, "uv_install", uv)
    monkeypatch.setattr(setup, "install", lambda *a: told.append(" ".join(["pip", *a])))
    setup.install_torch()
    assert told == [f"{installed} -r requirements/torch.txt"]


def test_where_no_cpu_build_of_torch_can_be_had_the_sentence_says_what_to_set(monkeypatch):
    monkeypatch.setattr(setup.sys, "platform", "linux")
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    monkeypatch.setattr(setup, "torch_that_pip_finds", lambda: "2.13.0")
    monkeypatch.setattr(setup, "uv_install", lambda *_: False)
    with pytest.raises(setup.SetupError, match="TORCH_INDEX_URL"):
        setup.install_torch()
