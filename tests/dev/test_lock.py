"""The locks: every package with its hashes, no build of torch, and no host of anybody's."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from dev import lock

LOCKED = """\
# Written by hand
aiohttp==3.14.5 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
cuda-bindings==13.0 ; sys_platform == 'linux' \\
    --hash=sha256:cc
nvidia-cublas==13.1 ; sys_platform == 'linux' \\
    --hash=sha256:dd \\
    --hash=sha256:ee
torch==2.13.0 \\
    --hash=sha256:ff
torchvision==0.28.0 \\
    --hash=sha256:00
triton==3.5 \\
    --hash=sha256:11
zipp==4.1 \\
    --hash=sha256:22
"""
LOCKS = [lock.ROOT / committed.path for committed in lock.LOCKS]


def blocks(text: str) -> list[str]:
    """One per package, with its hashes."""
    return [block for block in re.split(r"(?m)^(?=[^\s#])", text) if not block.startswith("#")]


def names(text: str) -> list[str]:
    return [block.split("==")[0] for block in blocks(text)]


def test_torch_and_the_accelerators_packages_go_with_their_hashes_and_the_rest_stays_as_it_is():
    kept = lock.without_torch_builds(LOCKED)
    assert names(kept) == ["aiohttp", "torchvision", "zipp"]
    assert re.findall(r"sha256:(..)", kept) == ["aa", "bb", "00", "22"]
    assert set(kept.splitlines()) <= set(LOCKED.splitlines())


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_committed_lock_names_every_package_with_a_hash(path: Path):
    found = blocks(path.read_text())
    assert len(found) > 5
    for block in found:
        assert re.match(r"^[a-z0-9.-]+==\S+", block), block
        assert "--hash=sha256:" in block, block


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_a_committed_lock_leaves_the_build_of_torch_to_the_machine(path: Path):
    assert not [
        name
        for name in names(path.read_text())
        if name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))
    ]


@pytest.mark.parametrize(
    "path", [*LOCKS, lock.ROOT / "requirements/torch.txt"], ids=lambda path: path.name
)
def test_a_committed_lock_names_no_registry(path: Path):
    text = path.read_text()
    assert not re.search(r"https?://", text)
    assert not re.search(r"(?m)^\s*-(-index-url|-extra-index-url|-find-links|i|f)\b", text)


def test_the_version_of_torch_is_the_one_that_the_project_declares():
    pinned = (lock.ROOT / "requirements/torch.txt").read_text().split()
    declared = (lock.ROOT / "pyproject.toml").read_text()
    assert len(pinned) == 1
    assert set(re.findall(r'"(torch==[^"]+)"', declared)) == set(pinned)


@pytest.mark.parametrize("committed", lock.LOCKS, ids=lambda committed: committed.path)
def test_a_committed_lock_fulfils_all_that_its_source_requires(committed: lock.Lock):
    assert list(lock.required(committed))
    assert lock.unsatisfied(committed, (lock.ROOT / committed.path).read_text()) == []


PROJECT = """
[project]
name = "cv-factory"
[project.optional-dependencies]
server = ["aiohttp>=3.14", "Torch==2.13.0", "uvloop>=0.21; sys_platform != 'win32'"]
dev = ["cv-factory[server]", "ruff>=0.12,<0.13"]
"""
FULFILLED = (
    "aiohttp==3.14.5 \\\n    --hash=x\nuvloop==0.22 ; sys_platform != 'win32'\nruff==0.12.1\n"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lock.Lock:
    """The lock of `dev` in a project of its own."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "requirements/torch.txt").write_text("torch==2.13.0\n")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    return lock.Lock("requirements/dev.txt", "pyproject.toml", "dev")


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        ("", "", []),
        ("aiohttp==3.14.5", "aiohttp==3.13.0", ["aiohttp>=3.14"]),
        ("ruff==0.12.1\n", "", ["ruff<0.13,>=0.12"]),
        ("ruff==0.12.1\n", "ruff==0.12.1 ; a\nruff==0.13 ; b\n", ["ruff<0.13,>=0.12"]),
        ("uvloop", "uvloopy", ['uvloop>=0.21; sys_platform != "win32"']),
    ],
    ids=["nothing", "an older one", "none at all", "one of two", "another name"],
)
def test_what_a_lock_does_not_fulfil_is_named(
    project: lock.Lock, before: str, after: str, missing: list[str]
):
    assert lock.unsatisfied(project, FULFILLED.replace(before, after)) == missing


def test_a_requirement_that_no_lock_fulfils_ends_make_verify(
    project: lock.Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(lock, "LOCKS", (project,))
    monkeypatch.setattr("sys.argv", ["lock", "--satisfied"])
    (tmp_path / "requirements/dev.txt").write_text(FULFILLED)
    assert lock.main() == 0
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace("aiohttp>=3.14", "aiohttp>=4"))
    assert lock.main() == 1
    assert capsys.readouterr().out == (
        "requirements/dev.txt does not fulfil aiohttp>=4; run `make lock`\n"
    )


def test_every_extra_has_a_lock_or_is_a_part_of_the_one_for_development():
    project = tomllib.loads((lock.ROOT / "pyproject.toml").read_text())["project"]
    left = set(project["optional-dependencies"]) - {committed.extra for committed in lock.LOCKS}
    (parts,) = re.findall(r"cv-factory\[(.*?)\]", str(project["optional-dependencies"]["dev"]))
    assert left <= set(parts.split(","))


def test_the_build_backend_is_the_locked_one():
    project = tomllib.loads((lock.ROOT / "pyproject.toml").read_text())
    build = project["project"]["optional-dependencies"]["build"]
    assert set(project["build-system"]["requires"]) <= set(build)


def test_make_verify_asks_the_locks():
    command = ["make", "--dry-run", "verify"]
    done = subprocess.run(command, cwd=lock.ROOT, capture_output=True, text=True, check=True)
    assert "dev.lock --satisfied" in done.stdout
