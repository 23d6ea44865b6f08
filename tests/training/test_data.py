from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_training.data import Split, load, scan, split, split_of, usual_side
from model_training.errors import DataError
from model_training.manifest import InputSpec
from model_training.pictures import evaluation_transform, normalize
from model_training.synthetic import write_pictures

SPEC = InputSpec(height=16, width=16)


def parts_of(folder: Path) -> dict[str, Split]:
    """The split of every file, by its content."""
    parts = split(scan(folder), validation_percent=10, test_percent=10)
    return {sample.sha256: part for part, samples in parts.items() for sample in samples}


def test_classes_are_the_folders_in_alphabetical_order(own_pictures: Path):
    (own_pictures / "dog").rename(own_pictures / "zebra")
    (own_pictures / "cat").rename(own_pictures / "Yak")
    shutil.copytree(own_pictures / "zebra", own_pictures / "ant")
    folder = scan(own_pictures)
    assert folder.classes == ("Yak", "ant", "zebra")
    named = {(sample.path.split("/")[0], sample.label) for sample in folder.samples}
    assert named == {("Yak", 0), ("ant", 1), ("zebra", 2)}


def test_files_that_are_no_images_and_hidden_ones_are_left_alone(own_pictures: Path):
    before = scan(own_pictures)
    (own_pictures / "cat" / "notes.txt").write_text("not a picture")
    (own_pictures / "cat" / ".hidden.jpg").write_text("not a picture")
    (own_pictures / ".cache").mkdir()
    assert scan(own_pictures) == before


def test_adding_files_moves_no_other_file_to_another_split(own_pictures: Path, tmp_path: Path):
    before = parts_of(own_pictures)
    more = tmp_path / "more"
    write_pictures(more, 40, seed=5, on_image=lambda: None)
    for path in more.rglob("*.jpg"):
        shutil.copy(path, own_pictures / path.parent.name / f"0-{path.name}")
    after = parts_of(own_pictures)
    assert len(after) == len(before) + 40
    assert before.items() <= after.items()


def test_copies_of_one_picture_are_in_one_split(own_pictures: Path):
    for path in list((own_pictures / "cat").iterdir()):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    parts = split(scan(own_pictures), validation_percent=20, test_percent=20)
    contents = [{sample.sha256 for sample in samples} for samples in parts.values()]
    assert not contents[0] & contents[1]
    assert not contents[0] & contents[2]
    assert not contents[1] & contents[2]


def test_splits_have_about_the_shares_that_were_asked_for():
    digests = [f"{index * 2654435761 % 2**32:08x}" + "0" * 56 for index in range(10_000)]
    parts = [split_of(sha256, validation_percent=15, test_percent=10) for sha256 in digests]
    assert parts.count(Split.VALIDATION) == pytest.approx(1500, abs=30)
    assert parts.count(Split.TEST) == pytest.approx(1000, abs=30)


def test_the_test_split_is_the_same_whatever_is_kept_for_validation():
    digests = [f"{index * 2654435761 % 2**32:08x}" + "0" * 56 for index in range(1000)]
    for sha256 in digests:
        one = split_of(sha256, validation_percent=0, test_percent=10) is Split.TEST
        other = split_of(sha256, validation_percent=30, test_percent=10) is Split.TEST
        assert one == other


def test_the_fingerprint_changes_with_a_content_and_not_with_a_time(own_pictures: Path):
    before = scan(own_pictures).fingerprint
    path = own_pictures / "cat" / "00000.jpg"
    path.touch()
    assert scan(own_pictures).fingerprint == before
    path.write_bytes(path.read_bytes() + b" ")
    assert scan(own_pictures).fingerprint != before


def test_names_of_files_do_not_change_the_order_of_training(own_pictures: Path):
    before = [(sample.label, sample.sha256) for sample in scan(own_pictures).samples]
    for number, path in enumerate(sorted(own_pictures.rglob("*.jpg"), reverse=True)):
        path.rename(path.with_name(f"renamed-{number:03d}.jpg"))
    assert [(sample.label, sample.sha256) for sample in scan(own_pictures).samples] == before


def test_a_folder_that_is_absent_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; expected one folder per"):
        scan(tmp_path / "nowhere")


def test_a_folder_without_class_folders_is_refused_with_the_layout(tmp_path: Path):
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"at least two class folders and has none; .*cat/1\.jpg"):
        scan(tmp_path)


def test_one_class_is_refused(own_pictures: Path):
    shutil.rmtree(own_pictures / "dog")
    with pytest.raises(DataError, match="at least two class folders and has only cat/"):
        scan(own_pictures)


def test_a_class_without_images_is_named(own_pictures: Path):
    (own_pictures / "horse").mkdir()
    with pytest.raises(DataError, match=r"horse has no images .*remove the folder"):
        scan(own_pictures)


def test_too_few_images_for_a_split_are_refused_with_the_class(tmp_path: Path):
    write_pictures(tmp_path, 4, seed=0, on_image=lambda: None)
    with pytest.raises(DataError, match="too few images of 'cat'"):
        split(scan(tmp_path), validation_percent=10, test_percent=10)


def test_images_that_cannot_be_read_are_left_out_and_named(own_pictures: Path):
    (own_pictures / "cat" / "00001.jpg").write_bytes(b"no image")
    truncated = own_pictures / "dog" / "00002.jpg"
    truncated.write_bytes(truncated.read_bytes()[:700])
    folder = scan(own_pictures)
    loaded = load(folder, folder.samples, SPEC)
    assert {finding.path for finding in loaded.findings} == {"cat/00001.jpg", "dog/00002.jpg"}
    assert len(loaded.images) == len(loaded.kept) == 118
    assert not {"cat/00001.jpg", "dog/00002.jpg"} & {sample.path for sample in loaded.kept}
    assert loaded.images.labels.tolist() == [sample.label for sample in loaded.kept]


def test_a_folder_of_nothing_but_broken_files_is_refused(own_pictures: Path):
    for path in own_pictures.rglob("*.jpg"):
        path.write_bytes(path.name.encode())
    folder = scan(own_pictures)
    with pytest.raises(DataError, match=r"no image of .* can be read: .*not an image"):
        load(folder, folder.samples, SPEC)


def test_the_usual_side_of_images_is_read_from_those_that_can_be_read(own_pictures: Path):
    (own_pictures / "cat" / "broken.jpg").write_bytes(b"not an image")
    (own_pictures / "cat" / "notes.txt").write_bytes(b"no image at all")
    assert usual_side(own_pictures) == 128
    for path in (own_pictures / "dog").glob("*.jpg"):
        path.unlink()
    for number in range(200):
        Image.new("RGB", (32, 20)).save(own_pictures / "dog" / f"{number}.png")
    assert usual_side(own_pictures) == 32


def test_where_no_image_is_read_there_is_no_usual_side(tmp_path: Path):
    assert usual_side(tmp_path / "absent") is None
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    assert usual_side(tmp_path) is None


def test_images_are_loaded_in_order_as_bytes_of_the_inputs_size(pictures: Path):
    folder = scan(pictures)
    images = load(folder, folder.samples, InputSpec(height=8, width=12)).images
    assert images.pixels.shape == (120, 3, 8, 12)
    assert images.pixels.dtype == torch.uint8
    assert images.labels.tolist() == [0] * 60 + [1] * 60


def test_training_and_evaluation_see_the_same_pixels(pictures: Path):
    folder = scan(pictures)
    loaded = load(folder, folder.samples[:1], SPEC).images.pixels[0]
    with Image.open(pictures / folder.samples[0].path) as image:
        transformed = evaluation_transform(image, SPEC)
    assert torch.equal(transformed, normalize(loaded, SPEC))


def test_the_evaluation_transform_is_pillows_bilinear_then_mean_and_std():
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8))
    spec = InputSpec(height=10, width=20, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    expected = np.asarray(picture.resize((20, 10), Image.Resampling.BILINEAR), dtype=np.float32)
    expected = (expected / 255 - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.3, 0.4])
    actual = evaluation_transform(picture, spec)
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.numpy(), expected.transpose(2, 0, 1), rtol=0, atol=1e-6)


def test_a_picture_is_turned_upright_by_its_exif_orientation():
    upright = Image.new("RGB", (40, 20), "red")
    upright.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    content = io.BytesIO()
    upright.rotate(90, expand=True).save(content, "PNG", exif=exif)
    with Image.open(content) as turned:
        assert turned.size == (20, 40)
        seen = evaluation_transform(turned, InputSpec(height=20, width=40))
    assert torch.equal(seen, evaluation_transform(upright, InputSpec(height=20, width=40)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_other_colour_modes_become_rgb(mode: str):
    picture = Image.new("RGB", (20, 20), "white").convert(mode)
    assert evaluation_transform(picture, SPEC).shape == (3, 16, 16)
