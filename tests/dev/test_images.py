"""What the images are made from and say of themselves, and what they weigh."""

from __future__ import annotations

import json
import re
import secrets
import tarfile
from pathlib import Path

import pytest

from dev.images import __main__ as images
from dev.images import engines, labels, size
from dev.images.engines import Engine

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = [ROOT / image.dockerfile for image in images.IMAGES.values()]
COMMIT = "5f3c0de" * 5
dockerfiles = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)


def instructions(dockerfile: Path) -> list[str]:
    """The instructions of a Dockerfile, each on one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", dockerfile.read_text()).replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@dockerfiles
def test_an_image_says_its_release_its_commit_and_its_repository_by_arguments(dockerfile: Path):
    last = instructions(dockerfile)[-4:]
    assert [line.split("=")[0] for line in last[:3]] == [
        "ARG VERSION",
        "ARG REVISION",
        "ARG SOURCE",
    ]
    for label, argument in (("version", "VERSION"), ("revision", "REVISION"), ("source", "SOURCE")):
        assert f'org.opencontainers.image.{label}="${{{argument}}}"' in last[3]


@dockerfiles
def test_an_image_installs_nothing_but_locked_packages_and_what_was_built_from_its_context(
    dockerfile: Path,
):
    for line in instructions(dockerfile):
        for command in re.findall(r"(?:uv )?pip (?:install|wheel) [^&;]*", line):
            locked = "--require-hashes" in command or "-r requirements/torch.txt" in command
            built = "--no-build-isolation" in command or command.split()[-1].startswith("dist/")
            assert locked or built, command
            assert "--no-deps" in command


@dockerfiles
def test_what_runs_is_neither_root_nor_a_shell(dockerfile: Path):
    lines = instructions(dockerfile)
    assert [line for line in lines if line.startswith("USER")] == ["USER 65532:65532"]
    assert [line for line in lines if line.startswith("ENTRYPOINT [")]


def test_the_labels_of_a_pipeline_are_its_own_commit_and_repository(monkeypatch):
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    monkeypatch.setenv("GITHUB_REPOSITORY", "vision/cv-factory")
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    assert labels.build_arguments() == [
        *("--build-arg", f"VERSION={labels.version()}", "--build-arg", f"REVISION={COMMIT}"),
        *("--build-arg", "SOURCE=https://github.com/vision/cv-factory"),
    ]


def test_outside_of_pipelines_and_repositories_the_commit_is_unknown(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    monkeypatch.setattr(labels, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert labels.revision() == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no git
    assert labels.revision() == "unknown"


class Recorded(Engine):
    """An engine that notes what it builds, and saves images of a size that a test sets."""

    builds: list[list[str]]
    saved: bytes

    def build(self, dockerfile, context, tag, arguments):
        self.builds.append(list(arguments))

    def image_id(self, tag):
        return "id" if self.builds else ""

    def save(self, tag, archive):
        layer = archive.with_name("layer")
        layer.write_bytes(self.saved)
        with tarfile.open(archive, "w") as tar:
            tar.add(layer, "layer.tar")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    class Here(Recorded):
        builds: list[list[str]] = []  # noqa: RUF012 - one for this test
        saved = b""

    made = Here("docker", ("docker",), (), mounts=False)
    monkeypatch.setattr(engines, "choose", lambda: made)
    monkeypatch.setenv("CV_FACTORY_CACHE", str(tmp_path))
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    return made


def test_another_commit_alone_is_no_reason_to_build_an_image_anew(engine: Recorded, monkeypatch):
    images.build(["router"], "1")
    monkeypatch.setenv("GITHUB_SHA", COMMIT[::-1])
    images.build(["router"], "1")
    (arguments,) = engine.builds
    assert f"REVISION={COMMIT}" in arguments


def test_the_size_is_that_of_the_compressed_layers(tmp_path: Path):
    archive = tmp_path / "image.tar"
    archive.write_bytes(bytes(3_000_000))
    assert size.compressed_bytes(archive) < 10_000
    archive.write_bytes(secrets.token_bytes(3_000_000))
    assert 3_000_000 <= size.compressed_bytes(archive) < 3_010_000


@pytest.mark.parametrize(("megabytes", "status", "told"), [(2, 0, "met"), (4, 1, "not met")])
def test_an_image_beyond_its_target_fails_and_every_size_is_told(
    engine: Recorded, monkeypatch, capsys, megabytes: int, status: int, told: str
):
    small = images.Image("ghcr.io/cv-factory/operator", "Dockerfile.operator", ".", 1, 1, 3)
    monkeypatch.setitem(images.IMAGES, "operator", small)
    type(engine).saved = secrets.token_bytes(megabytes * 1_000_000)
    engine.builds.append([])
    assert images.main(["size", "operator", "router"]) == status
    out = capsys.readouterr().out
    assert f"operator: {megabytes} MB compressed, at most 3: {told}\n" in out
    assert f"router: {megabytes} MB compressed\n" in out


def test_an_image_that_is_not_built_has_no_size(engine: Recorded, capsys):
    assert images.main(["size", "operator"]) == 1
    assert "is not built" in capsys.readouterr().err


def test_the_operators_target_is_150_megabytes():
    assert images.IMAGES["operator"].most_megabytes == 150
    assert (
        json.dumps(size.line("operator", 61.4, 150))
        == '"operator: 61 MB compressed, at most 150: met"'
    )
