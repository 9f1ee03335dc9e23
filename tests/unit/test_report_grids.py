"""Heat grids, matrices and reliability diagrams of the report."""

from __future__ import annotations

import pytest

from safeml.report.charts import draw_grid, draw_matrix, draw_reliability
from safeml.report.charts import grid as grid_chart
from safeml.report.charts import reliability as reliability_chart
from safeml.report.charts.matrix import level
from safeml.results import (
    GridMark,
)
from tests.figures import (
    EVERY,
    WIDTHS,
    confused,
    draw,
    grid,
    having,
    matrix,
    number_of,
    parse,
    reliability,
    spoken,
)


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
