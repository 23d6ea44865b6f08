"""Writes the golden pictures and tensors, or with `--check` says which are stale.

`make generate` and `make verify` call it; test_preprocessing holds both packages to what it wrote.
The tensors come from the contract itself, spelled out below in Pillow and NumPy: neither package's
code is asked, so that neither can move the other unnoticed.

Pictures that are there are kept as they are, since another encoder would write other bytes. Tensors
are compared exactly, except for JPEG and lossy WebP under another decoder than the one that wrote
them: decoders may round colours differently by one of 255 levels.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, features

FOLDER = Path(__file__).parent / "golden"
TENSORS = FOLDER / "tensors.npz"
DECODERS = "decoders"
HEIGHT, WIDTH = 20, 24
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Tensor = NDArray[np.float32]


def pattern(seed: int, width: int, height: int, channels: int = 3) -> Image.Image:
    """Smooth in its one half, noise in the other; each channel and each corner differs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    phases = np.arange(channels) * 0.7 + seed
    waves = np.sin(rows[..., None] / 5 + phases) + np.cos(columns[..., None] / 7 - phases)
    pixels = (waves + 2) / 4 * 255
    pixels[:, width // 2 :] = rng.integers(0, 256, (height, width - width // 2, channels))
    pixels[: height // 4, : width // 4] = np.arange(channels) * 60
    return Image.fromarray(pixels.astype(np.uint8).squeeze())


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def sixteen_bits() -> Image.Image:
    levels = np.linspace(0, 65535, 30 * 26).reshape(26, 30)
    return Image.fromarray(levels.astype(np.uint16))


def palette() -> tuple[Image.Image, bytes]:
    """A picture of 64 colours, and how opaque each of them is."""
    return pattern(8, 33, 27).quantize(64), bytes(range(0, 256, 4))


PICTURES: dict[str, Callable[[], bytes]] = {
    "larger.jpg": lambda: encoded(pattern(1, 97, 61), "JPEG", quality=90),
    "smaller.jpg": lambda: encoded(pattern(2, 9, 7), "JPEG", quality=95),
    "turned-by-exif-6.jpg": lambda: encoded(pattern(3, 40, 30), "JPEG", exif=turned(6)),
    "mirrored-by-exif-5.jpg": lambda: encoded(pattern(4, 30, 40), "JPEG", exif=turned(5)),
    "grayscale.jpg": lambda: encoded(pattern(5, 31, 29, 1), "JPEG"),
    "cmyk.jpg": lambda: encoded(pattern(6, 32, 32).convert("CMYK"), "JPEG"),
    "exact-size.png": lambda: encoded(pattern(7, WIDTH, HEIGHT), "PNG"),
    "one-pixel.png": lambda: encoded(Image.new("RGB", (1, 1), (10, 120, 250)), "PNG"),
    "transparent-palette.png": lambda: encoded(palette()[0], "PNG", transparency=palette()[1]),
    "rgba.png": lambda: encoded(pattern(9, 27, 35, 4), "PNG"),
    "sixteen-bits.png": lambda: encoded(sixteen_bits(), "PNG"),
    "lossy.webp": lambda: encoded(pattern(10, 45, 37), "WEBP", quality=80),
    "lossless-rgba.webp": lambda: encoded(pattern(11, 21, 19, 4), "WEBP", lossless=True),
}
LOSSY = frozenset(name for name in PICTURES if name.endswith(".jpg")) | {"lossy.webp"}


def reference(content: bytes) -> Tensor:
    """The contract: 3 x HEIGHT x WIDTH float32, RGB."""
    with Image.open(io.BytesIO(content)) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode == "P":
            upright = upright.convert("RGBA")  # transparency is dropped, not blended
        if upright.mode == "I;16":
            upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
        resized = upright.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    scaled = np.asarray(resized, np.float32) * np.float32(1 / 255)
    normal = (scaled - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return normal.transpose(2, 0, 1)


def decoders() -> str:
    """The decoders of this machine whose rounding may differ between versions."""
    return ", ".join(f"{name} {features.version(name)}" for name in ("libjpeg_turbo", "webp"))


def tolerance(name: str) -> Tensor:
    """How far a tensor may be from the golden one, for each channel (3 x 1 x 1)."""
    with np.load(TENSORS) as golden:
        exact = name not in LOSSY or str(golden[DECODERS]) == decoders()
    level = 0.0 if exact else 1.001 / 255
    return (level / np.array(STD, np.float32)).astype(np.float32).reshape(3, 1, 1)


def golden_tensors() -> dict[str, Tensor]:
    """The committed tensors by their pictures' names."""
    with np.load(TENSORS) as golden:
        return {name: golden[name] for name in golden.files if name != DECODERS}


def stale() -> list[str]:
    """The pictures that are missing, and those whose tensor is not what the contract says."""
    missing = [name for name in PICTURES if not (FOLDER / name).exists()]
    strange = [path.name for path in FOLDER.iterdir() if path.name not in {*PICTURES, TENSORS.name}]
    if missing or strange or not TENSORS.exists():
        return [*missing, *strange, *([] if TENSORS.exists() else [TENSORS.name])]
    tensors = golden_tensors()
    if tensors.keys() != PICTURES.keys():
        return [TENSORS.name]

    def differs(name: str) -> bool:
        distance = np.abs(reference((FOLDER / name).read_bytes()) - tensors[name])
        return bool((distance > tolerance(name)).any())

    return [name for name in PICTURES if differs(name)]


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in PICTURES.items():
        if not (FOLDER / name).exists():
            (FOLDER / name).write_bytes(make())
    arrays: dict[str, Any] = {DECODERS: np.array(decoders())}
    for name in PICTURES:
        arrays[name] = reference((FOLDER / name).read_bytes())
    np.savez_compressed(TENSORS, **arrays)


def main() -> int:
    """Writes or checks; exit status 1 when something is stale."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract.golden", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is stale")
    if not parser.parse_args().check:
        write()
        return 0
    if names := stale():
        sys.stdout.write(f"stale in {FOLDER.name}: {', '.join(names)}; run `make generate`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
