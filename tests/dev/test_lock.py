"""The locks: every package with its hashes, no build of torch, and no host of anybody's."""

from __future__ import annotations

import re
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
    assert len(found) > 10
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
