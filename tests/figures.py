"""One figure of every kind, and how a drawing is read back."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from markupsafe import Markup

from safeml.report.figures import DRAW, Chart
from safeml.results import (
    Bars,
    Curve,
    Dot,
    DotPlot,
    Figure,
    Grid,
    GridCell,
    GridGroup,
    GridMark,
    GridRow,
    Matrix,
    Reliability,
    ReliabilityBin,
    Series,
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
