"""Charts: well-formed SVG, geometry that follows the numbers, hostile labels, and nothing that looks better than it is."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import get_args

import pytest
from markupsafe import Markup

from safeml.report.charts import draw_bars, draw_curve, draw_dots, draw_grid, draw_matrix, draw_reliability
from safeml.report.charts import grid as grid_chart
from safeml.report.charts import reliability as reliability_chart
from safeml.report.charts.matrix import level
from safeml.report.charts.svg import LABEL_GAP, round_ticks, spread
from safeml.report.figures import DRAW, Chart, draw_card
from safeml.results import (
    Bars,
    Curve,
    Dot,
    DotPlot,
    Figure,
    Gallery,
    Grid,
    GridCell,
    GridGroup,
    GridMark,
    GridRow,
    Matrix,
    Reliability,
    ReliabilityBin,
    Series,
    Strip,
    Table,
)

WIDTHS = (760, 358)
HOSTILE = '"><svg onload=alert(1)>\u202egnp.\u2066\x00' + "x" * 10_000


def draw(figure: Figure, width: int) -> Markup:
    shown = DRAW[type(figure)]
    assert isinstance(shown, Chart)
    return shown.draw(figure, width)


def parse(drawing: Markup) -> ET.Element:
    root = ET.fromstring(drawing)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    return root


def having(root: ET.Element, css: str, tag: str = "*") -> list[ET.Element]:
    return [element for element in root.iter() if element.get("class") == css and tag in ("*", element.tag)]


def points(path: ET.Element) -> list[tuple[float, float]]:
    pairs = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
    return [(float(x), float(y)) for x, y in pairs]


def number_of(element: ET.Element, name: str) -> float:
    return float(element.get(name, "nan"))


def spoken(root: ET.Element) -> str:
    return "".join("".join(element.itertext()) + "\n" for element in root.iter("text"))


def curve(*series: Series, **fields: object) -> Curve:
    return Curve.model_validate(
        {"id": "c", "title": "Curve", "x_label": "ε", "y_label": "accuracy", "series": series} | fields
    )


def main(y: list[float], spread: float | None = None, name: str = "worst case") -> Series:
    low = None if spread is None else [value - spread for value in y]
    high = None if spread is None else [value + spread for value in y]
    return Series(name=name, x=[float(k) for k in range(len(y))], y=y, low=low, high=high, role="main")


def bars(values: list[float], compare: list[float] | None = None) -> Bars:
    labels = [f"class {k}" for k in range(len(values))]
    return Bars(id="b", title="Bars", labels=labels, values=values, compare=compare, value_label="images")


def dots(*found: Dot, overall: float | None = None) -> DotPlot:
    return DotPlot(id="d", title="Dots", dots=list(found), overall=overall)


def matrix(values: list[list[int]]) -> Matrix:
    names = [f"class {k}" for k in range(len(values))]
    return Matrix(id="m", title="Matrix", row_labels=names, column_labels=names, values=values)


def confused(k: int) -> Matrix:
    """Every answer wrong or right occurs: the largest picture of `k` classes."""
    return matrix([[100 if i == j else 1 + (i * j) % 7 for j in range(k)] for i in range(k)])


def grid(values: list[list[float | None]], groups: int = 1, **fields: object) -> Grid:
    """Rows "row 0", ... in `groups` groups; each measured cell has an interval of 0.02 around it."""
    rows = [
        GridRow(
            label=f"row {k}",
            cells=[
                GridCell(value=None)
                if v is None
                else GridCell(value=v, low=max(0, v - 0.01), high=min(1, v + 0.01), n=6315)
                for v in row
            ],
        )
        for k, row in enumerate(values)
    ]
    size = -(-len(rows) // groups) or 1
    made = [GridGroup(heading=f"group {k}", rows=rows[k * size : (k + 1) * size]) for k in range(groups)]
    columns = [str(k + 1) for k in range(len(values[0]) if values else 0)]
    return Grid.model_validate(
        {"id": "g", "title": "Grid", "columns": columns, "groups": made, "column_label": "severity"} | fields
    )


def reliability(accuracy: list[float | None], **fields: object) -> Reliability:
    """Equal bins of 0..1 with their middle as confidence, a band of 0.1 around it, and 10, 100, 1000, ... images."""
    count = len(accuracy)
    bins = []
    for k, value in enumerate(accuracy):
        middle = (k + 0.5) / count
        edges = {"start": k / count, "end": (k + 1) / count}
        band = {"low": max(0, middle - 0.05), "high": min(1, middle + 0.05)}
        measured = (
            {} if value is None else {"confidence": middle, "accuracy": value, "n": 10 ** (k + 1), **band}
        )
        bins.append(ReliabilityBin(**edges, **measured))
    return Reliability.model_validate({"id": "r", "title": "Reliability", "bins": bins} | fields)


EVERY: dict[str, Figure] = {
    "curve": curve(main([0.9, 0.5, 0.1], 0.05), percent=True, x_ticks=[(0.0, "0"), (2.0, "8/255")]),
    "one point": curve(main([0.5], 0.1), percent=True),
    "equal values": curve(main([3.0, 3.0, 3.0])),
    "equal x": curve(Series(name="a", x=[1.0, 1.0], y=[1.0, 2.0])),
    "negative values": curve(main([-3.0, 2.0])),
    "large values": curve(main([1e308, 0.0])),
    "too far apart": curve(main([1e308, -1e308])),
    "tiny values": curve(main([5e-324, 0.0])),
    "many lines": curve(*(Series(name=f"line {k}", x=[0, 1], y=[k, k]) for k in range(40))),
    "no series": curve(),
    "empty series": curve(Series(name="a", x=[], y=[])),
    "few bars": bars([1.0, 20.0, 300.0], [2.0, 10.0, 400.0]),
    "many bars": bars([float(k) for k in range(43)], [43.0 - k for k in range(43)]),
    "thousand bars": bars([float(k) for k in range(1000)]),
    "one bar": bars([5.0]),
    "zero bars": bars([0.0, 0.0]),
    "negative bars": bars([-4.0, 2.0]),
    "no bars": bars([]),
    "dots": dots(
        *(Dot(label=f"g{k}", value=k / 43, low=0, high=1, n=3, compare=1) for k in range(43)), overall=0.5
    ),
    "one dot": dots(Dot(label="a", value=0.5), overall=0.0),
    "unmeasured dot": dots(Dot(label="a", value=None)),
    "dot outside": dots(Dot(label="a", value=1.5, low=-0.5, high=2.0)),
    "no dots": dots(),
    "small matrix": matrix([[9, 1, 0], [0, 10, 0], [0, 0, 0]]),
    "full matrix": confused(43),
    "large matrix": confused(120),
    "empty matrix": matrix([]),
    "grid": grid([[0.97, 0.8, None], [0.5, 0.2, 0.0]], 2, marks=[GridMark(column="2")]),
    "large grid": grid([[(i * j % 97) / 97 for j in range(30)] for i in range(43)], 4),
    "too large grid": grid([[0.5] * 45] * 70),
    "unmeasured grid": grid([[None, None]]),
    "grid of one": grid([[1.0]], worse="high"),
    "empty grid": grid([]),
    "reliability": reliability([0.3, 0.5, None, 0.95], compare=[(0.2, 0.1)], compare_label="before"),
    "one bin": reliability([1.0]),
    "many bins": reliability([k / 15 for k in range(15)]),
    "narrow bins": Reliability(
        id="r",
        title="Equal mass",
        bins=[
            ReliabilityBin(start=1 - 1e-4 / (k + 1), end=1, confidence=1, accuracy=0.9, n=300)
            for k in range(9)
        ],
    ),
    "no bins": reliability([]),
    "empty bins": reliability([None, None]),
    "hostile grid": Grid(
        id=HOSTILE,
        title=HOSTILE,
        columns=[HOSTILE, "b"],
        value_label=HOSTILE,
        row_label=HOSTILE,
        column_label=HOSTILE,
        groups=[
            GridGroup(
                heading=HOSTILE,
                rows=[GridRow(label=HOSTILE, cells=[GridCell(value=0.5), GridCell(value=None)])],
            )
        ],
        marks=[GridMark(column=HOSTILE, row=HOSTILE)],
    ),
    "hostile reliability": reliability([0.5], title=HOSTILE, compare=[(0, 0)], compare_label=HOSTILE),
    "hostile curve": curve(
        main([0.5, 0.4], name=HOSTILE),
        x_label=HOSTILE,
        y_label=HOSTILE,
        title=HOSTILE,
        x_ticks=[(0.0, HOSTILE)],
    ),
    "hostile bars": Bars(
        id=HOSTILE,
        title=HOSTILE,
        labels=[HOSTILE],
        values=[1.0],
        compare=[2.0],
        value_label=HOSTILE,
        compare_label=HOSTILE,
    ),
    "hostile dots": DotPlot(id=HOSTILE, title=HOSTILE, dots=[Dot(label=HOSTILE, value=0.5, n=1)]),
    "hostile matrix": Matrix(
        id=HOSTILE,
        title=HOSTILE,
        row_labels=[HOSTILE, "b"],
        column_labels=[HOSTILE, "b"],
        values=[[1, 2], [3, 4]],
    ),
}


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


def test_a_matrix_draws_only_confusions_and_darker_is_worse() -> None:
    root = parse(draw_matrix(matrix([[50, 50, 0], [1, 99, 0], [0, 0, 0]]), 760))
    titled = {e.findtext("title"): e.get("class") for e in root.iter("rect") if e.findtext("title")}
    assert set(titled) == {"00 as 01: 50 (50.0\u202f%)", "01 as 00: 1 (1.0\u202f%)"}
    assert titled["00 as 01: 50 (50.0\u202f%)"] == "h7"
    assert titled["01 as 00: 1 (1.0\u202f%)"] == "h2"
    assert len(having(root, "absent")) == 1  # the row without images does not look like one without errors
    assert [level(share / 100) for share in range(101)] == sorted(level(share / 100) for share in range(101))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_full_matrix_of_43_classes_stays_under_60_kb(width: int) -> None:
    assert len(draw_matrix(confused(43), width).encode()) < 60_000


def test_a_matrix_that_leaves_confusions_out_says_so() -> None:
    assert "largest of" in spoken(parse(draw_matrix(confused(120), 760)))
    assert "largest of" not in spoken(parse(draw_matrix(confused(43), 760)))


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


def test_a_darker_grid_cell_is_worse_and_its_title_has_the_interval() -> None:
    root = parse(draw_grid(grid([[0.99, 0.9, 0.5, None]]), 760))
    titled = {e.findtext("title"): e.get("class") for e in root.iter("rect") if e.findtext("title")}
    assert titled == {
        "row 0, severity 1: 99.0\u202f% (98.0 to 100.0\u202f%), n = 6,315": "h0",
        "row 0, severity 2: 90.0\u202f% (89.0 to 91.0\u202f%), n = 6,315": "h3",
        "row 0, severity 3: 50.0\u202f% (49.0 to 51.0\u202f%), n = 6,315": "h7",
        "row 0, severity 4: not measured": "open",
    }
    steps = [grid_chart.level(k / 100, "low") for k in range(101)]
    assert steps == sorted(steps, reverse=True)
    assert steps == [grid_chart.level(1 - k / 100, "high") for k in range(101)]


def test_a_grid_marks_each_cell_that_a_gate_reads() -> None:
    def corners(*marks: GridMark) -> int:
        return len(having(parse(draw_grid(grid([[0.9, 0.8], [0.7, 0.6]], marks=list(marks)), 760)), "corner"))

    assert [corners(), corners(GridMark(column="2", row="row 1")), corners(GridMark(column="2"))] == [0, 1, 2]


def test_a_grid_that_leaves_rows_out_says_so() -> None:
    assert "60 of 70 rows, 40 of 45 columns" in spoken(parse(draw(EVERY["too large grid"], 760)))
    assert "drawn:" not in spoken(parse(draw(EVERY["large grid"], 760)))


def test_the_table_of_a_grid_repeats_every_cell() -> None:
    view = grid_chart.numbers(grid([[0.97, None]], marks=[GridMark(column="1")]))
    assert [head["label"] for head in view["heads"]] == ["Row", "1", "2"]
    [row] = view["rows"]
    assert [(cell["text"], cell["sub"]) for cell in row] == [
        ("row 0", "group 0"),
        ("97.0\u202f%", "96.0 to 98.0\u202f%; n = 6,315; gate"),
        ("not measured", ""),
    ]


def test_a_perfectly_calibrated_model_lies_on_the_diagonal() -> None:
    root = parse(draw_reliability(reliability([0.125, 0.375, 0.625, 0.875]), 760))
    [diagonal] = having(root, "overall")
    x0, y0, x1, y1 = (number_of(diagonal, name) for name in ("x1", "y1", "x2", "y2"))
    dots = having(root, "dot")
    assert len(dots) == 4
    for dot in dots:
        share = (number_of(dot, "cx") - x0) / (x1 - x0)
        assert number_of(dot, "cy") == pytest.approx(y0 + share * (y1 - y0), abs=0.2)
    assert "0 of 4 bins outside" in root.get("aria-label", "")


def test_the_consistency_band_and_the_counts_follow_their_bins() -> None:
    root = parse(draw_reliability(reliability([0.1, None, 0.9]), 760))
    band, bar, counts = (having(root, css) for css in ("consistency", "interval", "faint"))
    assert len(band) == len(bar) == len(counts) == 2  # the empty bin has neither bar nor band
    height = {number_of(e, "height") for e in band}
    assert max(height) == pytest.approx(min(height), abs=0.11)  # both bands are 0.1 high
    assert number_of(counts[1], "height") > 2 * number_of(counts[0], "height")  # log10 of 1001 against 11
    assert "2 of 2 bins outside" in root.get("aria-label", "")


def test_the_table_of_a_reliability_diagram_has_a_row_a_bin() -> None:
    rows = reliability_chart.numbers(reliability([0.3, None]))["rows"]
    assert [[cell["text"] for cell in row] for row in rows] == [
        ["0.0 to 50.0\u202f%", "25.0\u202f%", "30.0\u202f%", "20.0 to 30.0\u202f%", "10"],
        ["50.0 to 100.0\u202f%", "–", "–", "–", "0"],
    ]


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
