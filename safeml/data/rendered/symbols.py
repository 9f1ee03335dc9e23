"""The pictograms, each drawn in the unit square -1..1 of its brush."""

from __future__ import annotations

from safeml.data.rendered.brush import BLACK, GREEN, GREY, RED, WHITE, YELLOW, Brush, Colour, arc
from safeml.data.rendered.faces import end_stripes


def nothing(brush: Brush) -> None:
    """Draw an empty sign."""


def stop_word(brush: Brush) -> None:
    brush.text("STOP", 1.56, 0.66, WHITE)


def speed_limit(brush: Brush, number: str, colour: Colour = BLACK) -> None:
    brush.text(number, 0.92 if len(number) == 2 else 1.12, 0.78, colour)


def speed_limit_end(brush: Brush) -> None:
    brush.text("80", 1.3, 0.95, GREY)
    end_stripes(brush)


def _car(brush: Brush, colour: Colour) -> None:
    brush.polygon([(-0.95, 0.0), (-0.6, -0.5), (0.6, -0.5), (0.95, 0.0), (0.95, 0.5), (-0.95, 0.5)], colour)
    brush.polygon([(-0.62, -0.03), (-0.45, -0.33), (0.45, -0.33), (0.62, -0.03)], WHITE)
    for x in (-0.65, 0.65):
        brush.bar(x - 0.2, 0.4, x + 0.2, 0.75, colour)


def _truck_from_behind(brush: Brush, colour: Colour) -> None:
    brush.bar(-0.85, -1.1, 0.85, 0.5, colour)
    for x in (-0.55, 0.55):
        brush.bar(x - 0.2, 0.4, x + 0.2, 0.75, colour)


def no_passing(brush: Brush, left: Colour = RED, right: Colour = BLACK) -> None:
    _car(brush.at(-0.32, 0.0, 0.31), left)
    _car(brush.at(0.32, 0.0, 0.31), right)


def no_passing_trucks(brush: Brush, left: Colour = RED, right: Colour = BLACK) -> None:
    _truck_from_behind(brush.at(-0.32, 0.02, 0.36), left)
    _car(brush.at(0.34, 0.08, 0.28), right)


def no_passing_end(brush: Brush) -> None:
    no_passing(brush.at(0, 0, 1.25), GREY, GREY)
    end_stripes(brush)


def no_passing_trucks_end(brush: Brush) -> None:
    no_passing_trucks(brush.at(0, 0, 1.3), GREY, GREY)
    end_stripes(brush)


def truck(brush: Brush) -> None:
    here = brush.at(0, -0.02, 0.55)
    here.bar(-0.35, -0.6, 1.0, 0.3, BLACK)
    here.polygon([(-0.45, -0.35), (-0.8, -0.35), (-1.0, 0.0), (-1.0, 0.45), (-0.45, 0.45)], BLACK)
    here.bar(-1.0, 0.25, 1.0, 0.42, BLACK)
    for x in (-0.65, 0.2, 0.65):
        here.disc(x, 0.48, 0.2, BLACK)


def right_of_way(brush: Brush) -> None:
    brush.bar(-0.19, -0.35, 0.19, 1.0, BLACK)
    brush.polygon([(0, -1.05), (0.45, -0.3), (-0.45, -0.3)], BLACK)
    brush.bar(-0.72, 0.16, 0.72, 0.48, BLACK)


def exclamation_mark(brush: Brush) -> None:
    brush.polygon([(-0.2, -1.0), (0.2, -1.0), (0.12, 0.45), (-0.12, 0.45)], BLACK)
    brush.disc(0, 0.8, 0.2, BLACK)


def curve(brush: Brush) -> None:
    """Draw a curve to the left."""
    brush.line([(0.45, 1.0), (0.45, 0.3), (0.3, 0.0), (0.0, -0.15), (-0.2, -0.2)], 0.36, BLACK)
    brush.polygon([(-0.75, -0.25), (-0.1, -0.68), (-0.1, 0.26)], BLACK)


def double_curve(brush: Brush) -> None:
    brush.line([(0.3, 1.0), (0.3, 0.45), (-0.25, 0.05), (-0.25, -0.4)], 0.34, BLACK)
    brush.polygon([(-0.25, -1.0), (0.2, -0.35), (-0.7, -0.35)], BLACK)


def bumps(brush: Brush) -> None:
    brush.bar(-1.1, 0.7, 1.1, 0.95, BLACK)
    for x in (-0.5, 0.5):
        brush.polygon(arc(x, 0.75, 0.45, 180, 360), BLACK)


def slippery_car(brush: Brush) -> None:
    _car(brush.at(0.05, -0.2, 0.55), BLACK)
    for x in (-0.35, 0.35):
        brush.line([(x, 0.35), (x + 0.25, 0.55), (x - 0.25, 0.8), (x, 1.0)], 0.15, BLACK)


def narrow_right(brush: Brush) -> None:
    brush.line([(-0.4, 1.0), (-0.4, -0.55)], 0.2, BLACK)
    brush.line([(0.5, 1.0), (0.5, 0.45), (0.12, 0.05), (0.12, -0.55)], 0.24, BLACK)


def road_worker(brush: Brush) -> None:
    brush.disc(-0.1, -0.65, 0.2, BLACK)
    brush.line([(-0.2, -0.35), (-0.5, 0.25)], 0.36, BLACK)
    brush.line([(-0.5, 0.25), (-0.15, 0.6), (-0.25, 1.0)], 0.2, BLACK)
    brush.line([(-0.5, 0.25), (-0.85, 1.0)], 0.2, BLACK)
    brush.line([(-0.15, -0.25), (0.2, 0.1), (-0.05, 0.15), (0.45, 0.65)], 0.14, BLACK)
    brush.polygon([(0.15, 1.0), (0.65, 0.45), (1.15, 1.0)], BLACK)


def traffic_light(brush: Brush) -> None:
    brush.disc(0, -0.62, 0.34, RED)
    brush.disc(0, 0.1, 0.34, YELLOW)
    brush.disc(0, 0.82, 0.34, GREEN)


def _walker(brush: Brush) -> None:
    brush.disc(0.0, -0.85, 0.2, BLACK)
    brush.line([(0.0, -0.5), (0.0, 0.1)], 0.34, BLACK)
    brush.line([(0.0, 0.1), (0.35, 0.5), (0.45, 1.0)], 0.2, BLACK)
    brush.line([(0.0, 0.1), (-0.15, 0.5), (-0.5, 0.95)], 0.2, BLACK)
    brush.line([(-0.05, -0.45), (-0.45, 0.0)], 0.15, BLACK)
    brush.line([(0.05, -0.45), (0.45, -0.05)], 0.15, BLACK)


def pedestrian(brush: Brush) -> None:
    _walker(brush.at(0, -0.05, 0.95))
    for x in (-0.95, 0.95):
        brush.line([(x - 0.2, 0.98), (x + 0.2, 0.98)], 0.12, BLACK)


def children(brush: Brush) -> None:
    _walker(brush.at(0.4, 0.1, 0.9))
    _walker(brush.at(-0.55, 0.35, 0.66))


def bicycle(brush: Brush) -> None:
    for x in (-0.66, 0.66):
        brush.ring(x, 0.5, 0.4, 0.15, BLACK)
    brush.line([(-0.66, 0.5), (-0.3, -0.15), (0.35, -0.15), (0.0, 0.5), (-0.66, 0.5)], 0.13, BLACK)
    brush.line([(0.66, 0.5), (0.3, -0.4), (0.5, -0.45)], 0.13, BLACK)
    brush.line([(-0.5, -0.35), (-0.15, -0.35)], 0.13, BLACK)


def snowflake(brush: Brush) -> None:
    for turn in range(6):
        ((x, y),) = arc(0, 0.15, 0.85, 60 * turn + 30, 60 * turn + 30)[:1]
        brush.line([(0, 0.15), (x, y)], 0.17, BLACK)
        ((bx, by),) = arc(0, 0.15, 0.5, 60 * turn + 30, 60 * turn + 30)[:1]
        for side in (-45, 45):
            brush.line([(bx, by), arc(bx, by, 0.3, 60 * turn + 30 + side, 0)[0]], 0.13, BLACK)


def deer(brush: Brush) -> None:
    """Draw a deer leaping to the left."""
    brush.polygon([(-0.5, -0.1), (0.6, 0.2), (0.75, 0.55), (0.1, 0.55), (-0.45, 0.3)], BLACK)
    brush.line([(-0.35, 0.1), (-0.5, -0.4), (-0.75, -0.35)], 0.24, BLACK)
    brush.line([(-0.45, -0.5), (-0.2, -0.75), (-0.25, -1.0)], 0.1, BLACK)
    brush.line([(-0.45, -0.5), (-0.05, -0.6)], 0.1, BLACK)
    brush.line([(-0.4, 0.25), (-0.95, 0.45), (-0.9, 0.7)], 0.15, BLACK)
    brush.line([(-0.3, 0.35), (-0.6, 0.75)], 0.15, BLACK)
    brush.line([(0.6, 0.35), (0.75, 0.75), (1.1, 1.0)], 0.17, BLACK)
    brush.line([(0.5, 0.45), (0.45, 0.8), (0.8, 1.05)], 0.15, BLACK)
