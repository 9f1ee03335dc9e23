"""The table of ratios to peers: docs/benchmarks.md, made of the records in benchmarks/results.

    python benchmarks/table.py

Nothing is measured here. A row names where its numbers are in a record, so that no figure is written by hand; an aim that the record misses is
shown as missed. The last column has the day and the commit of the record, and the start of its sha256.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
Where = tuple[str | int, ...]
NO_VERSION = "version not recorded"
ART = f"Adversarial Robustness Toolbox, {NO_VERSION}"
CPU = "one thread of one PC; another processor gives another ratio"
MEDIAN = ("ratio", "median", "cpu")
LENET_256, LENET_64 = (
    "lenet-gtsrb on test.npz, linf_4, 256 images",
    "lenet-gtsrb on test.npz, linf_8, 64 images",
)
AUTO_ATTACKED = ("lenet-gtsrb",)
# Cases of attack_cost that were measured against the earlier schedule, and their words.
BILLS = {
    "lenet-gtsrb, 256 test images, linf_4": "lenet-gtsrb, 256 images at L-inf 4/255",
    "lenet-gtsrb, 256 test images, l2_0.5": "lenet-gtsrb, 256 images at L2 0.5",
    "resnet-gtsrb, 64 test images, linf_4": "resnet-gtsrb, 64 images at L-inf 4/255",
}
SCALED = "processes, lenet-gtsrb, 1024 images"
LARGE, SMALL = "15 frames, reference of 1410", "15 frames, reference of 128"


@dataclass(frozen=True)
class Row:
    """A claim.

    what: is measured, and on what.
    record: name of the script and of its record.
    ratio: where the ratio is in the record; its meaning is in `what`.
    peer: what ours is compared with, with its version.
    aim: ">=" or "<=" with the value; None where none was set before the measurement.
    limits: of the claim.
    ours, theirs: where the two numbers are, () where the record has the ratio alone; with `unit`.
    """

    what: str
    record: str
    ratio: Where
    peer: str
    aim: tuple[str, float] | None
    limits: str
    ours: Where = ()
    theirs: Where = ()
    unit: str = ""


def _attack(model: int, batch: int, name: str) -> list[Row]:
    """Return the rows of one trace of attack_speed. model, batch: places in the record."""
    at: Where = ("models", model, "rows", batch, *MEDIAN)
    size = (64, 128)[batch]
    bare = "its own bare gradients or queries"
    return [
        Row(f"share of the speed of its bare gradients and the last prediction, PGD-20, {name}, batch {size}", "attack_speed", (*at, "pgd_of_limit"), bare, (">=", 0.97), CPU),
        Row(f"the same, APGD, {name}, batch {size}", "attack_speed", (*at, "apgd_of_limit"), bare, (">=", 0.85), CPU),
        Row(f"share of the speed of its bare queries and the last prediction, Square, {name}, batch {size}", "attack_speed", (*at, "square_of_limit"), bare, (">=", 0.8), CPU),
        Row(f"times as fast, PGD-20, {name}, batch {size}", "attack_speed", (*at, "pgd_faster_than_art"), ART, (">=", 2.0), CPU),
        Row(f"the same, where the peer is given a compiled model, {name}, batch {size}", "attack_speed", (*at, "pgd_faster_than_art_compiled_model"), ART, None, CPU),
    ]  # fmt: skip


def _auto_attack(case: str, words: str) -> list[Row]:
    """Return the rows of one comparison with the original AutoAttack. case: its key in the record."""
    return [
        Row(f"times less processor time, whole ensemble against the original AutoAttack, Square with {queries:,} queries, {words}", "autoattack",
            (case, "against_autoattack", f"{queries} queries", "times_less_processor_time"), "pyautoattack 0.2.0, torch 2.13.0", (">=", 5.0),
            limits, (case, "against_autoattack", f"{queries} queries", "safeml", "cpu_seconds"), (case, "autoattack", "cpu_seconds"), "s")
        for queries, limits in ((5000, "one thread each; without compiling, which the record has"), (1000, "fewer queries than AutoAttack, which always makes 5,000; without compiling"))
    ]  # fmt: skip


def _bill(case: str, words: str) -> list[Row]:
    """Return the rows of what an audit that spends where it counts asks of a model. case: its key in the record."""
    earlier, limits = (
        "the schedule of commit 7029431",
        "counts, no seconds; the same survivors; of at most 100 nothing is spared",
    )
    return [
        Row(f"{what} of the adversarial stage with spend = \"where_it_counts\", as a share of the earlier ones, {words}", "attack_cost",
            (case, "where_it_counts against earlier", f"share_of_the_{what}"), earlier, ("<=", aim), limits,
            (case, "where_it_counts", what), (case, "earlier", what), what)
        for what, aim in (("gradients", 0.333), ("queries", 0.2))
    ]  # fmt: skip


ROWS: tuple[Row, ...] = (
    *(row for model, name in enumerate(("lenet-gtsrb", "resnet-gtsrb")) for batch in (0, 1) for row in _attack(model, batch, name)),
    *(row for name in AUTO_ATTACKED for row in _auto_attack(f"{name}, 64 test images, linf_4", f"{name}, 64 images at 4/255")),
    *(row for case, words in BILLS.items() for row in _bill(case, words)),
    Row("times as fast, whole ensemble against AutoAttack, lenet-gtsrb, 64 images at 8/255", "ensemble_speed", (LENET_64, "ratio", "faster_than_art"), ART, (">=", 15.0),
        "recorded before the attacks climbed the log-odds; one small network", (LENET_64, "cpu_seconds", "safeml"), (LENET_64, "cpu_seconds", "art"), "s"),
    Row("bill of gradients and queries as a share of the time, lenet-gtsrb, 64 images at 8/255", "ensemble_speed", (LENET_64, "ratio", "of_the_bill"), "its own bill", (">=", 0.8),
        "recorded before the attacks climbed the log-odds; four images survive until Square", (LENET_64, "cpu_seconds", "safeml"), (LENET_64, "cpu_seconds", "bill"), "s"),
    Row("the same, lenet-gtsrb, 256 images at 4/255", "ensemble_speed", (LENET_256, "ratio", "of_the_bill"), "its own bill", (">=", 0.8),
        "recorded before the attacks climbed the log-odds", (LENET_256, "cpu_seconds", "safeml"), (LENET_256, "cpu_seconds", "bill"), "s"),
    Row("times as fast, gradient SHAP, resnet-gtsrb, 32 classes", "gradient_shap", ("times_faster",), f"shap, {NO_VERSION}", None,
        "equal in value; one network and one size", ("seconds_safeml_cold",), ("seconds_shap",), "s"),
    Row(f"times as fast, all six distances together, {SMALL}", "monitor_speed", ("distance_us", SMALL, "all six together", "times as long"), "SafeML 0.3", (">=", 20.0),
        "without p-values on both sides", ("distance_us", SMALL, "all six together", "here"), ("distance_us", SMALL, "all six together", "SafeML 0.3"), "µs"),
    Row(f"times as fast, all six distances together, {LARGE}", "monitor_speed", ("distance_us", LARGE, "all six together", "times as long"), "SafeML 0.3", (">=", 20.0),
        "without p-values on both sides", ("distance_us", LARGE, "all six together", "here"), ("distance_us", LARGE, "all six together", "SafeML 0.3"), "µs"),
    Row(f"times as fast, Cramér-von Mises alone, the slowest of one distance, {SMALL}", "monitor_speed", ("distance_us", SMALL, "cramer_von_mises", "times as long"), "SafeML 0.3", (">=", 20.0),
        "the other distances have larger ratios", ("distance_us", SMALL, "cramer_von_mises", "here"), ("distance_us", SMALL, "cramer_von_mises", "SafeML 0.3"), "µs"),
    Row("step of quantization-aware training, times the float step, resnet-gtsrb", "qat_step", ("models", "resnet-gtsrb", "ratio_of_medians"), "the float step", ("<=", 1.6),
        "the quantized network has no batch normalization", ("models", "resnet-gtsrb", "seconds", "quantized", "median"), ("models", "resnet-gtsrb", "seconds", "float", "median"), "s"),
    Row("step of quantization-aware training, times the float step, mobilenet-gtsrb", "qat_step", ("models", "mobilenet-gtsrb", "ratio_of_medians"), "the float step", ("<=", 1.6),
        "the quantized network has no batch normalization", ("models", "mobilenet-gtsrb", "seconds", "quantized", "median"), ("models", "mobilenet-gtsrb", "seconds", "float", "median"), "s"),
    *(Row(f"times as fast, LiteRT INT8 against float, {name}", "litert_latency", ("models", name, "median_ratio"), "LiteRT float, ai-edge-litert 2.3.0", (">=", 2.5),
          "this CPU and no Jetson; batch 1, one thread") for name in ("resnet-gtsrb", "mobilenet-gtsrb", "MobileNetV2, 224 px")),
    *(Row(f"predictions of an audit on the INT8 file, times those of the float Keras model, {name}", "int8_forward", ("models", name, "audit_to_float_keras", "processor"), "Keras, 6,315 images", ("<=", 1.5),
          "processor time of a CPU without fused integer kernels", ("models", name, "seconds", "audit", "processor"), ("models", name, "seconds", "float Keras", "processor"), "s") for name in ("resnet-gtsrb", "mobilenet-gtsrb")),
    *(Row(f"whole run of the edge runtime, times the session alone, {name}", "edge_host", ("models", name, "whole run / session alone"), "ONNX Runtime 1.31.1", ("<=", 1.3),
          "a PC and no Jetson, one thread", ("models", name, "whole run"), ("models", name, "session alone"), "µs") for name in ("resnet-gtsrb-int8", "lenet-rendered-int8")),
    Row("times as fast, two workers of one thread against one process of one thread, adversarial stage, lenet-gtsrb, 1,024 images", "scale_out", (SCALED, "ratio", "stage"), "one process", (">=", 1.7),
        "the cause is not measured: attacks on few survivors are one slice, and each worker compiles each attack", (SCALED, "seconds", "two workers", "stage"), (SCALED, "seconds", "one process", "stage"), "s"),
)  # fmt: skip


def value_at(record: Any, where: Where) -> float:
    """Return the number at a place of a record. Raises KeyError or IndexError where there is none."""
    for key in where:
        record = record[key]
    return float(record)


def load_record(name: str) -> Any:
    """Return the record of a script."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def is_met(row: Row, ratio: float) -> bool | None:
    """Return whether the recorded ratio reaches the aim; None without an aim."""
    if row.aim is None:
        return None
    op, aim = row.aim
    return ratio >= aim if op == ">=" else ratio <= aim


def page(dates: Mapping[str, str]) -> str:
    """Return the page. dates: day and commit of each record by its name."""
    records = {row.record: load_record(row.record) for row in ROWS}
    ratios = [value_at(records[row.record], row.ratio) for row in ROWS]
    missed = sum(is_met(row, ratio) is False for row, ratio in zip(ROWS, ratios, strict=True))
    aims = sum(row.aim is not None for row in ROWS)
    lines = [
        "# Ratios to peers",
        "",
        "Made of the records in [benchmarks/results](../benchmarks/results) by `python benchmarks/table.py`; a test compares it. No figure is written by hand.",
        "Every number is of one machine, whose load and versions are in the record. A ratio is of two measurements in one process; its own spread is in the record where several rounds were made.",
        "",
        f"**{missed} of {aims} aims are missed**, and shown as such. An aim was set before the measurement and is not changed to fit it.",
        "",
        "| what | ours | peer | ratio | aim | script | record | limits |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, ratio in zip(ROWS, ratios, strict=True):
        record = records[row.record]
        ours, theirs = (f"{value_at(record, where):g} {row.unit}" if where else "" for where in (row.ours, row.theirs))  # fmt: skip
        met = is_met(row, ratio)
        aim = "none" if row.aim is None else f"{row.aim[0]} {row.aim[1]:g}: {'met' if met else '**missed**'}"
        peer = f"{row.peer}: {theirs}" if theirs else row.peer
        lines.append(
            f"| {row.what} | {ours or '–'} | {peer} | {ratio:.3g} | {aim} | [{row.record}](../benchmarks/{row.record}.py) | "
            f"[{dates[row.record]}](../benchmarks/results/{row.record}.json), {_digest(row.record)} | {row.limits} |"
        )
    return "\n".join(lines) + "\n"


def _digest(name: str) -> str:
    return hashlib.sha256((RESULTS / f"{name}.json").read_bytes()).hexdigest()[:12]


def committed() -> dict[str, str]:
    """Return day and commit of each record, from git."""
    dates = {}
    for name in sorted({row.record for row in ROWS}):
        command = ["git", "log", "-1", "--date=short", "--format=%ad %h", "--", str(RESULTS / f"{name}.json")]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        dates[name] = done.stdout.strip() or "not committed"
    return dates


if __name__ == "__main__":
    PAGE.write_text(page(committed()), encoding="utf-8")
    print(PAGE)
