"""The list of hostile files as a page: python -m tests.security.table > docs/hostile-files.md"""

from __future__ import annotations

import sys

from tests.security.hostile import CASES, Case

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


def page() -> str:
    """The page in Markdown."""
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
    return "\n".join([*lines, "", "Made by `python -m tests.security.table`; a test compares.", ""])


def _counts(cases: list[Case]) -> str:
    refused = sum(case.answers == {"refused"} for case in cases)
    odd = sum("accepted" in case.answers for case in cases)
    return " | ".join(map(str, (len(cases), refused, len(cases) - refused - odd, odd)))


if __name__ == "__main__":
    sys.stdout.write(page())
