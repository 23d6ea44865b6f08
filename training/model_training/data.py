"""A folder of class folders as tensors: which files, which split, which pixels.

Called by training and evaluation. A file's split follows from its bytes alone, so adding files
moves none of the others, and copies of one picture never stand on both sides of a split.
"""

from __future__ import annotations

import hashlib
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from model_training.artifact import digest_of
from model_training.errors import DataError
from model_training.manifest import InputSpec
from model_training.pictures import SUFFIXES, Decoded, Finding, Kind, decode, longer_side

LAYOUT: Final = (
    "expected one folder per class with the images in it, for example cat/1.jpg and dog/1.jpg"
)
NAMED_AT_MOST: Final = 5  # unreadable files that an error names
LOOKED_AT: Final = 50  # images, to know how large they are
READERS: Final = 4  # threads: hashing and decoding leave Python's lock


class Split(StrEnum):
    """What an image is used for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class Sample:
    """One image file: its path below the data folder, its class and the SHA-256 of its bytes."""

    path: str
    label: int
    sha256: str


@dataclass(frozen=True)
class ImageFolder:
    """The image files of a data folder, ordered by content, so that names change no training."""

    root: Path
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    unread: tuple[Finding, ...] = ()
    """Files that would be samples, had they been read."""

    @property
    def fingerprint(self) -> str:
        """The data's version: SHA-256 over paths and contents, as of an artifact (64 hex)."""
        return digest_of((sample.path, sample.sha256) for sample in self.samples)


@dataclass(frozen=True)
class Images:
    """Decoded images: `pixels` N x 3 x H x W uint8 RGB, `labels` N int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Pixels and labels by `size`, in the given order of indices or as they are."""
        indices = torch.arange(len(self)) if order is None else order
        for batch in torch.split(indices, size):
            yield self.pixels[batch], self.labels[batch]


@dataclass(frozen=True)
class Loaded:
    """What became of samples: the images of those that were kept, and what was found in all."""

    images: Images
    kept: tuple[Sample, ...]
    findings: tuple[Finding, ...]


def scan(root: Path) -> ImageFolder:
    """Finds and hashes the images below `root`; files of other kinds are left alone.

    What cannot be read is left out and found. Raises DataError when there are fewer than two
    classes or a class has no image.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; {LAYOUT}")
    folders = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if len(folders) < 2:
        found = f"only {folders[0].name}/" if folders else "none"
        raise DataError(
            f"{root} needs at least two class folders and has {found}; {LAYOUT}",
        )
    files: list[tuple[Path, int]] = []
    for label, folder in enumerate(folders):
        images = [path for path in folder.rglob("*") if _is_image(path)]
        if not images:
            raise DataError(
                f"the class folder {folder} has no images ({', '.join(sorted(SUFFIXES))});"
                " add some or remove the folder"
            )
        files += [(path, label) for path in images]
    with ThreadPoolExecutor(READERS) as readers:
        read = list(readers.map(lambda file: _sample(root, *file), files))
    samples = [one for one in read if isinstance(one, Sample)]
    ordered = sorted(samples, key=lambda sample: (sample.label, sample.sha256, sample.path))
    unread = tuple(one for one in read if isinstance(one, Finding))
    return ImageFolder(root, tuple(folder.name for folder in folders), tuple(ordered), unread)


def usual_side(root: Path) -> int | None:
    """The longer side that images below `root` usually have, in pixels; None where none is read.

    Only the headers of some are looked at, from one end of the folder to the other.
    """
    files = sorted(path for path in root.rglob("*") if _is_image(path))
    some = files[:: max(1, len(files) // LOOKED_AT)]
    sides = [side for path in some if (side := longer_side(path)) is not None]
    return round(statistics.median(sides)) if sides else None


def split_of(sha256: str, *, validation_percent: int, test_percent: int) -> Split:
    """The split of an image by the SHA-256 of its bytes (hex)."""
    percentile = int(sha256[:12], 16) / 16**12 * 100
    if percentile < test_percent:
        return Split.TEST
    if percentile < test_percent + validation_percent:
        return Split.VALIDATION
    return Split.TRAIN


def split(
    folder: ImageFolder, *, validation_percent: int, test_percent: int
) -> dict[Split, list[Sample]]:
    """The samples of every split; raises DataError when a class is missing in one of them."""
    parts: dict[Split, list[Sample]] = {part: [] for part in Split}
    for sample in folder.samples:
        part = split_of(
            sample.sha256, validation_percent=validation_percent, test_percent=test_percent
        )
        parts[part].append(sample)
    for part, samples in parts.items():
        refuse_missing_class(folder, part, samples)
    return parts


def refuse_missing_class(folder: ImageFolder, part: Split, samples: Sequence[Sample]) -> None:
    """Raises DataError when a class has no image in a split."""
    missing = set(range(len(folder.classes))) - {sample.label for sample in samples}
    if missing:
        raise DataError(
            f"too few images of {folder.classes[min(missing)]!r} in {folder.root}: none of them"
            f" falls into the {part} split; add images of this class or enlarge the split"
        )


def load(
    folder: ImageFolder,
    samples: Sequence[Sample],
    spec: InputSpec,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Loaded:
    """Decodes samples into memory (height * width * 3 bytes each), in the order given.

    Files that cannot be decoded are left out and found; raises DataError when there are no others.
    """

    def read(sample: Sample) -> Decoded:
        on_image()
        try:
            content = (folder.root / sample.path).read_bytes()
        except OSError as error:
            return Decoded(None, (_unread(sample.path, error),))
        return decode(sample.path, content, spec)

    with ThreadPoolExecutor(READERS) as readers:
        decoded = list(readers.map(read, samples))
    findings = tuple(finding for one in decoded for finding in one.findings)
    pixels = [one.pixels for one in decoded if one.pixels is not None]
    if not pixels:
        named = "; ".join(f"{found.path} ({found.detail})" for found in findings[:NAMED_AT_MOST])
        raise DataError(f"no image of {folder.root} can be read: {named or 'there are none'}")
    kept = tuple(
        sample for sample, one in zip(samples, decoded, strict=True) if one.pixels is not None
    )
    labels = torch.tensor([sample.label for sample in kept])
    return Loaded(Images(torch.stack(pixels), labels), kept, findings)


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    named = path.suffix.lower() in SUFFIXES and not hidden
    return named and (path.is_file() or _leads_nowhere(path))


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _sample(root: Path, path: Path, label: int) -> Sample | Finding:
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(name).decode(errors="backslashreplace")
        return Finding(shown, Kind.UNREADABLE, "its name is not UTF-8: rename it")
    try:
        return Sample(name, label, hashlib.sha256(path.read_bytes()).hexdigest())
    except OSError as error:
        return _unread(name, error)


def _unread(name: str, error: OSError) -> Finding:
    return Finding(name, Kind.UNREADABLE, error.strerror or str(error))
