"""Figures as SVG, drawn from records with plain Python: one file a kind of figure, `svg` beneath them. No framework, no numpy."""

from safeml.report.charts.bars import draw_bars
from safeml.report.charts.card import draw_card, hatched_card
from safeml.report.charts.curve import draw_curve
from safeml.report.charts.dots import draw_dots
from safeml.report.charts.heat import draw_matrix

__all__ = ["draw_bars", "draw_card", "draw_curve", "draw_dots", "draw_matrix", "hatched_card"]
