"""Folders that cost or mislead before any model is opened: records without end, manifests that name what is no file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add

MIB = 1024**2


def checkpoints(name: str, text: Callable[[], str]) -> Build:
    """Two checkpoints and a file that may say which of them is better."""

    def build(folder: Path) -> Path:
        for epoch in (1, 2):
            clean.keras_file(folder / f"m_{epoch}.keras")
        (folder / name).write_text(text(), encoding="utf-8")
        return folder

    return build


def manifest(file: str) -> Build:
    """A `training.json` that names this file as the chosen one."""

    def build(folder: Path) -> Path:
        clean.keras_file(folder / "m.keras")
        (folder / "training.json").write_text(json.dumps({"chosen": {"file": file}}))
        return folder

    return build


def deep(folder: Path) -> Path:
    """A SavedModel beside 300 folders in each other."""
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    os.makedirs(folder / "/".join("d" * 300))
    return folder


HEADER = "epoch,val_loss"
add(
    "record_of_one_epoch_without_end",
    9,
    checkpoints("log.csv", lambda: HEADER + "\n1,2" * (15 * MIB)),
    "log.csv|larger",
    heavy=True,
)
add(
    "record_of_many_epochs",
    9,
    checkpoints("log.csv", lambda: "\n".join([HEADER, *(f"{n},1" for n in range(250_000))])),
    "epoch|larger",
    heavy=True,
)
add(
    "record_of_many_columns",
    9,
    checkpoints("log.csv", lambda: HEADER + "," * MIB + "\n0,1" + "," * MIB),
    "",
    NOT_CLEAN,
    heavy=True,
)
add(
    "record_in_json_without_end",
    9,
    checkpoints("h.json", lambda: '{"val_loss": [' + "1," * (30 * MIB) + "1]}"),
    "h.json|larger|record",
    heavy=True,
)
add("record_of_a_long_epoch", 9, checkpoints("log.csv", lambda: f"{HEADER}\n{'9' * 5_000},1"), "epoch")
add("manifest_names_nul", 9, manifest("a\0b.keras"), "names no chosen checkpoint")
add("manifest_names_a_surrogate", 9, manifest("\ud800.keras"), "training.json|chosen")
add("saved_model_beside_deep_folders", 26, deep, "", NOT_CLEAN)
add("manifest_names_another_kind", 9, manifest("training.json"), "", ANY)
