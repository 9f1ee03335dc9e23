"""Numbers in words: the one place that formats a number for a reader (verdicts, messages, reports).

Proportions come as 0..1 and are written in percent. The minus sign is U+2212 and a narrow no-break space (U+202F) stands
before the percent sign, so that a number never breaks across lines. A missing measurement is written as "not measured", never as 0.
"""

from __future__ import annotations

from typing import Literal

Unit = Literal["proportion", "count", "ratio", "cost", "target"]

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
PERCENT = NARROW_SPACE + "%"
NOT_MEASURED = "not measured"
MOST_DECIMALS = 4


def percent(x: float | None, limit: float | None = None) -> str:
    """Write a proportion as percent: 0.412 -> 41.2 %.

    One decimal; two where the limit is below 3 % or above 98 %. A number is never rounded onto its limit, nor onto 0 or
    100 %, unless it is that: decimals are added, up to four, until the reader can see on which side it lies.
    """
    return NOT_MEASURED if x is None else _in_percent(x, decimals(limit, x)) + PERCENT


def limit_percent(x: float) -> str:
    """Write a limit as percent without needless decimals: 0.45 -> 45 %, 0.005 -> 0.5 %."""
    return f"{round(100 * x, MOST_DECIMALS):.10g}".replace("-", MINUS) + PERCENT


def number(x: float | None) -> str:
    """Write a count with thousands separators (10,200), any other number with three significant digits (0.0123)."""
    if x is None:
        return NOT_MEASURED
    if x == int(x):
        return f"{int(x):,}".replace("-", MINUS)
    if abs(x) >= 100:
        return f"{x:,.1f}".replace("-", MINUS)
    if abs(x) < 1e-4:
        return f"{x:.2e}".replace("-", MINUS)
    return f"{x:.3g}".replace("-", MINUS)


def interval(
    low: float | None, high: float | None, limit: float | None = None, unit: Unit = "proportion"
) -> str:
    """Write both ends, the sign once: 38.2 to 44.3 %. Without an interval: no interval."""
    if low is None or high is None:
        return "no interval"
    if unit != "proportion":
        return f"{number(low)} to {number(high)}"
    places = max(decimals(limit, low), decimals(limit, high))
    return f"{_in_percent(low, places)} to {_in_percent(high, places)}{PERCENT}"


def quantity(x: float | None, unit: Unit, limit: float | None = None) -> str:
    """Write a metric's value in its unit."""
    return percent(x, limit) if unit == "proportion" else number(x)


def limit_quantity(x: float, unit: Unit) -> str:
    """Write a gate's limit in its metric's unit."""
    return limit_percent(x) if unit == "proportion" else number(x)


def decimals(limit: float | None, x: float) -> int:
    """Decimals of the percentage `x` near this limit: 1 or 2, more where it would be rounded onto 0, 100 % or the limit."""
    places = 2 if limit is not None and (abs(limit) < 0.03 or limit > 0.98) else 1
    landmarks = [mark for mark in (0.0, 1.0, limit) if mark is not None and mark != x]
    while places < MOST_DECIMALS and any(_rounds_to(x, mark, places) for mark in landmarks):
        places += 1
    return places


def counted(count: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun: 1 gate, 3 gates."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def _rounds_to(x: float, limit: float, places: int) -> bool:
    return round(100 * x, places) == round(100 * limit, places)


def _in_percent(x: float, places: int) -> str:
    text = f"{100 * x:.{places}f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", MINUS)
