"""The eight plates of German signs, without their symbol. Units as in `brush`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safeml.data.rendered.brush import BLACK, BLUE, GREY, RED, WHITE, YELLOW, Brush, Colour, Point, arc

CIRCLE = tuple(arc(0, 0, 1, 0, 360, 96)[:-1])
TRIANGLE = ((0.0, -0.95), (1.0, 0.80), (-1.0, 0.80))
INVERTED = tuple((x, -y) for x, y in TRIANGLE)
DIAMOND = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
OCTAGON = tuple(arc(0, 0, 1.0824, 22.5, 382.5, 8)[:-1])


@dataclass(frozen=True)
class Face:
    """A plate: its outline, which defines the bounding box, and its paint."""

    outline: tuple[Point, ...]
    paint: Callable[[Brush], None]


def _shrunk(points: tuple[Point, ...], factor: float) -> list[Point]:
    cx = sum(x for x, _ in points) / len(points)
    cy = sum(y for _, y in points) / len(points)
    return [(cx + factor * (x - cx), cy + factor * (y - cy)) for x, y in points]


def _nested(outline: tuple[Point, ...], *layers: tuple[float, Colour], corner: float = 0.0) -> Face:
    """Return a plate of nested copies of the outline, each with size and colour; `corner` rounds the corners."""

    def paint(brush: Brush) -> None:
        for factor, colour in layers:
            inset = _shrunk(outline, factor * (1 - corner))
            brush.polygon(inset, colour)
            if corner:
                brush.line([*inset, inset[0]], corner * factor, colour)

    return Face(outline, paint)


def _end_stripe(brush: Brush) -> None:
    brush.disc(0, 0, 1, WHITE)
    brush.ring(0, 0, 0.93, 0.05, GREY)


def end_stripes(brush: Brush) -> None:
    """Draw the band of thin black lines from bottom left to top right that cancels a sign, over the symbol."""
    for offset in (-0.22, -0.11, 0.0, 0.11, 0.22):
        reach = ((0.9**2 - 2 * offset**2) / 2) ** 0.5
        brush.line([(-reach + offset, reach + offset), (reach + offset, -reach + offset)], 0.07, BLACK)


def _no_entry(brush: Brush) -> None:
    brush.disc(0, 0, 1, WHITE)
    brush.disc(0, 0, 0.95, RED)
    brush.bar(-0.74, -0.17, 0.74, 0.17, WHITE)


PROHIBITION = _nested(CIRCLE, (1.0, WHITE), (0.96, RED), (0.72, WHITE))
END = Face(CIRCLE, _end_stripe)
WARNING = _nested(TRIANGLE, (1.0, WHITE), (0.95, RED), (0.65, WHITE), corner=0.06)
MANDATORY = _nested(CIRCLE, (1.0, WHITE), (0.95, BLUE))
PRIORITY = _nested(DIAMOND, (1.0, BLACK), (0.97, WHITE), (0.62, YELLOW), corner=0.06)
YIELD = _nested(INVERTED, (1.0, WHITE), (0.95, RED), (0.60, WHITE), corner=0.06)
STOP = _nested(OCTAGON, (1.0, WHITE), (0.94, RED))
NO_ENTRY = Face(CIRCLE, _no_entry)
