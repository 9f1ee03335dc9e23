"""Drawing on a sign in sign units, independent of the resolution of the canvas.

The outline of a sign spans -1..1; x runs to the right, y downwards. A brush may be moved, scaled or mirrored, so that
several signs share a pictogram. Colours are RGB, 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (232, 232, 228)
BLACK: Colour = (24, 24, 26)
RED: Colour = (178, 28, 38)
BLUE: Colour = (18, 78, 160)
YELLOW: Colour = (246, 182, 20)
GREEN: Colour = (24, 130, 96)
GREY: Colour = (118, 120, 122)

REACH = 1.45
"""Half the side of the canvas in sign units: room around the outline for the post and the white edge."""


@cache
def _lettering(string: str) -> Image.Image:
    """Render the string in bold as an `L` mask, cropped to the glyphs."""
    font = ImageFont.load_default(size=160)
    box = font.getbbox(string, stroke_width=7)
    mask = Image.new("L", (int(box[2]) + 20, int(box[3]) + 20))
    ImageDraw.Draw(mask).text((10, 10), string, fill=255, font=font, stroke_width=7)
    return mask.crop(mask.getbbox())


@dataclass(frozen=True)
class Brush:
    """A canvas (square, RGBA) with the position and size of the unit square on it."""

    canvas: Image.Image
    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    flip: int = 1

    def at(self, x: float, y: float, scale: float) -> Brush:
        """Return a brush with the unit square centred at (x, y) of this one, `scale` times as large."""
        return replace(
            self, x=self.x + self.flip * self.scale * x, y=self.y + self.scale * y, scale=self.scale * scale
        )

    def mirrored(self) -> Brush:
        """Return a brush whose x runs to the left."""
        return replace(self, flip=-self.flip)

    def _pixels(self, length: float) -> float:
        unit: float = self.canvas.width / (2 * REACH)
        return length * self.scale * unit

    def _place(self, points: Sequence[Point]) -> list[Point]:
        unit = self.canvas.width / (2 * REACH)
        return [
            ((self.x + self.flip * self.scale * x + REACH) * unit, (self.y + self.scale * y + REACH) * unit)
            for x, y in points
        ]

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Draw a filled polygon."""
        ImageDraw.Draw(self.canvas).polygon(self._place(points), fill=colour)

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a polyline with round joints and ends."""
        draw, placed, radius = ImageDraw.Draw(self.canvas), self._place(points), self._pixels(width) / 2
        draw.line(placed, fill=colour, width=max(1, round(2 * radius)))
        for x, y in placed:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Draw a filled circle."""
        ((cx, cy),), r = self._place([(x, y)]), self._pixels(radius)
        ImageDraw.Draw(self.canvas).ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)

    def ring(self, x: float, y: float, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle; `radius` is to the middle of the line."""
        self.line(arc(x, y, radius, 0, 360), width, colour)

    def bar(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Draw a filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def text(self, string: str, width: float, height: float, colour: Colour) -> None:
        """Draw bold text, stretched to `width` x `height` and centred on the brush."""
        mask = _lettering(string).resize((round(self._pixels(width)), round(self._pixels(height))))
        ((cx, cy),) = self._place([(0.0, 0.0)])
        self.canvas.paste(colour, (round(cx - mask.width / 2), round(cy - mask.height / 2)), mask)


def arc(x: float, y: float, radius: float, start: float, stop: float, steps: int = 32) -> list[Point]:
    """Return the `steps` + 1 points of an arc from `start` to `stop` degrees; 0 is right, 90 down."""
    angles = np.deg2rad(np.linspace(start, stop, steps + 1))
    return [(x + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles]
