"""What clients send, in numbers that a dashboard can follow over weeks.

`prediction` calls this for each picture, in an inference thread; `dataplane` counts what it says.
It must cost next to nothing beside a prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

from model_server.preprocessing import PixelArray

_STEP = 4
"""Every fourth row and column: the mean of 1024 pixels of 128 x 128 is near enough."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one picture was like."""

    pixels: int
    """Width times height as it was sent."""
    brightness: float
    """The mean of its colours: 0 is black, 1 is white."""


def see(pixels: int, resized: PixelArray) -> Seen:
    """Describe a picture of so many `pixels`, resized to H x W x 3 uint8, RGB."""
    sample = resized[::_STEP, ::_STEP]
    return Seen(pixels, int(sample.sum(dtype="uint32")) / (255 * sample.size))
