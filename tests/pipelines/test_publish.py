"""How images are published: the commands, since no registry is here to take them."""

from __future__ import annotations

import json
from pathlib import Path

from dev import publish

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "5f3c0de" * 5


def test_every_image_is_built_for_all_architectures_with_sbom_and_provenance(
    tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    monkeypatch.setenv("GITHUB_REPOSITORY", "vision/cv-factory")
    record = tmp_path / "digests.json"
    arguments = ["push", "--tag", "5f3c0de", "--tag", "latest", "--record", str(record)]
    assert publish.main([*arguments, "--dry-run"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 3
    for command, name in zip(commands, ("operator", "model-server", "model-router"), strict=True):
        assert f"--tag ghcr.io/cv-factory/{name}:5f3c0de" in command
        assert f"--tag ghcr.io/cv-factory/{name}:latest" in command
        for words in ("linux/amd64,linux/arm64", "--sbom=true", "--provenance=mode=max", "--push"):
            assert words in command
        assert f"--build-arg REVISION={COMMIT}" in command
        assert "--build-arg SOURCE=https://github.com/vision/cv-factory" in command
    assert not record.exists()


def test_what_is_signed_is_the_digest_of_what_was_pushed(tmp_path: Path, capsys):
    record = tmp_path / "digests.json"
    reference = "ghcr.io/cv-factory/operator@sha256:" + "a" * 64
    record.write_text(json.dumps({"operator": reference}))
    assert publish.main(["sign", "--record", str(record), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"cosign sign --yes --recursive {reference}\n"


def test_the_dockerfiles_that_are_built_are_there():
    for name in publish.PUBLISHED:
        assert (ROOT / publish.IMAGES[name].dockerfile).is_file()
