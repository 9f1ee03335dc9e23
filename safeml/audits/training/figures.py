"""The course of a training as curves and tables. Legend: E epochs."""

from __future__ import annotations

import re

import numpy as np

from safeml.audits.training.manifest import Epoch, Manifest
from safeml.results import Column, Curve, Series, Table
from safeml.wording import counted, number

MOST_POINTS = 300
MOST_ROWS = 100
FINGERPRINT = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
TICK_ROOM = 0.2  # of the axis: nearer than that, words below it would touch


def curve(made: Manifest, key: str, title: str, percent_axis: bool) -> Curve:
    """Validation and training by epoch, the chosen epoch and the phases marked; a long fit is thinned, and says so."""
    shown = [made.epochs[row] for row in rows_to_show(made, f"val_{key}", MOST_POINTS)]
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
        x_ticks=_ticks(made),
        caption=f"Validation (bold) and training, by epoch. Epoch {made.chosen.epoch} is the model.",
        reading=[
            "Training is measured with augmentation and dropout on, validation without.",
            *(
                [
                    "Training is measured on attacked images. Attacked validation: PGD on a part of the images, weaker than the audit's attacks."
                ]
                if attacked
                else []
            ),
            *([f"Under the axis: {phases_in_words(made)}."] if len(made.phases) > 1 else []),
            *([_thinned(len(shown), len(made.epochs))] if len(shown) < len(made.epochs) else []),
        ],
    )


def rows_to_show(made: Manifest, key: str, most: int) -> list[int]:
    """At most about `most` of the epochs, as rows from 0: the ends, the chosen one, and of each stretch its lowest and highest.

    So a short jump is still seen where not every epoch is drawn.
    """
    E = len(made.epochs)
    if most >= E:
        return list(range(E))
    values = np.array([getattr(epoch, key) for epoch in made.epochs])
    kept = {0, E - 1, made.chosen.epoch - 1}
    for stretch in np.array_split(np.arange(E), (most - len(kept)) // 2):
        kept |= {int(stretch[np.argmin(values[stretch])]), int(stretch[np.argmax(values[stretch])])}
    return sorted(kept)


def phases_in_words(made: Manifest) -> str:
    return "; ".join(f"phase {row + 1}, {phase_epochs(made, row)}" for row in range(len(made.phases)))


def phase_epochs(made: Manifest, row: int) -> str:
    """The epochs of one phase, counted from 1, as far as they were trained."""
    phase = made.phases[row]
    last = min(phase.last, len(made.epochs))
    if phase.first > last:
        return "not reached"
    return f"epoch {last}" if last == phase.first else f"epochs {phase.first}-{last}"


def phase_notes(made: Manifest) -> tuple[str, list[str]]:
    """What all notes begin with (where the network is from and which rule decided, as a rule), and the rest of each.

    Notes are parts between semicolons; each phase keeps at least its last part. Fingerprints are shortened to 12 digits.
    """
    notes = [FINGERPRINT.sub(r"\1", phase.note).split("; ") for phase in made.phases]
    shared = 0
    if len(notes) > 1:
        most = min(map(len, notes)) - 1
        while shared < most and len({note[shared] for note in notes}) == 1:
            shared += 1
    return "; ".join(notes[0][:shared]) if notes else "", ["; ".join(note[shared:]) for note in notes]


def phase_table(made: Manifest) -> Table:
    shared, notes = phase_notes(made)
    rates = all(phase.learning_rate is not None for phase in made.phases)
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
            [row + 1, phase_epochs(made, row), *([phase.learning_rate] if rates else []), notes[row]]
            for row, phase in enumerate(made.phases)
        ],
        caption="A transferred network is trained in parts: what is frozen stays as it was taken over."
        + (f" In all phases, {shared}." if shared else ""),
    )


def epoch_table(made: Manifest) -> Table:
    rows = rows_to_show(made, made.monitor, MOST_ROWS)
    left_out = "" if len(rows) == len(made.epochs) else " " + _thinned(len(rows), len(made.epochs))
    several = len(made.phases) > 1
    attacked = any(epoch.val_robust_accuracy is not None for epoch in made.epochs)
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
                *([_phase_of(made, e)] if several else []),
                e.loss,
                e.accuracy,
                e.val_loss,
                e.val_accuracy,
                *([e.val_robust_accuracy] if attacked else []),
                e.file,
                "chosen" if e is made.chosen else "",
            ]
            for e in (made.epochs[row] for row in rows)
        ],
        caption="A checkpoint's file name carries the rounded value, and epochs that did not improve left no file."
        + left_out,
        fold=True,
    )


def _thinned(shown: int, E: int) -> str:
    return (
        f"Shown are {number(shown)} of {counted(E, 'epoch')}: the first, the last, the chosen one, and the lowest and "
        "highest of each stretch between; training.json has them all."
    )


def _phase_of(made: Manifest, epoch: Epoch) -> int | None:
    return next(
        (row for row, phase in enumerate(made.phases, 1) if phase.first <= epoch.epoch <= phase.last), None
    )


def _ticks(made: Manifest) -> list[tuple[float, str]]:
    """The first and the last epoch, where each later phase begins, and the chosen epoch, which comes first where room is short."""
    E = len(made.epochs)
    words = {made.chosen.epoch: ["chosen"]}
    for row, phase in enumerate(made.phases):
        if row and phase.first <= E:
            words.setdefault(phase.first, []).append(f"phase {row + 1}")
    marks = {epoch: f"{epoch} {', '.join(said)}" for epoch, said in words.items()}
    for plain in (E, 1):
        if all(abs(plain - mark) > TICK_ROOM * (E - 1) for mark in marks):
            marks[plain] = str(plain)
    return [(float(epoch), name) for epoch, name in sorted(marks.items())]
