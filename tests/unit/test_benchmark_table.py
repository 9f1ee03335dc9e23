"""The table of ratios is what the records hold, and each figure of speed in the README is one of a record."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Units and words with which the README claims a speed or a size.
CLAIM = re.compile(
    r"\d (s|ms|µs|KiB|MiB|GiB|minutes|hours)\b|\d (and \d[\d.,]* )?times (as|\()|per second|\d s of processor"
)
FIGURE = re.compile(r"(?<![\w.,/-])\d[\d,]*(?:\.\d+)?")
# What holds digits and is no figure: names of models, threats, files and formats.
NAMES = re.compile(
    r"`[^`]*`|\[[^\]]*\]\([^)]*\)|\b[\w-]*(gtsrb|lenet|LeNet|MobileNetV2|ResNet|EfficientNet|INT8|TF|PGD|L2|L-inf|JPEG|Net)[\w-]*( \d+/255| \d+(\.\d+)?)?|\d+/255"
)


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_table", ROOT / "benchmarks" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


TABLE = module()


def test_the_page_is_that_of_the_records() -> None:
    text = TABLE.PAGE.read_text(encoding="utf-8")
    dates = dict(
        re.findall(
            r"\[(\d{4}-\d\d-\d\d [0-9a-f]{7,}|not committed)\]\(\.\./benchmarks/results/(\w+)\.json\)", text
        )
    )
    by_name = {
        name: date for date, name in re.findall(r"\[([^\]]+)\]\(\.\./benchmarks/results/(\w+)\.json\)", text)
    }
    assert dates
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d [0-9a-f]{7,}", date) for date in by_name.values())
    assert text == TABLE.page(by_name), "run `python benchmarks/table.py`"


@pytest.mark.parametrize("row", TABLE.ROWS, ids=lambda row: f"{row.record}: {row.what}"[:80])
def test_a_ratio_is_that_of_its_two_numbers_and_its_aim_is_that_of_the_script(row: Any) -> None:
    record = TABLE.load_record(row.record)
    ratio = TABLE.value_at(record, row.ratio)
    if row.ours:
        parts = TABLE.value_at(record, row.ours), TABLE.value_at(record, row.theirs)
        assert any(abs(ratio - a / b) < 0.02 * ratio for a, b in (parts, parts[::-1]))
    if row.aim is not None:
        script = (ROOT / "benchmarks" / f"{row.record}.py").read_text(encoding="utf-8")
        written = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", script)}
        assert row.aim[1] in {*written, *numbers(record)}


def test_what_misses_its_aim_is_shown_as_missed_and_is_what_the_script_itself_recorded() -> None:
    assert TABLE.is_met(TABLE.Row("", "", (), "", ("<=", 1.5), ""), 1.6) is False
    assert TABLE.is_met(TABLE.Row("", "", (), "", (">=", 1.5), ""), 1.6) is True
    own = {
        ("attack_speed", trace["batch"], place, name): trace["met_by_median_trace_in_cpu_time"][name]
        for place, model in enumerate(TABLE.load_record("attack_speed")["models"])
        for trace in model["rows"]
        for name in trace["met_by_median_trace_in_cpu_time"]
    }
    ours = {
        (row.record, (64, 128)[row.ratio[3]], row.ratio[1], row.ratio[-1]): TABLE.is_met(
            row, TABLE.value_at(TABLE.load_record(row.record), row.ratio)
        )
        for row in TABLE.ROWS
        if row.record == "attack_speed" and row.aim is not None
    }
    assert ours == own
    text = TABLE.PAGE.read_text(encoding="utf-8")
    ratios = [(row, TABLE.value_at(TABLE.load_record(row.record), row.ratio)) for row in TABLE.ROWS]
    missed = sum(TABLE.is_met(row, ratio) is False for row, ratio in ratios)
    assert text.count(": **missed** |") == missed
    assert f"**{missed} of " in text


def numbers(value: Any) -> Iterator[float]:
    """Every number of a record, and the numbers of entries of its lists and tables."""
    if isinstance(value, dict):
        yield float(len(value))
        for key, entry in value.items():
            yield from numbers(key)
            yield from numbers(entry)
    elif isinstance(value, list):
        yield float(len(value))
        for entry in value:
            yield from numbers(entry)
    elif isinstance(value, str):
        yield from (float(text) for text in re.findall(r"\d+(?:\.\d+)?", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def is_of(figure: str, known: list[float]) -> bool:
    """Whether a figure is a number of the record, rounded to its digits; as it is, in percent, in millions, or with the next smaller unit."""
    text = figure.replace(",", "")
    half = 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9
    return any(
        abs(abs(number) * scale - float(text)) <= half for number in known for scale in (1, 100, 1e-3, 1e-6)
    )


def claims() -> list[tuple[str, str]]:
    """Return script and text of each row of the README's table of measurements, and of each other line that claims a speed or a size."""
    lines = README[README.index("## Measured") : README.index("## What is not promised")].splitlines()
    rows = [line.strip("|").split(" | ") for line in lines if line.startswith("| ") and "benchmarks/" in line]
    found = [(re.findall(r"benchmarks/(\w+)\.py", script)[0], result) for _, result, script in rows]
    return [
        *found,
        *(
            (re.findall(r"benchmarks/(\w+)\.py", line)[0], line)
            for line in README.splitlines()
            if "profile_cost.py" in line
        ),
    ]


@pytest.mark.parametrize(("script", "text"), claims(), ids=lambda value: value[:40])
def test_each_figure_of_the_readme_is_one_of_its_record(script: str, text: str) -> None:
    known = list(numbers(json.loads((TABLE.RESULTS / f"{script}.json").read_text(encoding="utf-8"))))
    source = (ROOT / "benchmarks" / f"{script}.py").read_text(encoding="utf-8")
    known += [
        float(number)
        for aim in re.findall(r"aim of (\d+(?:\.\d+)?)", text)
        for number in [aim]
        if aim in source
    ]
    missing = [figure for figure in FIGURE.findall(NAMES.sub(" ", text)) if not is_of(figure, known)]
    assert not missing


def test_each_claim_of_speed_or_size_names_its_script() -> None:
    plain = [re.sub(r"```.*?```", "", README, flags=re.S)]
    lines = [line for text in plain for line in text.splitlines() if CLAIM.search(line)]
    assert len(lines) > 8
    assert [line[:120] for line in lines if "](benchmarks/" not in line] == []


def test_a_figure_that_no_record_has_is_noticed() -> None:
    assert is_of("5.3", [5.32])
    assert is_of("97 %".removesuffix(" %"), [0.969])
    assert not is_of("5.4", [5.32])
