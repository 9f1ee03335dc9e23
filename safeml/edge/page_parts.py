"""Pieces of an HTML page as texts. Everything that is not a piece is escaped, so a label of a bundle cannot become an element."""

import html
from typing import Any, Dict, List, Sequence, Tuple

from .output import printable

MARKS = """<svg width="0" height="0" aria-hidden="true">
<symbol id="i-pass" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7.5" fill="currentColor"/><path d="M4.6 8.3l2.3 2.3 4.6-5" fill="none" stroke="var(--surface)" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-fail" viewBox="0 0 16 16"><path d="M5 .5h6L15.5 5v6L11 15.5H5L.5 11V5z" fill="currentColor"/><path d="M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4" stroke="var(--surface)" stroke-width="1.8" stroke-linecap="round"/></symbol>
<symbol id="i-unsure" viewBox="0 0 16 16"><path d="M8 .9L15.1 8 8 15.1.9 8z" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M6.4 6.6C6.4 4.6 9.7 4.7 9.6 6.6 9.5 7.8 8 7.8 8 9.2M8 11v.9" fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round"/></symbol>
<symbol id="i-none" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.8" fill="none" stroke="currentColor" stroke-width="1.4" stroke-dasharray="2.6 2"/><path d="M5 8h6" stroke="currentColor" stroke-width="1.5"/></symbol>
</svg>"""
# Word and colour of each status of a check.
STATES = {
    "passed": ("passed", "pass"),
    "failed": ("failed", "fail"),
    "note": ("note", "unsure"),
    "not_run": ("not run", "none"),
}


class Html(str):
    """Text that is HTML already."""


def text(value: Any) -> Html:
    """Return a value as escaped text; what is not printable is shown as an escape."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(printable(str(value)), quote=True))


def icon(colour: str) -> Html:
    """Return the mark of a colour, without a word."""
    return Html(f'<svg class="icon {colour}" aria-hidden="true"><use href="#i-{colour}"/></svg>')


def state(status: str) -> Html:
    """Return mark and word of a status, a key of `STATES`."""
    word, colour = STATES.get(status, (status, "none"))
    return Html(f'<span class="state {text(colour)}">{icon(colour)}{text(word)}</span>')


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Tuple[int, ...] = ()) -> Html:
    """Return a table. numbers: columns that are set to the right."""

    def cell(tag: str, place: int, value: Any) -> str:
        return "<{0}{1}>{2}</{0}>".format(tag, ' class="num"' if place in numbers else "", text(value))

    head = "".join(cell("th", place, value) for place, value in enumerate(heads))
    lines = [
        "<tr>{}</tr>".format("".join(cell("td", place, value) for place, value in enumerate(row)))
        for row in rows
    ]
    return Html(
        '<div class="panel tight"><table class="table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'.format(
            head, "\n".join(lines)
        )
    )


def pairs(rows: Sequence[Tuple[str, Any]]) -> Html:
    """Return names with their values."""
    return Html(
        '<div class="panel keep"><dl class="kv">{}</dl></div>'.format(
            "\n".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows)
        )
    )


def section(title: str, *parts: Any) -> Html:
    """Return a section."""
    return Html(f"<h2>{text(title)}</h2>\n" + "\n".join(text(part) for part in parts))


def caption(words: str) -> Html:
    """Return a caption."""
    return Html(f'<p class="caption">{text(words)}</p>')


def histogram(edges: List[float], counts: List[float], marks: Dict[str, float]) -> Html:
    """Return bars of counts over milliseconds, with a line and a name for each mark.

    edges: one more than counts. marks: name and milliseconds; one beyond the last edge is drawn at it.
    """
    if not counts or len(edges) != len(counts) + 1:
        return Html("")
    width, height, left, top, base = 640.0, 220.0, 16.0, 40.0, 180.0
    low, high, most = edges[0], edges[-1], max(max(counts), 1)
    scale = (width - 2 * left) / (high - low if high > low else 1.0)
    parts = []
    for place, count in enumerate(counts):
        x, tall = left + (edges[place] - low) * scale, (base - top) * count / most
        wide = max(0.5, (edges[place + 1] - edges[place]) * scale - 1)
        parts.append(
            f'<rect class="bar" x="{x:.1f}" y="{base - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"/>'
        )
    parts.append(f'<line class="axis" x1="{left}" y1="{base}" x2="{width - left}" y2="{base}"/>')
    for place in range(5):
        value = low + (high - low) * place / 4
        anchor = "start" if not place else ("end" if place == 4 else "middle")
        parts.append(
            f'<text x="{left + (value - low) * scale:.1f}" y="{base + 18:.0f}" text-anchor="{anchor}">{value:.4g}</text>'
        )
    for place, (name, value) in enumerate(sorted(marks.items(), key=lambda entry: entry[1])):
        x = left + (min(max(value, low), high) - low) * scale
        end = x > width - 120
        parts.append(
            f'<line class="axis" x1="{x:.1f}" y1="{14 + 12 * (place % 3):.0f}" x2="{x:.1f}" y2="{base}"/>'
        )
        parts.append(
            '<text class="value" x="{:.1f}" y="{:.0f}" text-anchor="{}">{} {:.4g} ms</text>'.format(
                x - 4 if end else x + 4, 14 + 12 * (place % 3), "end" if end else "start", text(name), value
            )
        )
    parts.append(
        f'<text x="{width / 2:.0f}" y="{base + 36:.0f}" text-anchor="middle">milliseconds of one call</text>'
    )
    return Html(
        '<div class="panel keep"><svg class="chart" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" role="img" aria-label="Histogram of latencies">{}</svg></div>'.format(
            width, height, width, "".join(parts)
        )
    )


def shares(rows: Sequence[Tuple[str, float]]) -> Html:
    """Return one bar for each name, by its share of all."""
    total = sum(count for _, count in rows) or 1.0
    parts, width, left = [], 640.0, 130.0
    for place, (name, count) in enumerate(rows):
        y, wide = 8.0 + 28 * place, (width - left - 130) * count / total
        parts.append(f'<text class="value" x="0" y="{y + 14:.0f}">{text(name)}</text>')
        parts.append(
            f'<rect class="bar" x="{left:.0f}" y="{y:.0f}" width="{max(wide, 0.5):.1f}" height="18"/>'
        )
        parts.append(
            f'<text x="{left + wide + 8:.1f}" y="{y + 14:.0f}">{count:,.0f} ({100 * count / total:.1f} %)</text>'
        )
    height = 12 + 28 * len(rows)
    return Html(
        f'<div class="panel keep"><svg class="chart" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img" aria-label="Shares of decisions">{"".join(parts)}</svg></div>'
    )
