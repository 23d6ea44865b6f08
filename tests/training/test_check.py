from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from model_training import pictures as decoding
from model_training.check import report
from model_training.data import load, scan
from model_training.manifest import InputSpec
from model_training.pictures import Kind

SPEC = InputSpec(height=8, width=8)


def found(root: Path) -> dict[str, tuple[Kind, str]]:
    folder = scan(root)
    findings = report(folder, load(folder, folder.samples, SPEC).findings).findings
    assert len({finding.path for finding in findings}) == len(findings), "one finding per file"
    return {finding.path: (finding.kind, finding.detail) for finding in findings}


def test_a_folder_with_nothing_the_matter_has_no_findings(pictures: Path):
    assert found(pictures) == {}


def test_every_kind_of_trouble_is_found_by_its_file(
    own_pictures: Path, monkeypatch: pytest.MonkeyPatch
):
    cat, dog = own_pictures / "cat", own_pictures / "dog"
    (cat / "empty.jpg").touch()
    (cat / "text.jpg").write_text("no image")
    (dog / "00002.jpg").write_bytes((dog / "00002.jpg").read_bytes()[:700])
    shutil.copyfile(cat / "00004.jpg", cat / "copy.jpg")
    shutil.copyfile(cat / "00003.jpg", dog / "both.jpg")
    Image.new("RGB", (40, 40), "red").save(cat / "really.jpg", "PNG")
    Image.new("RGB", (40, 9), "blue").save(cat / "tiny.png")
    Image.new("RGB", (300, 200), "green").save(dog / "huge.png")
    Image.new("RGB", (400, 200), "green").save(dog / "too-large.png")
    monkeypatch.setattr(decoding, "HUGE", 50_000)
    monkeypatch.setattr(decoding, "TOO_LARGE", 70_000)
    findings = found(own_pictures)
    assert findings == {
        "cat/empty.jpg": (Kind.UNREADABLE, "empty"),
        "cat/text.jpg": (Kind.UNREADABLE, "not an image"),
        "dog/00002.jpg": (Kind.TRUNCATED, findings["dog/00002.jpg"][1]),
        "cat/copy.jpg": (Kind.DUPLICATE, "as cat/00004.jpg"),
        "cat/00003.jpg": (Kind.CONTRADICTION, "as dog/both.jpg"),
        "dog/both.jpg": (Kind.CONTRADICTION, "as cat/00003.jpg"),
        "cat/really.jpg": (Kind.MISLABELLED, "it is PNG"),
        "cat/tiny.png": (Kind.TINY, "40 x 9 pixels"),
        "dog/huge.png": (Kind.HUGE, "300 x 200 pixels"),
        "dog/too-large.png": (Kind.TOO_LARGE, "400 x 200 pixels"),
    }
    assert "truncated" in findings["dog/00002.jpg"][1]


def test_nothing_is_deleted_and_the_report_is_json_with_every_finding(
    own_pictures: Path, tmp_path: Path
):
    (own_pictures / "cat" / "text.jpg").write_text("no image")
    before = sorted(own_pictures.rglob("*"))
    folder = scan(own_pictures)
    made = report(folder, load(folder, folder.samples, SPEC).findings)
    made.write(tmp_path / "report" / "data.json")
    written = json.loads((tmp_path / "report" / "data.json").read_text())
    assert (written["images"], written["left_out"]) == (121, 1)
    assert written["findings"] == [
        {"path": "cat/text.jpg", "kind": "unreadable", "detail": "not an image"}
    ]
    assert written["data_version"] == folder.fingerprint
    assert sorted(own_pictures.rglob("*")) == before


def test_a_link_that_leads_nowhere_and_a_name_that_nobody_can_print_are_found(own_pictures: Path):
    (own_pictures / "cat" / "moved.jpg").symlink_to("gone.jpg")
    strange = os.fsencode(own_pictures / "dog") + b"/M\xfcnchen.jpg"
    shutil.copyfile(own_pictures / "dog" / "00002.jpg", strange)
    assert found(own_pictures) == {
        "cat/moved.jpg": (Kind.UNREADABLE, "No such file or directory"),
        "dog/M\\xfcnchen.jpg": (Kind.UNREADABLE, "its name is not UTF-8: rename it"),
    }


def test_a_file_that_goes_away_between_hashing_and_decoding_is_found(own_pictures: Path):
    folder = scan(own_pictures)
    (own_pictures / folder.samples[0].path).unlink()
    [finding] = load(folder, folder.samples, SPEC).findings
    assert (finding.path, finding.kind) == (folder.samples[0].path, Kind.UNREADABLE)


@pytest.mark.parametrize("name", ["exif.png", "exif.webp", "exif.jpg"])
def test_a_picture_whose_exif_is_cut_off_is_found_and_ends_nothing(own_pictures: Path, name: str):
    path = own_pictures / "cat" / name
    picture = Image.effect_noise((40, 40), 50).convert("RGB")
    picture.save(path, exif=b"Exif\0\0II*\0", dpi=(72, 72))
    kinds = [kind for file, (kind, _) in found(own_pictures).items() if file == f"cat/{name}"]
    assert kinds in ([], [Kind.UNREADABLE])
