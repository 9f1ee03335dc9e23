"""The few SVG elements that charts are made of. Every text is made visible and escaped here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from safeml.report.text import visible

CHARACTER = 6.4  # pixels of a wide character at 11.5 px: fonts vary by 12 %, so this errs wide


def frame(width: float, height: float, label: str, parts: Iterable[str], css: str = "chart") -> Markup:
    """A whole drawing; `label` says in words and numbers what it shows."""
    inside = "".join(parts)
    return Markup(
        f'<svg class="{css}" role="img" aria-label="{escape(visible(label, 600))}" viewBox="0 0 {n(width)} {n(height)}" '
        f'width="{n(width)}" height="{n(height)}">{inside}</svg>'
    )


def n(x: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{x:.1f}".removesuffix(".0") if x else "0"


def line(css: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{css}" x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}"/>'


def rect(css: str, x: float, y: float, width: float, height: float, title: str = "") -> str:
    shape = (
        f'<rect class="{css}" x="{n(x)}" y="{n(y)}" width="{n(max(width, 0))}" height="{n(max(height, 0))}"'
    )
    return f"{shape}><title>{escape(visible(title))}</title></rect>" if title else f"{shape}/>"


def circle(css: str, x: float, y: float, radius: float) -> str:
    return f'<circle class="{css}" cx="{n(x)}" cy="{n(y)}" r="{n(radius)}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", css: str = "t", limit: int = 200) -> str:
    cut = visible(words, 200)
    if len(cut) > limit:
        title, cut = f"<title>{escape(cut)}</title>", cut[: max(limit - 1, 1)] + "…"
    else:
        title = ""
    return f'<text class="{css}" x="{n(x)}" y="{n(y)}" text-anchor="{anchor}">{title}{escape(cut)}</text>'


def path(css: str, points: Sequence[tuple[float, float]], closed: bool = False) -> str:
    where = "L".join(f"{n(x)} {n(y)}" for x, y in points)
    return f'<path class="{css}" d="M{where}{"Z" if closed else ""}"/>' if points else ""


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Three to five round numbers that span low..high."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(step * k, 12) for k in range(first, last + 1)]


def short(x: float) -> str:
    """A tick's number."""
    return f"{x:.6g}".replace("-", "\u2212")


def nothing(width: float) -> Markup:
    return frame(
        width, 40, "nothing to draw", [text(0, 24, "Nothing was recorded to draw.", css="t muted-t")]
    )
