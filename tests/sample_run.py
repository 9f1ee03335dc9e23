"""Runs to draw: a realistic one with every state and every figure, a hostile one, and one gate in a given state."""

from __future__ import annotations

import base64
import io
import math
import random
from typing import Any

from PIL import Image, ImageDraw

from safeml.gates import decide
from safeml.results import (
    Bars,
    Card,
    Column,
    Curve,
    DataIdentity,
    Dot,
    DotPlot,
    Fact,
    Figure,
    Finding,
    Gallery,
    GalleryItem,
    Gate,
    Grid,
    GridCell,
    GridGroup,
    GridMark,
    GridRow,
    Matrix,
    Metric,
    ModelIdentity,
    Panel,
    Provenance,
    Reliability,
    ReliabilityBin,
    Run,
    RunTimes,
    Series,
    StageResult,
    Strip,
    StripRow,
    Table,
    Waiver,
)
from safeml.stages import StageSettings

TODAY = "2026-06-15"
CLASSES = [f"Class {k}" for k in range(43)]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "{{7*7}}{% raw %}",
    "</style><style>*{display:none}",
    "a\u202eb\u2066c",
    "nul\x00 esc\x1b[31m bell\x07",
    "two\nlines\r\nand | a pipe `code` *bold* [link](javascript:alert(1))",
    "=HYPERLINK(1)",
    "\U0001f6d1 stop",
    "x" * 10_000,
    "javascript:alert(1)",
    "<img src=x onerror=alert(1)>",
    "--><!--",
    "&lt;b&gt; &amp;",
]
TIMES = RunTimes(
    started="2026-06-15T07:20:00+00:00",
    finished="2026-06-15T08:01:12+00:00",
    seconds={"performance": 12.5, "adversarial": 1690.0},
    hardware={"system": "Linux", "cores": "2"},
    model_file_sha256="cd" * 32,
    code_commit="3c9e1f0aaa",
)


def metric(name: str, value: float | None = 0.97, half: float = 0.01, **fields: Any) -> Metric:
    ends = {} if value is None else {"low": value - half, "high": value + half}
    state = {"status": "undefined", "reason": "there is no image of this class"} if value is None else {}
    made = {
        "title": f"The {name}",
        "n": 6315,
        "signs": 421.0,
        "clustering": "declared",
        "method": "exact",
        **ends,
        **state,
    }
    return Metric(name=name, value=value, **{**made, **fields})  # type: ignore[arg-type]


def gate(gate_id: str, name: str, stage: str = "performance", threshold: float = 0.95, **fields: Any) -> Gate:
    return Gate(
        id=gate_id, stage=stage, metric=name, op=">=", threshold=threshold, rationale="A reason.", **fields
    )


def waiver(until: str = "2027-01-01") -> Waiver:
    return Waiver(owner="A. Owner", reason="known and accepted", until=until)


# state -> the metric's value, whether its stage ran, and the gate's waiver
CASES: dict[str, tuple[float | None, str, Waiver | None]] = {
    "pass": (0.97, "ok", None),
    "fail": (0.80, "ok", None),
    "not_proven": (0.95, "ok", None),
    "error": (None, "ok", None),
    "skipped": (0.97, "skipped", None),
    "waived": (0.80, "ok", waiver()),
}


def stage(name: str, **fields: Any) -> StageResult:
    return StageResult(stage=name, title=name.capitalize(), **fields)


def run_of(stages: list[StageResult], gates: list[Gate], **fields: Any) -> Run:
    identity = ModelIdentity(
        name="m.keras", fingerprint="9f2c41d7" * 8, input={"height": 32, "width": 32}, parameters=708123
    )
    test = DataIdentity(
        role="test",
        name="test",
        fingerprint="ab" * 32,
        images=6315,
        classes=43,
        signs=421,
        clustering="declared",
    )
    made = {
        "safeml_version": "0.1.0",
        "model": identity,
        "data": [test],
        "versions": {"python": "3.11"},
        "configuration": {},
    }
    deciding = {key: fields[key] for key in ("accepted", "profile", "accept_quick") if key in fields}
    verdict = decide(stages, gates, TODAY, **deciding)
    return Run(stages=stages, gates=gates, verdict=verdict, **{**made, **fields})


def run_with(state: str) -> Run:
    """A run of one gate in the given state."""
    value, status, waived = CASES[state]
    if status == "skipped":
        found = stage("performance", status="skipped", reason="it was switched off")
    else:
        found = stage("performance", metrics=[metric("clean_accuracy", value)])
    return run_of([found], [gate("the-gate", "clean_accuracy", waiver=waived)])


def picture(seed: int, size: int = 32) -> str:
    """Base64 of a small noisy drawing: as hard to compress as a photograph."""
    noise = random.Random(seed)
    image = Image.frombytes(
        "RGB", (size, size), bytes(noise.randrange(90, 170) for _ in range(size * size * 3))
    )
    ImageDraw.Draw(image).ellipse((4, 4, size - 5, size - 5), outline=(200, 30, 30), width=3)
    stream = io.BytesIO()
    image.save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def gallery(names: list[str], items: int = 24) -> Gallery:
    panels = [
        [Panel(label=label, png=picture(9 * k + j), width=32, height=32, kind=kind) for j, (label, kind) in enumerate(kinds)]
        for k, kinds in enumerate([(("clean", "image"), ("attacked", "image"), ("change", "change"))] * items)
    ]  # fmt: skip
    made = [
        GalleryItem(
            panels=p, true_name=names[k % len(names)], true_confidence=0.9, predicted_name=names[-1], index=k
        )
        for k, p in enumerate(panels)
    ]
    return Gallery(id="worst", title="Most confident mistakes", items=made, caption="Grey is zero.")


def grid(names: list[str]) -> Grid:
    """Accuracy by corruption and severity: 15 corruptions in five groups, one cell not measured, severity 3 read by a gate."""
    groups = []
    for g, heading in enumerate(("Noise", "Blur", "Weather", "Digital", names[0])):
        rows = []
        for r in range(3):
            values = [0.98 - 0.012 * s * s * (1 + (3 * g + r) % 4) / 2 for s in range(1, 6)]
            cells = [GridCell(value=v, low=v - 0.01, high=min(1, v + 0.01), n=6315) for v in values]
            if (g, r) == (3, 1):
                cells[4] = GridCell(value=None)
            rows.append(GridRow(label=f"corruption {3 * g + r}", cells=cells))
        groups.append(GridGroup(heading=heading, rows=rows))
    return Grid(id="grid", title="Accuracy by corruption and severity", columns=list("12345"), groups=groups, row_label="Corruption",
                column_label="severity", marks=[GridMark(column="3")], caption="6,315 test images in every cell.")  # fmt: skip


def reliability() -> Reliability:
    """Fifteen bins of equal width; the model is over-confident by about five points above 50 %."""
    bins = []
    for k in range(15):
        middle = (k + 0.5) / 15
        n = round(4 * 1.6**k) if k else 0
        half = min(0.4, 0.98 * math.sqrt(middle * (1 - middle) / max(n, 1)) * 2)
        band = {"low": max(0.0, middle - half), "high": min(1.0, middle + half)}
        measured = (
            {"confidence": middle, "accuracy": max(0.0, middle - 0.05 * (k > 7)), "n": n, **band} if n else {}
        )
        bins.append(ReliabilityBin(start=k / 15, end=(k + 1) / 15, **measured))
    compare = [(b.confidence, max(0.0, b.confidence - 0.12)) for b in bins if b.confidence is not None]
    return Reliability(id="reliability", title="Reliability diagram", bins=bins, compare=compare, compare_label="before scaling",
                       caption="Dots inside the grey band are consistent with perfect calibration.")  # fmt: skip


def strip(title: str, names: list[str], columns: int, rows: int) -> Strip:
    """Noisy pictures by row and column; the last one is missing."""
    made = [
        StripRow(
            label=names[r % len(names)],
            panels=[
                None if (r, c) == (rows - 1, columns - 1) else Panel(label=f"{98 - c}.1", png=picture(r * columns + c), width=32, height=32)
                for c in range(columns)
            ],
        )
        for r in range(rows)
    ]  # fmt: skip
    labels = [f"{names[c % len(names)]} {c}" for c in range(columns)]
    return Strip(
        id=f"strip{rows}", title=title, columns=labels, rows=made, caption="Accuracy over all images in %."
    )


def figures(names: list[str]) -> list[Figure]:
    x = [0.0, 1.0, 2.0, 4.0, 8.0]
    y = [0.98, 0.9, 0.7, 0.41, 0.11]
    band = {"low": [v - 0.03 for v in y], "high": [min(1, v + 0.03) for v in y]}
    series = [
        Series(name="worst case", x=x, y=y, role="main", **band),
        Series(name=names[0], x=x, y=[math.sqrt(v) for v in y]),
    ]
    many = (names * 43)[:43]
    counts = [[90 if r == c else (r * 7 + c * 3) % 97 // 90 for c in range(43)] for r in range(43)]
    dots = [
        Dot(
            label=name,
            value=None if k == 0 else k / 43,
            low=max(0, k / 43 - 0.1),
            high=min(1, k / 43 + 0.1),
            compare=0.99,
        )
        for k, name in enumerate(many)
    ]
    return [
        Curve(id="curve", title="Accuracy against strength", x_label="epsilon", y_label="Accuracy", percent=True,
              series=series, x_ticks=[(0, "0"), (4, "4/255"), (8, "8/255")], reading=["The bold line is the worst case."]),
        DotPlot(id="dots", title="Recall by class", dots=dots, overall=0.6, caption="Weakest first."),
        Matrix(id="matrix", title="Confusion matrix", row_labels=many, column_labels=many, values=counts),
        Bars(id="bars", title="Images by class", labels=many, values=[float(k * k) for k in range(43)], value_label="images"),
        Table(id="table", title="By class", rows=[[name, 0.5, None, 3] for name in many], fold=True, caption="All classes.",
              columns=[Column(key=k, label=k, kind=v) for k, v in (("class", "text"), ("recall", "percent"), ("f1", "percent"), ("n", "number"))]),
    ]  # fmt: skip


def condition_figures(names: list[str]) -> list[Figure]:
    """The figures of a stage that measures under many conditions."""
    return [
        grid(names),
        reliability(),
        strip("One sign under every corruption", names, 16, 1),
        strip("One sign by corruption and severity", names, 5, 4),
    ]


def sample_run(names: list[str] = CLASSES) -> tuple[Run, RunTimes]:
    """Every gate state, every figure, a crashed stage and a skipped one; `names` appear wherever a user's string can."""
    word = names[0]
    provenance = Provenance(model="9f" * 32, data="ab" * 32, settings={}, seed=7, key="ef" * 32)
    performance = stage(
        "performance",
        tested=f"Accuracy on {word}.",
        on_what=f"6,315 images of {word}.",
        facts=[Fact(label="Images", value="6,315", detail=word)] * 5,
        metrics=[
            metric("clean_accuracy"),
            metric("low", 0.8),
            metric("open", 0.957),
            metric("undefined", None, title=word),
        ],
        findings=[
            Finding(
                code="a",
                severity=severity,
                message=f"Found {word}.",
                remedy=word,
                evidence={"name": word, "n": 3},
            )
            for severity in ("info", "warning", "serious")
        ],
        figures=figures(names),
        meaning=[word],
        limits=[word],
        not_tested=[Fact(label=word, value=word)],
        reproduce=[word],
        worst_cases=gallery(names),
        card=Card(headline="97.0 %", text=word, figure_id="dots"),
        provenance=provenance,
    )
    stages = [
        performance.model_copy(
            update={
                "stage": "model",
                "title": word,
                "metrics": [],
                "figures": condition_figures(names),
                "worst_cases": None,
                "card": Card(headline="97.0 %", text=word, figure_id="grid"),
            }
        ),
        stage("training", status="skipped", reason=f"no manifest of {word}"),
        performance,
        stage("calibration", status="skipped", reason=f"not measured for {word}"),
        stage("balance", status="error", reason=f"crashed on {word}"),
        performance.model_copy(update={"stage": "adversarial", "title": word, "card": Card(headline="41 %", text=word, figure_id="curve")}),
        stage("physical", status="skipped", reason=f"not asked for {word}"),
    ]  # fmt: skip
    drawn = [entry.stage for entry in stages]
    stages += [
        stage(name, status="skipped", reason=f"not asked for {word}")
        for name in StageSettings.model_fields
        if name not in drawn
    ]
    gates = [
        gate("passes", "clean_accuracy", title=word),
        gate("fails", "low", stage="adversarial"),
        gate("open", "open"),
        gate("undefined", "undefined"),
        gate("crashed", "shared", stage="balance"),
        gate("missing", "anything", stage="training"),
        gate("waived", "low", waiver=Waiver(owner=word[:500], reason=word[:500], until="2027-01-01")),
    ]
    identity = ModelIdentity(
        name=word, fingerprint="9f" * 32, input={"height": 32}, parameters=1, notes=[word]
    )
    test = DataIdentity(role="test", name=word, fingerprint="ab" * 32, images=10, classes=43, signs=None)
    fields = {
        "title": word,
        "responsible": word,
        "model": identity,
        "data": [test],
        "command": ["safeml", word],
    }
    return run_of(stages, gates, **fields), TIMES


def hostile_run() -> tuple[Run, RunTimes]:
    """One page set in which all the hostile strings stand in every place that a user can name."""
    return sample_run([" ".join(HOSTILE[:9]), *HOSTILE])
