"""Figures as SVG, drawn from records with plain Python: one file for each kind of figure, `svg` and `mini` below them. No framework, no NumPy."""

from safeml.report.charts.bars import draw_bars
from safeml.report.charts.curve import draw_curve
from safeml.report.charts.dots import draw_dots
from safeml.report.charts.grid import draw_grid
from safeml.report.charts.matrix import draw_matrix
from safeml.report.charts.reliability import draw_reliability

__all__ = ["draw_bars", "draw_curve", "draw_dots", "draw_grid", "draw_matrix", "draw_reliability"]
