"""Predictions under each corruption, stored slice by slice. Legend: N images, K classes, A corruptions, S severities, P grid points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.perturbation.flips import NAME as FLIPS
from safeml.audits.perturbation.flips import TITLE as FLIPS_TITLE
from safeml.audits.perturbation.flips import flip_metric
from safeml.audits.perturbation.threshold import CleanThreshold, clean_threshold
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.judged import predict
from safeml.corruptions.engine import corrupt
from safeml.corruptions.grid import Point, changed, grid
from safeml.corruptions.rows import CORRUPTIONS, SEVERITIES
from safeml.data.dataset import ImageDataset
from safeml.metrics.calibration.forecasts import forecasts
from safeml.metrics.calibration.scores import label_losses
from safeml.results import Metric
from safeml.sealed import Arrays, Form
from safeml.stages.perturbation import PerturbationSettings
from safeml.work import Cost

SLICE = 256
NO_ANSWER = -1  # logits that are not finite
FOR_CLASSES = "it is defined for classes, and this is a regression model"


@dataclass(frozen=True, eq=False)
class Measured:
    """The predictions on one sample.

    names: the A measured corruptions.
    clean: int64 [N], predicted class, or NO_ANSWER.
    answers: int64 [A, N, S].
    confidence: float64 [A, N, S], 0..1; NaN where there is no answer.
    losses: float64 [A, N, S], minus the log-probability of the true class; NaN where there is no answer.
    points: the P changes of the grid.
    grid_answers: int64 [N, P].
    flips: the flip probability over recorded frames.
    threshold: of conformal sets, fitted on clean validation images.
    ties: float64 [N], 0..1, uniform numbers that compare a score with an equal threshold.
    errors: float64 [A, N, S, T], absolute errors of a regression model, infinite where there is no answer; None for a classifier.
    """

    sample: ImageDataset
    names: tuple[str, ...]
    clean: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    losses: np.ndarray
    points: list[Point]
    grid_answers: np.ndarray
    flips: Metric
    threshold: CleanThreshold
    ties: np.ndarray
    slices: Slices
    errors: np.ndarray | None = None

    @property
    def clean_hits(self) -> np.ndarray:
        """Return which clean images are classified correctly, bool [N]."""
        return np.asarray(self.clean == self.sample.labels)

    @property
    def hits(self) -> np.ndarray:
        """Return which corrupted images are classified correctly, bool [A, N, S]."""
        return np.asarray(self.answers == self.sample.labels[None, :, None])

    @property
    def grid_hits(self) -> np.ndarray:
        """Return which images are classified correctly at every point of the grid, bool [N]."""
        return np.asarray((self.grid_answers == self.sample.labels[:, None]).all(axis=1))


def applicable(names: tuple[str, ...], channels: int, regression: bool = False) -> tuple[str, ...]:
    """Return the corruptions that images of so many channels can have.

    regression: leave out those that move pixels, because they may change the target: a rotated sign has another angle.
    """
    return tuple(
        name
        for name in names
        if (channels == 3 or not CORRUPTIONS[name].colour) and not (regression and CORRUPTIONS[name].moves)
    )


def measure(inputs: AuditInputs, settings: PerturbationSettings) -> Measured:
    """Predict a sample of the test images clean, under each corruption at each severity, and at each point of the grid."""
    sample = inputs.test.sample(settings.images, inputs.seed)
    ids = numbers(sample)
    targets, truths = sample.targets, sample.truths
    regression = targets is not None
    names = applicable(settings.corruptions, sample.images.shape[3], regression)
    moved = (0.0, 0.0) if regression else (settings.rotation_degrees, settings.shift)
    points = grid(*moved, settings.brightness, settings.blur)
    slices = Slices(inputs.work, SLICE, {"corrupted images": inputs.predicting})
    columns = {"images": sample.images, "ids": ids}
    labelled = {**columns, "labels": sample.labels}
    total = len(names) + 2

    def predicted(batches: list[np.ndarray], rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits of M images in k forms, float32 [M, k, K], and the answers, int64 [M, k]."""
        each = [predict(inputs.classifier, images, truths[rows])[0] for images in batches]
        logits = np.stack([np.asarray(own, np.float32) for own in each], axis=1)
        finite = np.isfinite(logits).all(axis=2)
        return logits, np.where(finite, logits.argmax(axis=2), NO_ANSWER).astype(np.int64)

    def answered(batches: list[np.ndarray], rows: slice) -> Arrays:
        return {"answers": predicted(batches, rows)[1]}

    def form(forms: int, *columns: str) -> Form:
        return {
            "answers": ("int64", (forms,)),
            **dict.fromkeys(columns, ("float64", (forms,))),
        }

    inputs.progress("clean images", 0, total)
    clean = slices.measure("clean", columns, {}, form(1), lambda rows: answered([sample.images[rows]], rows))
    answers, confidence, losses, errors = [], [], [], []
    of_target = {} if targets is None else {"errors": ("float64", (len(SEVERITIES), len(targets.settings)))}
    for number, name in enumerate(names):
        inputs.progress(CORRUPTIONS[name].title.lower(), number + 1, total)

        def corrupted(rows: slice, name: str = name) -> Arrays:
            part = sample.images[rows], ids[rows]
            forms = [corrupt(part[0], name, s, inputs.seed, part[1]) for s in SEVERITIES]
            logits, own = predicted(forms, rows)
            made = {"answers": own, **_forecast(logits, own, sample.labels[rows])}
            return made if targets is None else {**made, "errors": _sizes(logits, targets.tolerances)}

        cells = slices.measure(
            name,
            labelled,
            {"severities": list(SEVERITIES), "seed": inputs.seed},
            {**form(len(SEVERITIES), "confidence", "losses"), **of_target},
            corrupted,
            cost=Cost(passes=len(SEVERITIES)),
        )
        answers.append(cells["answers"])
        confidence.append(cells["confidence"])
        losses.append(cells["losses"])
        if targets is not None:
            errors.append(cells["errors"])
    inputs.progress("grid of small changes", total - 1, total)
    parts = {"points": [str(point) for point in points], "ends": _ends(settings)}
    on_grid = slices.measure(
        "grid",
        columns,
        parts,
        form(len(points)),
        lambda rows: answered([changed(sample.images[rows], p) for p in points], rows),
        cost=Cost(passes=len(points)),
    )
    inputs.progress("grid of small changes", total, total)
    return Measured(
        sample=sample,
        names=names,
        clean=clean["answers"][:, 0],
        answers=np.stack(answers),
        confidence=np.stack(confidence),
        losses=np.stack(losses),
        points=points,
        grid_answers=on_grid["answers"],
        flips=flip_metric(inputs, slices, settings.images, NO_ANSWER)
        if targets is None
        else Metric.undefined(FLIPS, FLIPS_TITLE, FOR_CLASSES, direction="down", n=len(sample)),
        threshold=clean_threshold(inputs, slices) if targets is None else CleanThreshold(None, FOR_CLASSES),
        ties=np.random.default_rng([inputs.seed, 0xC5]).random(len(sample)),
        slices=slices,
        errors=np.stack(errors) if errors else None,
    )


def _sizes(logits: np.ndarray, tolerances: np.ndarray | None) -> np.ndarray:
    """Return the absolute errors of a judged regression model from its margins: float64 [M, k, T], infinite without an answer.

    logits: float32 [M, k, 1 + 2 T], see `Judged`.
    """
    assert tolerances is not None
    above = logits[:, :, 1 : 1 + len(tolerances)].astype(np.float64)
    sizes = np.abs(above + 1) * tolerances
    return np.where(np.isfinite(sizes), sizes, np.inf)


def _forecast(logits: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Arrays:
    """Return confidence and loss of M images in k forms, float64 [M, k] each; NaN without an answer.

    logits: float32 [M, k, K].
    answers: int64 [M, k].
    labels: int64 [M].
    """
    void = answers == NO_ANSWER
    usable = np.where(void[..., None], np.float32(0), logits)
    made = forecasts(usable.reshape(-1, logits.shape[2]), np.repeat(labels, answers.shape[1]))
    values = {"confidence": made.confidence, "losses": label_losses(made)}
    return {name: np.where(void, np.nan, flat.reshape(void.shape)) for name, flat in values.items()}


def _ends(settings: PerturbationSettings) -> list[float]:
    return [settings.rotation_degrees, settings.shift, settings.brightness, settings.blur]
