"""`training.json`, the manifest that training writes beside a model, checked field by field.

A field unknown to this version is ignored; a field that older versions did not write may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from safeml.audits.training.recipe import Setting, recorded_settings
from safeml.errors import InputRefused

Monitor = Literal["val_accuracy", "val_loss", "val_robust_accuracy"]
MONITORS: tuple[Monitor, ...] = get_args(Monitor)
# Bounds of plausible values: arithmetic on a larger number would fail or be meaningless.
MOST_COUNTED = 10**9
LARGEST_NUMBER = 1e30
MOST_PHASES = 100
MOST_VERSIONS = 20
LONGEST_NAME = 200
LONGEST_NOTE = 1000


@dataclass(frozen=True)
class Epoch:
    """An epoch at full precision: accuracies 0..1, losses in nats; `file` is the checkpoint's rounded name or ''.

    val_robust_accuracy: under attack; None where it was not trained on attacked images.
    """

    epoch: int
    accuracy: float
    loss: float
    val_accuracy: float
    val_loss: float
    file: str
    val_robust_accuracy: float | None = None

    def monitored(self, monitor: Monitor) -> float:
        """Return the value of `monitor`. Reading refuses a manifest in which an epoch lacks its monitor."""
        value: float = getattr(self, monitor)
        return value

    def better_than(self, other: Epoch, monitor: Monitor) -> bool:
        mine, others = self.monitored(monitor), other.monitored(monitor)
        return mine < others if monitor == "val_loss" else mine > others


@dataclass(frozen=True)
class DataUsed:
    """A data set of a training.

    signs: number of different physical signs in the images; None where that is not known.
    """

    name: str
    fingerprint: str
    images: int
    signs: int | None


@dataclass(frozen=True)
class Inflation:
    """The same recipe trained on a random split.

    images: validation images.
    images_of_shared_signs: those that show a sign that is also in training.
    val_accuracy: the best of the epochs, 0..1.
    """

    images: int
    images_of_shared_signs: int
    val_accuracy: float
    epochs: int


@dataclass(frozen=True)
class Distilled:
    """The teacher and the model on the validation images.

    images: validation images.
    teacher, student: name or file, number of parameters, accuracy and class of the lowest recall.
    agreement: share of the images on which both decide alike, 0..1.
    lost, gained: images that only the teacher, or only the student, classifies correctly.
    fall: name and two recalls, 0..1, of the class that loses most against the teacher: the teacher's, then the student's.
    """

    images: int
    teacher: DistilledModel
    student: DistilledModel
    agreement: float
    lost: int
    gained: int
    fall: tuple[str, float, float]


@dataclass(frozen=True)
class DistilledModel:
    """One model of a distillation. Accuracy and recall are 0..1; `worst_images` are those of its worst class."""

    name: str
    parameters: int
    val_accuracy: float
    worst_class: str
    worst_recall: float
    worst_images: int


@dataclass(frozen=True)
class PhaseUsed:
    """A phase: epochs `first` to `last`, counted from 1; `last` may be later than the last trained epoch.

    note: which layers were trained, and why.
    learning_rate: its highest value, where recorded.
    """

    first: int
    last: int
    note: str
    learning_rate: float | None = None


@dataclass(frozen=True)
class Manifest:
    """The record of one training.

    chosen: the epoch whose checkpoint is the model.
    chosen_value: the recorded value of its monitor.
    settings: recorded settings of the recipe by dotted name, such as "augment.shift".
    """

    epochs: tuple[Epoch, ...]
    chosen: Epoch
    chosen_value: float
    monitor: Monitor
    fingerprint: str
    train: DataUsed
    valid: DataUsed
    recipe: str
    settings: dict[str, Setting]
    versions: dict[str, str]
    inflation: Inflation | None = None
    phases: tuple[PhaseUsed, ...] = ()
    distillation: Distilled | None = None

    @property
    def best(self) -> Epoch:
        """Return the first epoch with the best monitored value at full precision."""
        best = self.epochs[0]
        for epoch in self.epochs[1:]:
            if epoch.better_than(best, self.monitor):
                best = epoch
        return best


def parse_manifest(values: dict[str, Any]) -> Manifest:
    """Parse decoded JSON. Raises InputRefused for the first invalid field."""
    entries = value_of(values, "epochs", list, "")
    if not entries:
        raise InputRefused("training.json: epochs is empty; expected one entry per epoch. Train again.")
    epochs = tuple(_epoch(entry, f"epochs[{row}]") for row, entry in enumerate(entries))
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)):
        raise InputRefused(
            "training.json: epochs are not numbered 1, 2, 3, ...; expected every epoch once, in order. Train again."
        )
    chosen = value_of(values, "chosen", dict, "")
    number = count_of(chosen, "epoch", "chosen.", 1, len(epochs))
    monitor = value_of(chosen, "monitor", str, "chosen.")
    if monitor not in get_args(Monitor):
        raise InputRefused(f"training.json: chosen.monitor is not one of {', '.join(get_args(Monitor))}.")
    if monitor == "val_robust_accuracy" and any(epoch.val_robust_accuracy is None for epoch in epochs):
        raise InputRefused(
            "training.json: chosen.monitor is val_robust_accuracy, which is missing in some epochs. Train again."
        )
    settings = recorded_settings(value_of(values, "recipe", dict, ""))
    versions = value_of(values, "versions", dict, "")
    return Manifest(
        epochs=epochs,
        chosen=epochs[number - 1],
        chosen_value=number_of(chosen, "value", "chosen."),
        monitor=next(known for known in MONITORS if known == monitor),
        fingerprint=value_of(values, "model_fingerprint", str, "")[:LONGEST_NAME],
        train=data_used(values, "train"),
        valid=data_used(values, "valid"),
        recipe=str(settings.get("name", ""))[:80],
        settings=settings,
        versions={str(name)[:80]: str(versions[name])[:80] for name in sorted(versions)[:MOST_VERSIONS]},
        inflation=_inflation(values),
        phases=_phases(values),
        distillation=_distillation(values),
    )


def _epoch(entry: Any, where: str) -> Epoch:
    if not isinstance(entry, dict):
        raise InputRefused(f"training.json: {where} is of type {type(entry).__name__}; expected an object.")
    attacked = entry.get("val_robust_accuracy") is not None
    return Epoch(
        epoch=value_of(entry, "epoch", int, f"{where}."),
        accuracy=_share(entry, "accuracy", f"{where}."),
        loss=number_of(entry, "loss", f"{where}."),
        val_accuracy=_share(entry, "val_accuracy", f"{where}."),
        val_loss=number_of(entry, "val_loss", f"{where}."),
        file=str(entry.get("file", ""))[:LONGEST_NAME],
        val_robust_accuracy=_share(entry, "val_robust_accuracy", f"{where}.") if attacked else None,
    )


def data_used(values: dict[str, Any], role: str) -> DataUsed:
    """Return the recorded data of a role, "train" or "valid"."""
    data = value_of(values, role, dict, "")
    images = count_of(data, "images", f"{role}.", 1, MOST_COUNTED)
    known = data.get("signs") is not None
    return DataUsed(
        name=value_of(data, "name", str, f"{role}.")[:LONGEST_NAME],
        fingerprint=value_of(data, "fingerprint", str, f"{role}.")[:LONGEST_NAME],
        images=images,
        signs=count_of(data, "signs", f"{role}.", 1, images) if known else None,
    )


def _inflation(values: dict[str, Any]) -> Inflation | None:
    if values.get("inflation") is None:
        return None
    measured = value_of(values, "inflation", dict, "")
    if value_of(measured, "split", str, "inflation.") != "image":
        raise InputRefused(
            'training.json: inflation.split is not "image"; expected the random split of single images from `safeml train`.'
        )
    images = count_of(measured, "images", "inflation.", 1, MOST_COUNTED)
    return Inflation(
        images=images,
        images_of_shared_signs=count_of(measured, "images_of_shared_signs", "inflation.", 0, images),
        val_accuracy=_share(measured, "val_accuracy", "inflation."),
        epochs=count_of(measured, "epochs", "inflation.", 1, MOST_COUNTED),
    )


def _distillation(values: dict[str, Any]) -> Distilled | None:
    if values.get("distillation") is None:
        return None
    measured = value_of(values, "distillation", dict, "")
    fall, of_fall = value_of(measured, "largest_fall", dict, "distillation."), "distillation.largest_fall."
    images = count_of(measured, "images", "distillation.", 1, MOST_COUNTED)

    def model(role: str) -> DistilledModel:
        where = f"distillation.{role}."
        entry = value_of(measured, role, dict, "distillation.")
        worst = value_of(entry, "worst_class", dict, where)
        return DistilledModel(
            name=_cut(str(entry.get("file", "")), LONGEST_NAME),
            parameters=count_of(entry, "parameters", where, 1, MOST_COUNTED * 1000),
            val_accuracy=_share(entry, "val_accuracy", where),
            worst_class=_cut(value_of(worst, "name", str, f"{where}worst_class."), LONGEST_NAME),
            worst_recall=_share(worst, "recall", f"{where}worst_class."),
            worst_images=count_of(worst, "images", f"{where}worst_class.", 1, images),
        )

    return Distilled(
        images=images,
        teacher=model("teacher"),
        student=model("student"),
        agreement=_share(measured, "agreement", "distillation."),
        lost=count_of(measured, "lost", "distillation.", 0, images),
        gained=count_of(measured, "gained", "distillation.", 0, images),
        fall=(
            _cut(value_of(fall, "name", str, of_fall), LONGEST_NAME),
            _share(fall, "before", of_fall),
            _share(fall, "after", of_fall),
        ),
    )


def _phases(values: dict[str, Any]) -> tuple[PhaseUsed, ...]:
    """Parse the phases that have epochs, in order."""
    if values.get("phases") is None:
        return ()
    entries = value_of(values, "phases", list, "")
    if len(entries) > MOST_PHASES:
        raise InputRefused(
            f"training.json: phases has {len(entries):,} entries; expected at most {MOST_PHASES}."
        )
    phases: list[PhaseUsed] = []
    last = 0
    for row, entry in enumerate(entries):
        where = f"phases[{row}]"
        if not isinstance(entry, dict):
            raise InputRefused(
                f"training.json: {where} is of type {type(entry).__name__}; expected an object."
            )
        first = count_of(entry, "first", f"{where}.", last + 1, MOST_COUNTED)
        last = count_of(entry, "last", f"{where}.", first - 1, MOST_COUNTED)
        known = entry.get("learning_rate") is not None
        rate = number_of(entry, "learning_rate", f"{where}.") if known else None
        if rate is not None and not 0 < rate <= 1:
            raise InputRefused(
                f"training.json: {where}.learning_rate is {rate:g}; expected more than 0 and at most 1."
            )
        note = value_of(entry, "note", str, f"{where}.")
        if first <= last:
            phases.append(PhaseUsed(first, last, _cut(note, LONGEST_NOTE), rate))
    return tuple(phases)


def _cut(text: str, most: int) -> str:
    """Shorten the text to `most` characters, with an ellipsis if it was longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _share(values: dict[str, Any], key: str, where: str) -> float:
    value = number_of(values, key, where)
    if not 0 <= value <= 1:
        raise InputRefused(f"training.json: {where}{key} is {value:g}; expected a proportion of 0..1.")
    return value


def number_of(values: dict[str, Any], key: str, where: str) -> float:
    """Return a finite number of the manifest. where: prefix of the key, for messages."""
    value = values.get(key)
    # NaN fails the comparison, and an integer of any size can be compared.
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -LARGEST_NUMBER < value < LARGEST_NUMBER
    ):
        raise InputRefused(
            f"training.json: {where}{key} is not a finite number; train again or correct the manifest."
        )
    return float(value)


def count_of(values: dict[str, Any], key: str, where: str, least: int, most: int) -> int:
    """Return a whole number of the manifest from `least` to `most`."""
    value: int = value_of(values, key, int, where)
    if not least <= value <= most:
        expected = f"{least:,}" if least == most else f"{least:,}-{most:,}"
        shown = f"{value:,}" if abs(value) < 10**15 else f"a number of {value.bit_length()} bits"
        raise InputRefused(f"training.json: {where}{key} is {shown}; expected {expected}.")
    return value


def value_of(values: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Return a value of the manifest that is of the type `kind`."""
    value = values.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "missing" if value is None else f"of type {type(value).__name__}"
        raise InputRefused(
            f"training.json: {where}{key} is {found}; expected {kind.__name__}, as `safeml train` writes it."
        )
    return value
