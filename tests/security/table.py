"""The pages of bad inputs, made from the tests: docs/hostile-files.md and docs/reliability.md.

python -m tests.security.table hostile-files > docs/hostile-files.md
python -m tests.security.table reliability > docs/reliability.md
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

from tests.security.hostile import CASES, Case
from tests.security.rows import SECTIONS, SUBJECTS

TESTS = Path(__file__).parents[1]
TITLES = {
    1: "Lambda and bytecode (without code), in every place of a configuration",
    2: "Lambda inside sub-models, TimeDistributed, Bidirectional",
    3: "Lambda with a named function",
    4: "TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer",
    5: "modules outside Keras, private modules of Keras, odd registered names",
    6: "function objects as initializers, activations, losses",
    7: "vocabularies by path or address",
    8: "the same in `.h5`, of Keras 3 and of Keras 2",
    9: "content that is not what its ending says; pickles, links, devices, folders",
    10: "truncated in five places, and by one byte",
    11: "one byte flipped",
    12: "members that unpack to more than the bounds, or than they declare",
    13: "HDF5 arrays, chunks, groups and attributes above the bounds",
    14: "HDF5 external storage, virtual datasets, soft and external links, odd types",
    15: "zip: duplicates, odd names, overlaps, hidden bytes, false sizes",
    16: "JSON: depth, long numbers, NaN, duplicate keys, surrogates, byte-order marks",
    17: "sizes above the bounds, and sizes that are none",
    18: "weights that are not finite, all zero, of another shape, or missing",
    19: "layer names with paths, controls, markup",
    20: "two inputs or outputs, other ranks",
    25: "ONNX with external data, other domains, unknown versions",
    26: "SavedModel with operations that read and write files or call code",
    27: "TensorRT engines",
}


def hostile_files() -> str:
    """The page of hostile model files in Markdown."""
    lines = [
        "# Hostile model files",
        "",
        f"{len(CASES)} files, each written by a few lines in [tests/security/hostile](../tests/security/hostile); none is stored. The scan must give one of the answers named, in one",
        "sentence, with exit code 5 (refused) or 4 (inconclusive), without importing a framework and without writing anything. For one file of each kind the whole command is",
        "measured: below 150 MiB of memory and 5 seconds of processor time. Files of the last column are odd and yet harmless to read: each of them must then load and be checked,",
        "or be refused by the limited load.",
        "",
        "Each file shows a threat without being one. It names classes and files that do not exist, holds no code, and declares a few MiB at most, against bounds that its test",
        "lowers. A nightly test gives every file to Keras, HDF5, TensorFlow, ONNX Runtime and the zip reader of Python directly: each reads it or raises an error.",
        "",
        "| what | files | refused | refused or inconclusive | may pass the scan |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in sorted({case.row for case in CASES}):
        cases = [case for case in CASES if case.row == row]
        lines.append(f"| {TITLES[row]} | {_counts(cases)} |")
    lines.append(f"| **all** | {_counts(CASES)} |")
    return _text(lines, "hostile-files")


def reliability() -> str:
    """The page of all bad inputs in Markdown, with the tests that show what happens to each."""
    rows = [row for section in SECTIONS.values() for row in section]
    tests = {test for row in rows for test in row.tests}
    lines = [
        "# Bad inputs and faults",
        "",
        f"{len({row.number for row in rows})} kinds of bad input, fault and misleading evidence, and what safeml does with each. {len(tests)} tests show it; each is linked.",
        "",
        "In every case a user's mistake ends in one sentence that names file and place, without a traceback; no file is half written, and the next run is not affected.",
        "A number is the exit code: 1 a gate failed, 2 usage or settings, 3 not proven, 4 evidence is missing or a file cannot be judged, 5 an input was refused.",
        "An unexpected error prints its traceback, for the report of the defect, and is missing evidence: 4, never 0 or 1.",
        "The files of rows 1 to 27 are listed in [hostile-files.md](hostile-files.md).",
    ]
    for title, section in SECTIONS.items():
        lines += ["", f"## {title}", "", "| row | input | what happens | shown by |", "|---:|---|---|---|"]
        lines += [
            f"| {row.number} | {row.given} | {row.outcome} | {', '.join(map(_link, row.tests))} |"
            for row in section
        ]
    lines += [
        "",
        "## Models with a known verdict",
        "",
        "A tool that always says PASSED would pass most of the rows above. So the whole chain, from the settings to the exit code, runs on models whose verdict is known before.",
        "",
        "| model | what the audit must find | shown by |",
        "|---|---|---|",
        *(f"| {one.model} | {one.answer} | {', '.join(map(_link, one.tests))} |" for one in SUBJECTS),
        "",
        "The code that decides is tested with mutants too: `python -m tests.security.mutants` changes one comparison, constant, operator or check at a time, and a test must fail.",
    ]
    return _text(lines, "reliability")


def _text(lines: list[str], name: str) -> str:
    return "\n".join([*lines, "", f"Made by `python -m tests.security.table {name}`; a test compares.", ""])


def _link(test: str) -> str:
    words = test.removeprefix("test_").replace("_", " ")
    return ", ".join(f"[{words}](../tests/{file})" for file in sorted(places()[test]))


@cache
def places() -> dict[str, set[str]]:
    """The files below tests/ that define each test, by its name; a test that moves to another file keeps its row."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^ *def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE):
            found[name].add(file.relative_to(TESTS).as_posix())
    return dict(found)


def _counts(cases: list[Case]) -> str:
    refused = sum(case.answers == {"refused"} for case in cases)
    odd = sum("accepted" in case.answers for case in cases)
    return " | ".join(map(str, (len(cases), refused, len(cases) - refused - odd, odd)))


if __name__ == "__main__":
    sys.stdout.write({"hostile-files": hostile_files, "reliability": reliability}[sys.argv[1]]())
