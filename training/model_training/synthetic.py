"""Drawn cats and dogs: a data set that is made offline, in seconds, and always the same.

`model-train prepare --synthetic N` calls it. Colours, place, size, tilt and background are drawn
from the same distributions for both, so that pixels alone say little (logistic regression
gets 54 to 57% right): what differs is the shape of ears, eyes, nose and mouth.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

from PIL import Image, ImageFilter

from model_training.drawing import SUPERSAMPLING, Colour, Pen, canvas, finished, shade
from model_training.errors import ConfigError, DataError

PICTURE_SIZE: Final = 128  # pixels
JPEG_QUALITY: Final = 88
SCALE: Final = (0.18, 0.30)  # radius of the head as a share of the picture
TILT: Final = math.radians(50)

FURS: Final[tuple[Colour, ...]] = (
    (214, 142, 74), (94, 82, 76), (232, 214, 184), (152, 104, 66), (176, 174, 172),
    (58, 54, 58), (240, 236, 228), (196, 120, 52), (128, 134, 146), (222, 186, 122),
)  # fmt: skip
BACKGROUNDS: Final[tuple[Colour, ...]] = (
    (142, 202, 230), (168, 218, 181), (255, 214, 165), (205, 180, 219), (255, 200, 221),
    (120, 150, 180), (96, 140, 110), (188, 108, 96), (70, 84, 112), (233, 236, 239),
)  # fmt: skip
DARK: Final[Colour] = (38, 32, 36)
PINK: Final[Colour] = (236, 148, 156)
WHITE: Final[Colour] = (250, 250, 246)


def write_pictures(out: Path, count: int, *, seed: int, on_image: Callable[[], None]) -> None:
    """Writes `count` pictures, half of them cats, as `out/cat/00000.jpg`, `out/dog/00000.jpg`.

    The same seed gives the same bytes, and the pictures of a smaller count are the first of a
    larger one. Raises DataError when the folder holds files that would not be overwritten.
    """
    if count < 2:
        raise ConfigError(f"--synthetic {count} gives no cat and dog each: ask for at least 2")
    names = list(_names(count))
    _refuse_foreign_files(out, {out / name for name, _, _ in names})
    for name, draw, index in names:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_jpeg(picture(draw, seed=seed, index=index)))
        on_image()


def picture(kind: str, *, seed: int, index: int) -> Image.Image:
    """One drawn "cat" or "dog", 128 x 128 RGB; its own random numbers make it independent."""
    random = Random(f"{seed}/{kind}/{index}")  # noqa: S311 - reproducible, not secret
    image = canvas(PICTURE_SIZE, random.choice(BACKGROUNDS), random.choice(BACKGROUNDS))
    _scenery(image, random)
    side = image.width
    scale = random.uniform(*SCALE)
    margin = scale * 1.25  # ears included, most of the head stays in the picture
    pen = Pen(
        image,
        x=side * random.uniform(margin, 1 - margin),
        y=side * random.uniform(margin, 1 - margin),
        scale=side * scale,
        angle=random.uniform(-TILT, TILT),
    )
    fur = shade(random.choice(FURS), random.uniform(0.85, 1.1))
    {"cat": _cat, "dog": _dog}[kind](pen, fur, random)
    return finished(image)


def _names(count: int) -> Iterator[tuple[str, str, int]]:
    """The file, kind and number of every picture; an odd one out is a cat."""
    for index in range(count):
        kind = ("cat", "dog")[index % 2]
        yield f"{kind}/{index // 2:05d}.jpg", kind, index // 2


def _refuse_foreign_files(out: Path, ours: set[Path]) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file; name a folder for the pictures")
    foreign = [path for path in out.rglob("*") if path.is_file() and path not in ours]
    if foreign:
        raise DataError(
            f"{out} holds files that are not of this data set, {min(foreign)} for one; name a new"
            " folder or remove them"
        )


def _jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def _scenery(image: Image.Image, random: Random) -> None:
    """Soft hills, balls and clouds behind the head, in any colour that a head can have too."""
    side = image.width
    for _ in range(random.randint(2, 5)):
        blob = Pen(image, side * random.random(), side * random.random(), side * 0.2, 0.0)
        colour = shade(random.choice(BACKGROUNDS + FURS), random.uniform(0.8, 1.1))
        radii = (random.uniform(0.3, 1.3), random.uniform(0.3, 1.0))
        blob.ellipse(0, 0, radii, colour, turn=random.uniform(0, math.pi))
    image.paste(image.filter(ImageFilter.BoxBlur(2 * SUPERSAMPLING)))


def _cat(pen: Pen, fur: Colour, random: Random) -> None:
    """A wide head, pointed ears, slit pupils, a small nose and whiskers."""
    spread = random.uniform(0.9, 1.1)
    for side in (-1, 1):
        pen.polygon([(side * 0.92, -0.15), (side * 0.82 * spread, -1.3), (side * 0.2, -0.8)], fur)
        inner = [(side * 0.8, -0.5), (side * 0.77 * spread, -1.08), (side * 0.4, -0.8)]
        pen.polygon(inner, PINK)
    pen.ellipse(0, 0, (1.08, 0.9), fur)
    stripe = shade(fur, random.choice((0.7, 1.25)))
    for x in (-0.25, 0.0, 0.25):
        pen.line([(x, -0.82), (x * 0.8, -0.5)], stripe, 0.08)
    iris = random.choice(((126, 200, 80), (240, 200, 70), (120, 190, 220)))
    for side in (-1, 1):
        pen.ellipse(side * 0.42, -0.12, (0.24, 0.2), WHITE)
        pen.ellipse(side * 0.42, -0.12, (0.2, 0.19), iris)
        pen.ellipse(side * 0.42, -0.12, (0.06, 0.18), DARK)
    pen.polygon([(-0.13, 0.2), (0.13, 0.2), (0.0, 0.36)], PINK)
    pen.line([(-0.28, 0.5), (-0.1, 0.56), (0, 0.38), (0.1, 0.56), (0.28, 0.5)], DARK, 0.05)
    whisker = WHITE if sum(fur) < 420 else shade(fur, 0.45)
    for side in (-1, 1):
        for y, end in ((0.3, 0.16), (0.4, 0.42), (0.5, 0.66)):
            pen.line([(side * 0.36, y), (side * random.uniform(1.25, 1.4), end)], whisker, 0.035)


def _dog(pen: Pen, fur: Colour, random: Random) -> None:
    """A long head, hanging ears, round pupils, a big nose on a light snout, and a tongue."""
    ear = shade(fur, random.choice((0.7, 1.25)))
    pen.ellipse(0, 0.02, (0.92, 1.0), fur)
    for side in (-1, 1):
        swing = random.uniform(0.1, 0.3)
        pen.ellipse(side * 0.93, -0.05, (0.3, 0.75), ear, turn=-side * swing)
    if random.random() < 0.5:
        pen.ellipse(random.choice((-1, 1)) * 0.36, -0.25, (0.28, 0.3), ear)
    pen.ellipse(0, 0.45, (0.5, 0.42), shade(fur, random.choice((0.85, 1.25))))
    for side in (-1, 1):
        pen.ellipse(side * 0.36, -0.25, (0.17, 0.19), WHITE)
        pen.ellipse(side * 0.36, -0.22, (0.12, 0.13), DARK)
        pen.ellipse(side * 0.33, -0.27, (0.04, 0.04), WHITE)
    if random.random() < 0.7:
        pen.ellipse(0, 0.86, (0.15, 0.26), PINK)
    pen.line([(-0.26, 0.6), (-0.1, 0.7), (0, 0.6), (0.1, 0.7), (0.26, 0.6)], DARK, 0.06)
    pen.line([(0, 0.3), (0, 0.62)], DARK, 0.05)
    pen.ellipse(0, 0.24, (0.22, 0.16), DARK)
