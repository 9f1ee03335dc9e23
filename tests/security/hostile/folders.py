"""Folders that cost or mislead before any model is opened: records above the bounds, manifests that name what is no file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.security.hostile import clean
from tests.security.hostile.case import ANY, NOT_CLEAN, Build, add


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
    """A SavedModel beside ten folders in each other."""
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    os.makedirs(folder / "/".join("d" * 10))
    return folder


def many_files(folder: Path) -> Path:
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    for number in range(10):
        (folder / f"{number}.txt").touch()
    return folder


HEADER = "epoch,val_loss"
RECORDS: dict[str, tuple[str, str]] = {
    "of_one_long_row": ("log.csv", HEADER + "\n1,2" + ",2" * 20_000),
    "of_many_epochs": ("log.csv", "\n".join([HEADER, *(f"{number},1" for number in range(5_000))])),
    "of_many_columns": ("log.csv", HEADER + "," * 20_000 + "\n0,1" + "," * 20_000),
    "in_json": ("h.json", '{"val_loss": [' + "1," * 20_000 + "1]}"),
}
for _name, (_file, _text) in RECORDS.items():
    _build = checkpoints(_file, lambda text=_text: text)  # type: ignore[misc]
    add(f"record_{_name}", 9, _build, "is larger than 20,000 bytes", training_records__record_bytes=20_000)
_epochs = checkpoints("log.csv", lambda: "\n".join([HEADER, *(f"{number},1" for number in range(20))]))
add("record_of_more_epochs_than_are_read", 9, _epochs, "epoch", training_records__EPOCHS=10)
add("record_of_a_long_epoch", 9, checkpoints("log.csv", lambda: f"{HEADER}\n{'9' * 5_000},1"), "epoch")
add("manifest_names_nul", 9, manifest("a\0b.keras"), "names no chosen checkpoint")
add("manifest_names_a_surrogate", 9, manifest("\ud800.keras"), "training.json|chosen")
add("saved_model_beside_deep_folders", 26, deep, "", NOT_CLEAN)
add("saved_model_of_many_files", 26, many_files, "holds more than 5 files", snapshot__model_files=5)
add("manifest_names_another_kind", 9, manifest("training.json"), "", ANY)
