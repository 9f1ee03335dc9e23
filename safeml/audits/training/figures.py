"""Learning curves and tables of a training. Legend: E epochs."""

from __future__ import annotations

import re

import numpy as np

from safeml.audits.training.manifest import Epoch, Manifest
from safeml.results import Column, Curve, Series, Table
from safeml.wording import counted, number

MOST_POINTS = 300
MOST_ROWS = 100
FINGERPRINT = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
TICK_ROOM = 0.2  # of the axis: closer labels would touch


def curve(manifest: Manifest, key: str, title: str, percent_axis: bool) -> Curve:
    """Draw validation and training by epoch with the selected epoch and the phases; a long fit is thinned, as noted."""
    shown = [manifest.epochs[row] for row in rows_to_show(manifest, f"val_{key}", MOST_POINTS)]
    x = [float(epoch.epoch) for epoch in shown]
    valid = [float(getattr(epoch, f"val_{key}")) for epoch in shown]
    train = [float(getattr(epoch, key)) for epoch in shown]
    series = [Series(name="validation", x=x, y=valid, role="main"), Series(name="training", x=x, y=train)]
    robust = [row.val_robust_accuracy for row in shown if row.val_robust_accuracy is not None]
    attacked = key == "accuracy" and len(robust) == len(shown)
    if attacked:
        series.append(Series(name="validation, attacked", x=x, y=robust, role="bound"))
    return Curve(
        id=f"training-{key}",
        title=title,
        x_label="epoch",
        y_label=key,
        percent=percent_axis,
        series=series,
        x_ticks=_ticks(manifest),
        caption=f"Validation (bold) and training, by epoch. Epoch {manifest.chosen.epoch} is the model.",
        reading=[
            "Training is measured with augmentation and dropout, validation without.",
            *(
                [
                    "Training is measured on attacked images. Attacked validation: PGD on some of the images, "
                    "weaker than the audit's attacks."
                ]
                if attacked
                else []
            ),
            *([f"Under the axis: {phases_in_words(manifest)}."] if len(manifest.phases) > 1 else []),
            *([_thinned(len(shown), len(manifest.epochs))] if len(shown) < len(manifest.epochs) else []),
        ],
    )


def rows_to_show(manifest: Manifest, key: str, most: int) -> list[int]:
    """Return about `most` epochs as rows from 0: both ends, the selected epoch, and the extremes of each stretch.

    A short spike therefore stays visible in a thinned curve.
    """
    E = len(manifest.epochs)
    if most >= E:
        return list(range(E))
    values = np.array([getattr(epoch, key) for epoch in manifest.epochs])
    kept = {0, E - 1, manifest.chosen.epoch - 1}
    for stretch in np.array_split(np.arange(E), (most - len(kept)) // 2):
        kept |= {int(stretch[np.argmin(values[stretch])]), int(stretch[np.argmax(values[stretch])])}
    return sorted(kept)


def phases_in_words(manifest: Manifest) -> str:
    return "; ".join(f"phase {row + 1}, {phase_epochs(manifest, row)}" for row in range(len(manifest.phases)))


def phase_epochs(manifest: Manifest, row: int) -> str:
    """Format the trained epochs of one phase, counted from 1."""
    phase = manifest.phases[row]
    last = min(phase.last, len(manifest.epochs))
    if phase.first > last:
        return "not reached"
    return f"epoch {last}" if last == phase.first else f"epochs {phase.first}-{last}"


def phase_notes(manifest: Manifest) -> tuple[str, list[str]]:
    """Return the common beginning of all notes (usually source and rule of the transfer), and the rest of each note.

    A note consists of parts between semicolons; each phase keeps at least its last part. Fingerprints are shortened to 12 digits.
    """
    notes = [FINGERPRINT.sub(r"\1", phase.note).split("; ") for phase in manifest.phases]
    shared = 0
    if len(notes) > 1:
        most = min(map(len, notes)) - 1
        while shared < most and len({note[shared] for note in notes}) == 1:
            shared += 1
    return "; ".join(notes[0][:shared]) if notes else "", ["; ".join(note[shared:]) for note in notes]


def phase_table(manifest: Manifest) -> Table:
    shared, notes = phase_notes(manifest)
    rates = all(phase.learning_rate is not None for phase in manifest.phases)
    return Table(
        id="phases",
        title="Phases",
        columns=[
            Column(key="phase", label="Phase"),
            Column(key="epochs", label="Epochs"),
            *([Column(key="rate", label="Learning rate", kind="number")] if rates else []),
            Column(key="note", label="What was trained"),
        ],
        rows=[
            [row + 1, phase_epochs(manifest, row), *([phase.learning_rate] if rates else []), notes[row]]
            for row, phase in enumerate(manifest.phases)
        ],
        caption="A transferred network is trained in phases: frozen layers keep their original weights."
        + (f" In all phases, {shared}." if shared else ""),
    )


def epoch_table(manifest: Manifest) -> Table:
    rows = rows_to_show(manifest, manifest.monitor, MOST_ROWS)
    left_out = "" if len(rows) == len(manifest.epochs) else " " + _thinned(len(rows), len(manifest.epochs))
    several = len(manifest.phases) > 1
    attacked = any(epoch.val_robust_accuracy is not None for epoch in manifest.epochs)
    return Table(
        id="epochs",
        title="Epochs",
        columns=[
            Column(key="epoch", label="Epoch", kind="number"),
            *([Column(key="phase", label="Phase", kind="number")] if several else []),
            Column(key="loss", label="Training loss", kind="number"),
            Column(key="accuracy", label="Training accuracy", kind="percent"),
            Column(key="val_loss", label="Validation loss", kind="number"),
            Column(key="val_accuracy", label="Validation accuracy", kind="percent"),
            *([Column(key="attacked", label="Attacked validation", kind="percent")] if attacked else []),
            Column(key="file", label="Checkpoint", kind="id"),
            Column(key="chosen", label="Chosen"),
        ],
        rows=[
            [
                e.epoch,
                *([_phase_of(manifest, e)] if several else []),
                e.loss,
                e.accuracy,
                e.val_loss,
                e.val_accuracy,
                *([e.val_robust_accuracy] if attacked else []),
                e.file,
                "chosen" if e is manifest.chosen else "",
            ]
            for e in (manifest.epochs[row] for row in rows)
        ],
        caption="The file name of a checkpoint holds the rounded value; epochs without improvement have no file."
        + left_out,
        fold=True,
    )


def _thinned(shown: int, E: int) -> str:
    return (
        f"Shown are {number(shown)} of {counted(E, 'epoch')}: the first, the last, the selected one, and the lowest and "
        "highest of each stretch between; training.json has all of them."
    )


def _phase_of(manifest: Manifest, epoch: Epoch) -> int | None:
    return next(
        (row for row, phase in enumerate(manifest.phases, 1) if phase.first <= epoch.epoch <= phase.last),
        None,
    )


def _ticks(manifest: Manifest) -> list[tuple[float, str]]:
    """Return ticks: the first and last epoch, the start of each later phase, and the selected epoch.

    The selected epoch has priority where labels would touch.
    """
    E = len(manifest.epochs)
    words = {manifest.chosen.epoch: ["chosen"]}
    for row, phase in enumerate(manifest.phases):
        if row and phase.first <= E:
            words.setdefault(phase.first, []).append(f"phase {row + 1}")
    marks = {epoch: f"{epoch} {', '.join(said)}" for epoch, said in words.items()}
    for plain in (E, 1):
        if all(abs(plain - mark) > TICK_ROOM * (E - 1) for mark in marks):
            marks[plain] = str(plain)
    return [(float(epoch), name) for epoch, name in sorted(marks.items())]
