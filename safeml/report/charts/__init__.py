"""Charts as SVG drawn from numbers: no script, no style attribute; colours come from classes in static/charts.css."""

from safeml.report.charts.bars import draw_bars
from safeml.report.charts.card import draw_card
from safeml.report.charts.curve import draw_curve
from safeml.report.charts.dots import draw_dots
from safeml.report.charts.heat import draw_matrix

__all__ = ["draw_bars", "draw_card", "draw_curve", "draw_dots", "draw_matrix"]
