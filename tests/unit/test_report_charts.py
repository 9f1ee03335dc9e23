"""Charts: well-formed SVG, geometry that follows the numbers, hostile labels, and nothing that looks better than it is."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import get_args

import pytest

from safeml.report.charts import draw_bars, draw_curve, draw_dots
from safeml.report.charts.svg import LABEL_GAP, round_ticks, spread
from safeml.report.figures import DRAW, Chart, draw_card
from safeml.results import (
    Dot,
    Figure,
    Gallery,
    Series,
    Strip,
    Table,
)
from tests.figures import (
    EVERY,
    WIDTHS,
    bars,
    curve,
    dots,
    draw,
    grid,
    having,
    main,
    number_of,
    parse,
    reliability,
    spoken,
)

pytestmark = pytest.mark.slow


def points(path: ET.Element) -> list[tuple[float, float]]:
    pairs = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
    return [(float(x), float(y)) for x, y in pairs]


def test_every_kind_of_figure_has_a_drawing_and_a_test_row() -> None:
    kinds = set(get_args(get_args(Figure)[0]))
    assert set(DRAW) == kinds
    assert {kind for kind, shown in DRAW.items() if isinstance(shown, Chart)} == set(
        map(type, EVERY.values())
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", EVERY)
def test_every_drawing_is_well_formed_inert_and_described(name: str, width: int) -> None:
    drawing = draw(EVERY[name], width)
    root = parse(drawing)
    assert number_of(root, "width") == width
    assert len(root.get("aria-label", "")) > 10
    assert not re.search(r"[\u0000\u202a-\u202e\u2066-\u2069]|nan|inf\b", drawing)
    for element in root.iter():
        assert element.tag in {"svg", "g", "line", "rect", "circle", "path", "text", "title"}
        assert not {
            name for name in element.attrib if name in ("style", "id", "href") or name.startswith("on")
        }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", EVERY)
def test_no_mark_leaves_the_picture(name: str, width: int) -> None:
    root = parse(draw(EVERY[name], width))
    height = number_of(root, "height")
    edges = {
        "x": width,
        "x1": width,
        "x2": width,
        "cx": width,
        "y": height,
        "y1": height,
        "y2": height,
        "cy": height,
    }
    for element in root.iter():
        for key, limit in edges.items():
            if element.get(key) is not None:
                assert -0.1 <= number_of(element, key) <= limit + 0.1, (element.tag, element.attrib)
        if element.tag == "rect":
            assert number_of(element, "x") + number_of(element, "width") <= width + 0.1
        if element.tag == "path":
            assert all(-0.1 <= x <= width + 0.1 and -0.1 <= y <= height + 0.1 for x, y in points(element))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", EVERY)
def test_no_text_leaves_the_picture_at_its_usual_width(name: str, width: int) -> None:
    share = {"start": 0.0, "middle": 0.5, "end": 1.0}
    for element in parse(draw(EVERY[name], width)).iter("text"):
        usual = 11.5 * 0.5 * len(element.text or "")  # half an em a letter is the average of sans-serif prose
        left = number_of(element, "x") - share[element.get("text-anchor", "start")] * usual
        assert left >= -0.25 * usual
        assert left + usual <= width + 0.25 * usual


@pytest.mark.parametrize("name", EVERY)
def test_cards_are_small_wordless_and_well_formed(name: str) -> None:
    root = parse(draw_card(EVERY[name]))
    assert (root.get("width"), root.get("height")) == ("182", "64")
    assert not list(root.iter("text"))
    assert len(draw_card(EVERY[name])) < 12_000 or name == "thousand bars"


@pytest.mark.parametrize(
    "figure",
    [
        None,
        Table(id="t", title="t", columns=[], rows=[]),
        Gallery(id="g", title="g", items=[]),
        Strip(id="s", title="s", columns=[], rows=[]),
        curve(),
        dots(),
        grid([]),
        grid([[None]]),
        reliability([None]),
    ],
)
def test_a_card_without_a_drawing_is_hatched(figure: Figure | None) -> None:
    root = parse(draw_card(figure))
    assert having(root, "hatch")
    assert not having(root, "dot")


def test_100_percent_lies_on_the_top_gridline_and_0_on_the_bottom_one() -> None:
    root = parse(draw_curve(curve(main([1.0, 0.0]), percent=True), 760))
    grid = [e for e in root.iter("line") if e.get("class") in ("grid", "axis") and e.get("y1") == e.get("y2")]
    horizontal = [number_of(e, "y1") for e in grid]
    (_, top), (_, bottom) = points(having(root, "main")[0])
    assert (top, bottom) == (min(horizontal), max(horizontal))


def test_a_falling_curve_falls_and_its_band_holds_it() -> None:
    y = [0.97, 0.8, 0.41, 0.2]
    root = parse(draw_curve(curve(main(y, 0.03), percent=True), 358))
    line = points(having(root, "main")[0])
    assert [b for _, b in line] == sorted(b for _, b in line)
    band = points(having(root, "band")[0])
    upper, lower = band[: len(y)], band[len(y) :][::-1]
    for (x, at), (x_up, high), (x_low, low) in zip(line, upper, lower, strict=True):
        assert x == x_up == x_low
        assert high < at < low


def test_equal_steps_of_the_value_are_equal_steps_on_the_axis() -> None:
    root = parse(draw_curve(curve(main([0.2, 0.5, 0.8]), percent=True), 760))
    (x0, y0), (x1, y1), (x2, y2) = points(having(root, "main")[0])
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.11)


def test_a_percent_axis_is_never_zoomed() -> None:
    near = parse(draw_curve(curve(main([0.99, 0.98]), percent=True), 760))
    far = parse(draw_curve(curve(main([0.99, 0.0]), percent=True), 760))
    assert points(having(near, "main")[0])[0][1] == points(having(far, "main")[0])[0][1]


def test_labels_at_line_ends_keep_their_distance_and_their_order() -> None:
    series = [Series(name=f"attack {k}", x=[0, 1], y=[0.9, 0.3 + 0.001 * k]) for k in range(8)]
    root = parse(draw_curve(curve(*series, percent=True), 760))
    places = {
        (e.text or ""): number_of(e, "y") for e in root.iter("text") if (e.text or "").startswith("attack")
    }
    ys = [places[name] for name in sorted(places)]
    assert len(ys) == 8
    assert ys == sorted(ys, reverse=True)
    assert all(a - b >= 12 for a, b in pairwise(ys))


def test_what_is_not_measured_says_so_and_has_no_mark() -> None:
    root = parse(draw_dots(dots(Dot(label="night", value=None)), 760))
    assert "not measured" in spoken(root)
    assert not list(root.iter("circle"))
    assert "not measured" in root.get("aria-label", "")


def test_dots_lie_at_their_value_inside_their_interval() -> None:
    found = [
        Dot(label=f"g{k}", value=v, low=v - 0.1, high=v + 0.1, n=9) for k, v in enumerate((0.2, 0.5, 0.8))
    ]
    root = parse(draw_dots(dots(*found), 760))
    xs = [number_of(dot, "cx") for dot in having(root, "dot")]
    assert xs[2] - xs[1] == pytest.approx(xs[1] - xs[0], abs=0.11)
    for x, bar in zip(xs, having(root, "interval"), strict=True):
        assert number_of(bar, "x") + number_of(bar, "width") / 2 == pytest.approx(x, abs=0.11)


def test_many_dots_stand_in_two_columns_where_there_is_room() -> None:
    wide, narrow = (number_of(parse(draw(EVERY["dots"], width)), "height") for width in WIDTHS)
    assert wide < 0.6 * narrow


def test_the_length_of_a_bar_is_its_value_on_either_side_of_zero() -> None:
    root = parse(draw_bars(bars([10.0, -10.0, 5.0]), 760))
    left, right = having(root, "bar")[1], having(root, "bar")[0]
    half = having(root, "bar")[2]
    assert number_of(left, "width") == pytest.approx(number_of(right, "width"), abs=0.11)
    assert number_of(left, "width") == pytest.approx(2 * number_of(half, "width"), abs=0.21)
    assert number_of(left, "x") + number_of(left, "width") == pytest.approx(number_of(right, "x"), abs=0.11)


def test_standing_bars_below_zero_hang_as_long_as_they_are() -> None:
    root = parse(draw_bars(bars([10.0, -10.0, *[0.0] * 18]), 760))
    up, down = having(root, "bar")[:2]
    assert number_of(up, "height") == pytest.approx(number_of(down, "height"), abs=0.11)
    assert number_of(up, "height") > 50
    assert number_of(up, "y") + number_of(up, "height") == pytest.approx(number_of(down, "y"), abs=0.11)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (EVERY["curve"], ["90.0", "50.0", "10.0", "8/255"]),
        (EVERY["few bars"], ["1", "20", "300"]),
        (EVERY["many bars"], ["43 categories", "42", "class 42"]),
        (
            dots(Dot(label="a", value=0.25, low=0.2, high=0.3, n=7), overall=0.5),
            ["25.0", "20.0 to 30.0", "7", "50.0"],
        ),
        (
            EVERY["grid"],
            ["2 rows, 3 columns", "row 1, severity 3: 0.0", "row 0, severity 2: 80.0", "1 not measured"],
        ),
        (EVERY["reliability"], ["3 bins with images", "10,110 images", "3 of 3 bins outside", "30.0"]),
        (EVERY["small matrix"], ["20 predictions", "1 incorrect", "class 0 as class 1"]),
    ],
)
def test_the_description_holds_the_main_numbers(figure: Figure, said: list[str]) -> None:
    label = parse(draw(figure, 760)).get("aria-label", "")
    assert [part for part in said if part not in label] == []


@pytest.mark.parametrize(
    "name",
    [
        "no series",
        "empty series",
        "no bars",
        "no dots",
        "empty matrix",
        "empty grid",
        "no bins",
        "empty bins",
    ],
)
def test_nothing_to_draw_is_said(name: str) -> None:
    assert "nothing to draw" in spoken(parse(draw(EVERY[name], 358)))


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 1), (0, 2.31), (-3, 7), (0, 1980), (1000, 1010), (5, 5), (-2, -2), (0, 0), (1e-9, 2e-9)],
)
def test_ticks_are_round_few_and_hold_the_range(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    assert 3 <= len(ticks) <= 5
    assert ticks[0] <= low <= high <= ticks[-1]
    step = ticks[1] - ticks[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 2.5, 5, 10)) < 1e-6


def test_labels_that_do_not_collide_stay_where_they_are() -> None:
    assert spread([10.0, 100.0, 60.0], 0, 200) == [10.0, 100.0, 60.0]
    crowded = spread([199.0] * 5, 0, 200)
    assert max(crowded) == 200
    assert sorted(b - a for a, b in pairwise(sorted(crowded))) == [LABEL_GAP] * 4
