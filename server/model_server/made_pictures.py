"""Pictures that are drawn, the same every time, for `choosing` to try engines and decodings on.

They have what photographs have and what a decoding may get wrong: slow and fast changes of colour
whose strength falls with their frequency, hard edges, and grain.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from model_server.artifact import Input

TIMES_LARGER = (2.9, 3.9, 5.7, 11.3)
"""The sizes, over the network's input: just above those where JPEGs are reduced, and between."""
_OCTAVES = ((3, 60.0), (9, 35.0), (27, 18.0), (81, 9.0))
"""How many patches lie across a picture, and by how much they differ (standard deviation)."""
_GRAIN = 2.0
_SHAPES = 5
_QUALITIES = (75, 90)


def jpegs(spec: Input, count: int, most_pixels: int) -> list[bytes]:
    """Return `count` JPEGs, larger than the network's input, none above `most_pixels`.

    An empty list where the input is too large for that.
    """
    fitting = [
        size
        for times in TIMES_LARGER
        if (size := (round(times * spec.width), round(times * spec.height)))
        and size[0] * size[1] <= most_pixels
    ]
    if not fitting:
        return []
    return [
        _encoded(picture(seed, *fitting[seed % len(fitting)]), _QUALITIES[seed % 2])
        for seed in range(count)
    ]


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Draw one: RGB, another for each seed."""
    rng = np.random.default_rng(seed)
    values = np.full((height, width, 3), rng.uniform(70, 180, 3))
    for patches, strength in _OCTAVES:
        across, down = min(patches, width), min(max(2, patches * height // width), height)
        noise = np.clip(rng.normal(128, 42, (down, across, 3)), 0, 255).astype(np.uint8)
        smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        values += (np.asarray(smooth, dtype=np.float64) - 128) * (strength / 42)
    values += rng.normal(0, _GRAIN, (height, width, 1))
    drawn = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(drawn)
    for _ in range(_SHAPES):
        left, top = rng.uniform(0, width), rng.uniform(0, height)
        right, bottom = left + rng.uniform(2, width / 2), top + rng.uniform(2, height / 2)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        pen.ellipse((left, top, right, bottom), fill=colour)
    return drawn


def pixels(spec: Input, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return `count` x H x W x 3 uint8 of nothing but noise: no picture is like that."""
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, spec.height, spec.width, 3), dtype=np.uint8)


def _encoded(drawn: Image.Image, quality: int) -> bytes:
    content = BytesIO()
    drawn.save(content, "JPEG", quality=quality)
    return content.getvalue()
