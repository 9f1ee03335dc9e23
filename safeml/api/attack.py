"""Attacks on arrays, for a researcher who comes from Foolbox or ART. Legend: N images, H W C pixels, K classes.

The result is recomputed as in an audit: projected into the ball, clipped, predicted again. There are no masking checks here;
robust accuracy for a decision is that of `safeml.audit`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from safeml.api.arrays import checked_labels, numbered_names, unit_pixels, whole_numbers
from safeml.attacks.rows import ATTACK_NAMES, ENSEMBLE, ROWS, AttackRow
from safeml.audits.adversarial.campaign import FARTHEST, reach
from safeml.audits.adversarial.measure import Measured, measure
from safeml.audits.measured import CleanSample, fault_clauses
from safeml.classifiers.base import Classifier, differentiable, is_differentiable
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.memory import in_memory
from safeml.errors import ConfigError, StageError
from safeml.metrics.classification import right_answers
from safeml.results import Metric
from safeml.settings.base import validated
from safeml.settings.errors import found, suggest
from safeml.settings.model import InputSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics import Clustering, proportion_metric
from safeml.threats import NORM_NAMES, Threat, outside_range, threat_words
from safeml.wording import counted, percent

WHERE = "safeml.attack"
Contract = InputSettings | Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class AttackResult:
    """The result of an attack, recomputed.

    method: the name of the attack.
    threat: norm and epsilon.
    adversarial: float32 [N, H, W, C], 0..1, inside the ball (FMN and DDN: the nearest found, at any distance).
    success: bool [N], misclassified inside the ball; an image that is misclassified without an attack counts.
    distances: float64 [N], pixel units, the norm of the change; 0 where the clean image is misclassified, infinite where no
        adversarial example was found.
    queries: int64 [N], gradients or queries spent on the image.
    clean_correct: bool [N], classified correctly without an attack.
    """

    method: str
    threat: Threat
    adversarial: np.ndarray = field(repr=False)
    success: np.ndarray = field(repr=False)
    distances: np.ndarray = field(repr=False)
    queries: np.ndarray = field(repr=False)
    clean_correct: np.ndarray = field(repr=False)

    def __repr__(self) -> str:
        robust = float((~self.success).mean())
        return (
            f"<{ROWS[self.method].title}, {threat_words(self.threat)}: accuracy {percent(float(self.clean_correct.mean()))} clean, "
            f"{percent(robust)} attacked, {counted(len(self.success), 'image')}>"
        )


def attack(
    model: Any,
    images: Any,
    labels: Any,
    method: str = "apgd_ce",
    *,
    norm: str = "linf",
    eps: float | str = "4/255",
    steps: int | None = None,
    attempts: int | None = None,
    input: Contract = None,
    seed: int = 7,
    batch: int = 64,
) -> AttackResult:
    """Attack each image until it is misclassified or the budget is spent.

    Args:
        model: a Keras 3 model, a path, or the classifier of `safeml.wrap`, which keeps its compiled attacks between calls.
        images: [N, H, W, 1 or 3], uint8 0..255 or float 0..1.
        labels: int [N], 0..K-1.
        method: fgsm, pgd, fmn, ddn (L2 only), apgd_pm, apgd_ce, apgd_t or square.
        norm: "linf" or "l2".
        eps: largest norm of the change, in pixel units of 0..1; text such as "4/255" is a fraction.
        steps: changes of an image in one attempt (square: queries); None: as in an audit.
        attempts: restarts, or target classes of apgd_t; None: as in an audit.
        input: the input contract of a Keras model or a path, such as {"range": [0, 255]}.
        seed: with the number of an image, of all random draws.
        batch: images at a time; it changes only speed.

    Raises:
        ConfigError: an unknown attack or norm, an impossible epsilon or budget.
        InputRefused: model, images or labels of another shape, type or range.
        StageError: the model gives no gradient and the attack needs one.
    """
    threat = _threat(norm, eps)
    name = _known(method, threat)
    classifier, clean = _subject(model, images, labels, input)
    measured = _measured(classifier, clean, name, threat, (steps, attempts), seed, batch)
    inside = measured.size <= reach(threat, clean.images[0].size)
    return AttackResult(
        method=name,
        threat=threat,
        adversarial=measured.attacked,
        success=(measured.wrong | ~clean.right) & inside,
        distances=np.where(measured.wrong | ~clean.right, measured.size, np.inf).astype(np.float64),
        queries=measured.evaluations,
        clean_correct=clean.right,
    )


def robust_accuracy(
    model: Any,
    images: Any,
    labels: Any,
    *,
    norm: str = "linf",
    eps: float | str = "4/255",
    attacks: Sequence[str] = ENSEMBLE,
    tracks: Any = None,
    frames_per_sign: float | None = None,
    input: Contract = None,
    seed: int = 7,
    batch: int = 64,
) -> Metric:
    """Return the accuracy under the worst of several attacks, with its 95 % interval over sign tracks.

    Args:
        model, images, labels, norm, eps, input, seed, batch: as in `attack`.
        attacks: in running order; each gets the survivors of those before it.
        tracks: int [N]; equal numbers are frames of one physical sign.
        frames_per_sign: declared frames of one sign, where tracks are unknown; 1 declares independent images. Without either
            there is no interval.

    Raises: as `attack`.
    """
    threat = _threat(norm, eps)
    names = [_known(name, threat) for name in attacks]
    if not names:
        raise ConfigError("safeml.robust_accuracy: attacks are empty; expected at least one name.")
    classifier, clean = _subject(model, images, labels, input)
    survivors = clean.right.copy()
    for name in names:
        rows = np.flatnonzero(survivors)
        if not len(rows):
            break
        measured = _measured(classifier, clean.take(rows), name, threat, (None, None), seed, batch, rows)
        survivors[rows] = measured.size > reach(threat, clean.images[0].size)
        faults = list(fault_clauses(measured.faults))
        if faults:
            raise StageError(f"{name}: {'; '.join(faults)}; robust accuracy is not measured.")
    title = f"Robust accuracy at {threat_words(threat)}, worst case of {', '.join(ROWS[name].title for name in names)}"
    known = None if tracks is None else whole_numbers(tracks, "tracks", len(survivors))
    return proportion_metric(
        f"robust_accuracy.{threat.label}", title, survivors, clustering=Clustering(known, frames_per_sign)
    )


def _threat(norm: str, eps: float | str) -> Threat:
    value = eps if isinstance(eps, str) else float(eps)
    threat = validated(Threat, {"norm": norm, "epsilon": value}, WHERE)
    if problem := outside_range(threat):
        raise ConfigError(f"{WHERE}: {problem}.")
    return threat


def _known(method: str, threat: Threat) -> str:
    if method not in ATTACK_NAMES:
        raise ConfigError(
            f"{WHERE}: there is no attack {found(method)}{suggest(str(method), list(ATTACK_NAMES))}."
        )
    if threat.norm not in ROWS[method].norms:
        norms = " and ".join(NORM_NAMES[norm] for norm in ROWS[method].norms)
        raise ConfigError(
            f"{WHERE}: {ROWS[method].title} is defined for {norms} only, and norm is {found(threat.norm)}; use fmn for this norm."
        )
    return method


def _subject(model: Any, images: Any, labels: Any, contract: Contract) -> tuple[Classifier, CleanSample]:
    """Return the classifier, and the images with its predictions."""
    pixels = unit_pixels(images)
    classifier = _classifier(model, pixels.shape, contract)
    classes = checked_labels(labels, len(pixels), classifier.classes)
    logits = np.asarray(classifier.predict_logits(pixels), np.float32)
    return classifier, CleanSample(pixels, classes, logits, right_answers(logits, classes))


def _classifier(model: Any, shape: tuple[int, ...], contract: Contract) -> Classifier:
    if callable(getattr(model, "predict_logits", None)):
        if contract is not None:
            raise ConfigError(f"{WHERE}: a classifier has its input contract already; remove `input`.")
        classifier: Classifier = model
        return classifier
    if isinstance(model, str | os.PathLike):
        from safeml.classifiers.load import load_model

        opened = load_model(Path(model))
        checked, name = opened.model, opened.title
    else:
        memory = in_memory(model)
        checked, name = memory.model, memory.title
    height, width, depth = checked.input_shape
    values = dict(contract) if isinstance(contract, Mapping) else {}
    settings = contract if isinstance(contract, InputSettings) else validated(InputSettings, values, WHERE)
    # What the model leaves open is that of the images.
    open_ends = {"height": (height, shape[1]), "width": (width, shape[2])}
    update: dict[str, Any] = {
        side: given
        for side, (fixed, given) in open_ends.items()
        if fixed is None and getattr(settings, side) is None
    }
    if contract is None and depth == 1 and shape[3] == 1:
        update["channels"] = "grey"
    return checked.fed(settings.model_copy(update=update), numbered_names(checked.outputs), name)


def _measured(
    classifier: Classifier,
    clean: CleanSample,
    name: str,
    threat: Threat,
    effort: tuple[int | None, int | None],
    seed: int,
    batch: int,
    ids: np.ndarray | None = None,
) -> Measured:
    """Run an attack and recompute its result. ids: int [N], of the random draws; default 0..N-1."""
    from safeml.attacks import views
    from safeml.attacks.base import Budget
    from safeml.attacks.registry import ATTACKS

    row = ROWS[name]
    shown: Any = classifier
    if not is_differentiable(classifier):
        shown = differentiable(classifier) if row.gradient else views.answers_alone(classifier)
    steps, attempts = _effort(row, effort, classifier.classes)
    budget = Budget(steps, attempts, seed, _at_least_one("batch", batch), bool(clean.right.all()))
    within = FARTHEST[threat.norm] if row.minimal else threat
    numbers = np.arange(len(clean.labels)) if ids is None else ids
    outcome = until_it_fits(
        BatchSize(budget.batch),
        lambda size: ATTACKS[name](
            shown,
            clean.images.copy(),
            clean.labels.copy(),
            within,
            replace(budget, batch=size),
            numbers,
        ),
    )
    return measure(classifier, clean, outcome, within)


def _effort(row: AttackRow, asked: tuple[int | None, int | None], classes: int) -> tuple[int, int]:
    """Return steps and attempts: as asked, else those of an audit."""
    steps, attempts = row.effort(AdversarialSettings())
    steps = steps if asked[0] is None else _at_least_one("steps", asked[0])
    attempts = attempts if asked[1] is None else _at_least_one("attempts", asked[1])
    return steps, min(attempts, classes - 1) if row.targeted else attempts


def _at_least_one(key: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{WHERE}: {key} is {found(value)}; expected a whole number of at least 1.")
    return value
