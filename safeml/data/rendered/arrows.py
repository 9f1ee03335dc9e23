"""The white arrows of the mandatory signs, drawn in the unit square of the brush."""

from __future__ import annotations

from safeml.data.rendered.brush import WHITE, Brush, Point, arc

WIDTH = 0.22


def _head(brush: Brush, tip: Point, along: Point, size: float = 0.42) -> None:
    """Draw an arrow head at `tip` along the unit vector `along`."""
    (x, y), (dx, dy) = tip, along
    root = (x - size * dx, y - size * dy)
    brush.polygon(
        [tip, (root[0] - size * dy, root[1] + size * dx), (root[0] + size * dy, root[1] - size * dx)], WHITE
    )


def ahead(brush: Brush) -> None:
    brush.line([(0, 0.65), (0, -0.4)], WIDTH, WHITE)
    _head(brush, (0, -0.75), (0, -1), 0.46)


def turn_right(brush: Brush) -> None:
    brush.line([(-0.35, 0.62), (-0.35, 0.1), *arc(-0.05, 0.1, 0.3, 180, 270), (0.2, -0.2)], WIDTH, WHITE)
    _head(brush, (0.68, -0.2), (1, 0), 0.46)


def ahead_or_right(brush: Brush) -> None:
    brush.line([(-0.22, 0.68), (-0.22, -0.4)], 0.2, WHITE)
    brush.line([(-0.22, 0.3), (0.35, 0.3)], 0.2, WHITE)
    _head(brush, (-0.22, -0.78), (0, -1), 0.38)
    _head(brush, (0.7, 0.3), (1, 0), 0.36)


def keep_right(brush: Brush) -> None:
    brush.line([(-0.48, -0.48), (0.25, 0.25)], 0.26, WHITE)
    _head(brush, (0.56, 0.56), (0.7071, 0.7071), 0.5)


def turn_left(brush: Brush) -> None:
    turn_right(brush.mirrored())


def ahead_or_left(brush: Brush) -> None:
    ahead_or_right(brush.mirrored())


def keep_left(brush: Brush) -> None:
    keep_right(brush.mirrored())


def roundabout(brush: Brush) -> None:
    """Draw three arrows in a counter-clockwise circle."""
    for start in (10, 130, 250):
        brush.line(arc(0, 0, 0.58, start, start - 62), 0.18, WHITE)
        tip, back = arc(0, 0, 0.58, start - 96, 0)[0], arc(0, 0, 0.58, start - 72, 0)[0]
        length = ((tip[0] - back[0]) ** 2 + (tip[1] - back[1]) ** 2) ** 0.5
        _head(brush, tip, ((tip[0] - back[0]) / length, (tip[1] - back[1]) / length), 0.3)
