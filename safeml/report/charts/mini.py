"""The frame of a card's picture: 182 x 64 px, no text. One `card` function in each chart file draws into it."""

from __future__ import annotations

from markupsafe import Markup

from safeml.report.charts.svg import drawing, line, path, rect

WIDTH, HEIGHT = 182.0, 64.0
LEFT, RIGHT, TOP, BASE = 3.0, 179.0, 4.0, 60.0
HATCH = 9


def framed(label: str, marks: list[Markup]) -> Markup:
    """The marks as a picture with a description; without marks a hatched box."""
    return drawing(WIDTH, HEIGHT, label, marks, "chart mini") if marks else hatched_card()


def hatched_card() -> Markup:
    """The picture of a stage that has no figure to draw."""
    strokes = []
    for shift in range(HATCH, int(WIDTH + HEIGHT), HATCH):  # the lines x + y = shift, cut at the box
        left, right = max(0.0, shift - HEIGHT), min(float(shift), WIDTH)
        strokes.append(f"M{left:.0f} {shift - left:.0f}L{right:.0f} {shift - right:.0f}")
    parts = [path("".join(strokes), "hatch"), rect(0.5, 0.5, WIDTH - 1, HEIGHT - 1, "box")]
    return drawing(WIDTH, HEIGHT, "no picture", parts, "chart mini")


def base_line() -> Markup:
    return line(LEFT, BASE, RIGHT, BASE, "axis")
