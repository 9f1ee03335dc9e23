"""SVG in small pieces: marks, text that fits, scales and round ticks. Every text is escaped here and nowhere else.

Presentation comes from classes (static/charts.css): no drawing carries a style or an id, so a strict content security
policy holds and two drawings on one page cannot disturb each other. Lengths are px, text widths are estimates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safeml.report.text import visible

FONT = 11.5
SLACK = 1.12  # system fonts differ by 12 % in width
BOLD = 1.1
LABEL_GAP = 15.0
LONGEST_LABEL = 700


@dataclass(frozen=True)
class Scale:
    """A linear map of [low, high] onto [start, end] px; a single value lies in the middle."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)


def drawable(values: Sequence[float]) -> bool:
    """Whether an axis can hold the values: far beyond any measurement, floating point loses their distances."""
    distance = max(values) - min(values)
    return max(map(abs, values)) < 1e300 and not 0 < distance < 1e-300


def px(value: float) -> str:
    """A coordinate with at most one decimal."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def drawing(width: float, height: float, label: str, parts: Iterable[Markup], css: str = "chart") -> Markup:
    """One SVG picture with its description for a screen reader."""
    frame = Markup(
        '<svg role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}" class="{}">{}</svg>'
    )
    wide, high = px(width), px(height)
    return frame.format(visible(label, LONGEST_LABEL), wide, high, wide, high, css, Markup("").join(parts))


def nothing(width: float, title: str, reason: str = "nothing to draw") -> Markup:
    """The sentence in place of a chart that cannot be drawn."""
    sentence = f"{shorten(title, 60)}: {reason}."
    return drawing(width, 32, sentence, [words(0, 20, fit(sentence, width))])


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    mark = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return mark.format(css, px(x1), px(y1), px(x2), px(y2))


def rect(x: float, y: float, width: float, height: float, css: str, title: str = "") -> Markup:
    mark = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>')
    return mark.format(css, px(x), px(y), px(max(width, 0)), px(max(height, 0)), _title(title))


def circle(x: float, y: float, radius: float, css: str) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(css, px(x), px(y), px(radius))


def group(title: str, parts: Iterable[Markup]) -> Markup:
    """Marks that belong together, with what a pointer shows on any of them."""
    return Markup("<g>{}{}</g>").format(_title(title), Markup("").join(parts))


def polyline(points: Sequence[tuple[float, float]], css: str, title: str = "") -> Markup:
    return path("M" + "L".join(f"{px(x)} {px(y)}" for x, y in points), css, title)


def path(d: str, css: str, title: str = "") -> Markup:
    return Markup('<path class="{}" d="{}">{}</path>').format(css, d, _title(title))


def words(
    x: float, y: float, text: str, css: str = "words", anchor: str = "start", title: str = ""
) -> Markup:
    """Text at its full length: shorten or fit it first."""
    mark = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}{}</text>')
    return mark.format(css, px(x), px(y), anchor, visible(text, LONGEST_LABEL), _title(title))


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(visible(text, 200)) if text else Markup("")


def shorten(text: str, most: int) -> str:
    """The text with its hidden characters made visible, cut at its end to `most` characters."""
    shown = visible(text[: most + 1], most + 1)
    return shown[: most - 1].rstrip() + "…" if len(shown) > most else shown


def fit(text: str, width: float, most: int = 200) -> str:
    """The text cut at its end so that it takes at most `width` px in any usual font."""
    shown = shorten(text, most)
    if text_width(shown) <= width:
        return shown
    while shown and text_width(shown + "…") > width:
        shown = shown[:-1]
    return shown.rstrip() + "…"


def text_width(text: str) -> float:
    """An upper estimate of a text's width in px, from the usual proportions of sans-serif letters."""
    return SLACK * FONT * sum(_em(letter) for letter in text)


def _em(letter: str) -> float:
    if ord(letter) > 0x2E7F:
        return 1.0
    if letter in "ijlt.,:;'|!()[] f\u202f":
        return 0.32
    if letter in "mwMW%@…":
        return 0.85
    return 0.66 if letter.isupper() else 0.55


def round_ticks(low: float, high: float) -> list[float]:
    """Three to five round numbers that hold [low, high]; the outer two are the ends of the axis."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, low + pad
    power = math.floor(math.log10((high - low) / 4))
    for exponent in (power, power + 1):
        for mantissa in (1, 2, 2.5, 5):
            step = mantissa * 10.0**exponent
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if 2 <= last - first <= 4:
                return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    return [low, (low + high) / 2, high]


def spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Label positions LABEL_GAP or more apart, near to the wanted ones and in their order, inside [top, bottom]."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    placed = [0.0] * len(wanted)
    last = top - LABEL_GAP
    for k in order:
        last = placed[k] = max(wanted[k], last + LABEL_GAP)
    last = bottom + LABEL_GAP
    for k in reversed(order):
        last = placed[k] = min(placed[k], last - LABEL_GAP)
    return placed


def thinned(count: int, pitch: float, room: float) -> int:
    """Of `count` steps of `pitch` px, label every n-th so that each label has `room` px: n is 1, 2, 5, 10, 20, 50, ..."""
    step = 1
    for factor in (2, 2.5, 2) * 5:
        if step * pitch >= room or step >= count:
            break
        step = int(step * factor)
    return step
