"""Draws shapes given in a creature's own coordinates; called by the synthetic data only.

A pen turns, scales and moves the coordinates of what it draws (y goes down, a head has the radius
1), so a drawing is written once and appears anywhere in the picture at any size and angle. It
draws on a canvas of several times the size, whose reduction smooths the edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SUPERSAMPLING: Final = 3
CURVE_POINTS: Final = 36


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (factor below 1) or lighter (above 1) variant of a colour."""
    red, green, blue = (min(255, max(0, round(value * factor))) for value in colour)
    return red, green, blue


def canvas(size: int, top: Colour, bottom: Colour) -> Image.Image:
    """A picture of `size` pixels, enlarged for drawing, with a vertical gradient."""
    gradient = Image.new("RGB", (1, 2))
    gradient.putdata([top, bottom])
    side = size * SUPERSAMPLING
    return gradient.resize((side, side), Image.Resampling.BILINEAR)


def finished(image: Image.Image) -> Image.Image:
    """The canvas at its final size."""
    size = image.width // SUPERSAMPLING
    return image.resize((size, size), Image.Resampling.BOX)


@dataclass(frozen=True)
class Pen:
    """Draws on `image` around (x, y); one unit is `scale` pixels, turned by `angle` radians."""

    image: Image.Image
    x: float
    y: float
    scale: float
    angle: float

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        ImageDraw.Draw(self.image).polygon([self._place(*point) for point in points], fill=colour)

    def ellipse(
        self, x: float, y: float, radii: Point, colour: Colour, *, turn: float = 0.0
    ) -> None:
        """A filled ellipse around (x, y), turned by `turn` radians in the pen's coordinates."""
        cos, sin = math.cos(turn), math.sin(turn)
        points = []
        for step in range(CURVE_POINTS):
            phase = 2 * math.pi * step / CURVE_POINTS
            dx, dy = radii[0] * math.cos(phase), radii[1] * math.sin(phase)
            points.append((x + dx * cos - dy * sin, y + dx * sin + dy * cos))
        self.polygon(points, colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line through the points with round joints; width in the pen's units."""
        ImageDraw.Draw(self.image).line(
            [self._place(*point) for point in points],
            fill=colour,
            width=max(1, round(width * self.scale)),
            joint="curve",
        )

    def _place(self, x: float, y: float) -> Point:
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return (
            self.x + self.scale * (x * cos - y * sin),
            self.y + self.scale * (x * sin + y * cos),
        )
