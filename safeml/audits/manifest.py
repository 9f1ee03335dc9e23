"""`training.json`, the manifest that training leaves beside a model, checked field by field."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from safeml.errors import InputRefused

Monitor = Literal["val_accuracy", "val_loss"]


@dataclass(frozen=True)
class Epoch:
    """One epoch at full precision: accuracies 0..1, losses in nats; `file` is the checkpoint's rounded name or ''."""

    epoch: int
    accuracy: float
    loss: float
    val_accuracy: float
    val_loss: float
    file: str

    def monitored(self, monitor: Monitor) -> float:
        return self.val_accuracy if monitor == "val_accuracy" else self.val_loss

    def better_than(self, other: Epoch, monitor: Monitor) -> bool:
        mine, others = self.monitored(monitor), other.monitored(monitor)
        return mine > others if monitor == "val_accuracy" else mine < others


@dataclass(frozen=True)
class DataUsed:
    name: str
    fingerprint: str
    images: int


@dataclass(frozen=True)
class Manifest:
    """How one model came about. `chosen` is the epoch whose checkpoint is the model, `chosen_value` what was written for it."""

    epochs: tuple[Epoch, ...]
    chosen: Epoch
    chosen_value: float
    monitor: Monitor
    fingerprint: str
    train: DataUsed
    valid: DataUsed
    recipe: str
    versions: dict[str, str]

    @property
    def best(self) -> Epoch:
        """The first epoch that no other beats at full precision."""
        best = self.epochs[0]
        for epoch in self.epochs[1:]:
            if epoch.better_than(best, self.monitor):
                best = epoch
        return best


def parse_manifest(values: dict[str, Any]) -> Manifest:
    """The manifest in `values` (decoded JSON). Raises InputRefused for the first field that is not what it should be."""
    entries = _get(values, "epochs", list, "")
    if not entries:
        raise InputRefused("training.json: epochs is empty; expected one entry an epoch, so train again.")
    epochs = tuple(_epoch(entry, f"epochs[{row}]") for row, entry in enumerate(entries))
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise InputRefused(
            "training.json: epochs are not numbered 1, 2, 3, ...; expected every epoch once, in order."
        )
    chosen = _get(values, "chosen", dict, "")
    number = _get(chosen, "epoch", int, "chosen.")
    if not 1 <= number <= len(epochs):
        raise InputRefused(f"training.json: chosen.epoch is {number}; expected 1-{len(epochs)}.")
    monitor = _get(chosen, "monitor", str, "chosen.")
    if monitor not in get_args(Monitor):
        raise InputRefused(f"training.json: chosen.monitor is not one of {', '.join(get_args(Monitor))}.")
    recipe = _get(values, "recipe", dict, "")
    versions = _get(values, "versions", dict, "")
    return Manifest(
        epochs=epochs,
        chosen=epochs[number - 1],
        chosen_value=_number(chosen, "value", "chosen."),
        monitor="val_accuracy" if monitor == "val_accuracy" else "val_loss",
        fingerprint=_get(values, "model_fingerprint", str, ""),
        train=_data(values, "train"),
        valid=_data(values, "valid"),
        recipe=str(recipe.get("name", ""))[:80],
        versions={str(name)[:80]: str(version)[:80] for name, version in versions.items()},
    )


def _epoch(entry: Any, where: str) -> Epoch:
    if not isinstance(entry, dict):
        raise InputRefused(f"training.json: {where} is of type {type(entry).__name__}; expected an object.")
    return Epoch(
        epoch=_get(entry, "epoch", int, f"{where}."),
        accuracy=_share(entry, "accuracy", f"{where}."),
        loss=_number(entry, "loss", f"{where}."),
        val_accuracy=_share(entry, "val_accuracy", f"{where}."),
        val_loss=_number(entry, "val_loss", f"{where}."),
        file=str(entry.get("file", ""))[:200],
    )


def _data(values: dict[str, Any], role: str) -> DataUsed:
    data = _get(values, role, dict, "")
    images = _get(data, "images", int, f"{role}.")
    if images < 1:
        raise InputRefused(f"training.json: {role}.images is {images}; expected at least 1.")
    return DataUsed(
        name=_get(data, "name", str, f"{role}."),
        fingerprint=_get(data, "fingerprint", str, f"{role}."),
        images=images,
    )


def _share(values: dict[str, Any], key: str, where: str) -> float:
    value = _number(values, key, where)
    if not 0 <= value <= 1:
        raise InputRefused(f"training.json: {where}{key} is {value:g}; expected a proportion of 0..1.")
    return value


def _number(values: dict[str, Any], key: str, where: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputRefused(
            f"training.json: {where}{key} is not a finite number; train again or mend the manifest."
        )
    return float(value)


def _get(values: dict[str, Any], key: str, kind: type, where: str) -> Any:
    value = values.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "missing" if value is None else f"of type {type(value).__name__}"
        raise InputRefused(
            f"training.json: {where}{key} is {found}; expected {kind.__name__}, as `safeml train` writes it."
        )
    return value
