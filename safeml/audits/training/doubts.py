"""What the course of a training makes doubtful, and which choices of the recipe a reader has to know of. Legend: E epochs."""

from __future__ import annotations

import math

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.training.findings import known_valid, one_sign
from safeml.audits.training.inflation import points
from safeml.audits.training.manifest import Manifest
from safeml.audits.training.recipe import own_model, without_effect
from safeml.results import Finding
from safeml.wording import counted, number, percent

GAP = 0.05
LOSS_RISES = 0.1  # of the lowest validation loss
UNSETTLED = 0.01
LEAST_EPOCHS = 9  # a third of fewer is no spread
IMBALANCED = 5


def fit_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Trained too short, learnt by heart, or not learnt at all."""
    findings = []
    chosen = made.chosen
    if chosen.epoch == len(made.epochs):
        findings.append(
            Finding(
                code="best-epoch-is-last",
                severity="warning",
                message=f"The best epoch is the last one ({chosen.epoch}), so training may have stopped too early.",
                remedy="Train for more epochs and see whether validation still gains.",
                evidence={"epoch": chosen.epoch},
            )
        )
    gap = chosen.accuracy - chosen.val_accuracy
    if gap > GAP:
        findings.append(
            Finding(
                code="train-validation-gap",
                severity="warning",
                message=f"Training accuracy is {100 * gap:.1f} points above validation accuracy, a sign of overfitting.",
                remedy="Use more data, augmentation or weight decay.",
                evidence={"train": chosen.accuracy, "valid": chosen.val_accuracy},
            )
        )
    chance, luck = _chance(inputs, made)
    if chosen.val_accuracy <= chance + luck:
        findings.append(
            Finding(
                code="chance-level",
                severity="serious",
                message=f"A validation accuracy of {percent(chosen.val_accuracy)} is no better than chance ({percent(chance)}).",
                remedy="Check labels, input range and learning rate; this model has learnt nothing.",
                evidence={"valid": chosen.val_accuracy, "chance": chance},
            )
        )
    return findings


def _chance(inputs: AuditInputs, made: Manifest) -> tuple[float, float]:
    """Accuracy of always naming the most frequent validation class (1/K where that is unknown), and three of its standard errors.

    Validation shows its images as they are: how training balanced its classes changes nothing here.
    """
    chance = 1 / inputs.test.classes
    valid = known_valid(inputs, made)
    if valid is not None:
        chance = float(np.bincount(valid.labels).max() / len(valid))
    return chance, 3 * math.sqrt(chance * (1 - chance) / made.valid.images)


def course_findings(made: Manifest) -> list[Finding]:
    """How training ended, whether it had settled, and whether the loss tells another story than the accuracy."""
    return [*_length(made), *_overconfident(made), *_unsettled(made)]


def _length(made: Manifest) -> list[Finding]:
    """Early stopping, or a number of epochs that the recipe does not explain."""
    most, patience, E = made.settings.get("epochs"), made.settings.get("early_stopping", 0), len(made.epochs)
    if not isinstance(most, int) or not isinstance(patience, int) or most == E:
        return []
    since = made.phases[-1].first - 1 if made.phases else 0  # before the last phase nobody waits for anything
    waited = E - max(since, made.best.epoch)
    if most > E and patience and waited == patience:
        return [
            Finding(
                code="stopped-early",
                severity="info",
                message=f"Early stopping ended training after epoch {E} of at most {most}: {made.monitor} had not been better for {counted(patience, 'epoch')}.",
                remedy="A longer patience shows whether it would have gained later.",
                evidence={"epochs": E, "at_most": most, "patience": patience, "best": made.best.epoch},
            )
        ]
    why = "early stopping does not explain it" if patience else "no early stopping is recorded"
    return [
        Finding(
            code="epochs-unlike-recipe",
            severity="warning",
            message=f"The manifest has {counted(E, 'epoch')} where the recipe asks for {most}, and {why}.",
            remedy="Train again; the manifest contradicts itself.",
            evidence={"epochs": E, "recipe": most, "patience": patience, "best": made.best.epoch},
        )
    ]


def _overconfident(made: Manifest) -> list[Finding]:
    """Validation loss that rises while accuracy does not fall: the mistakes are made with more and more confidence.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", 2017 (overfitting of the
    negative log-likelihood without overfitting of the error).
    """
    chosen = made.chosen
    lowest = min(made.epochs[: chosen.epoch], key=lambda epoch: epoch.val_loss)
    rise = chosen.val_loss - lowest.val_loss
    if rise <= LOSS_RISES * abs(lowest.val_loss) or chosen.val_accuracy < lowest.val_accuracy:
        return []
    return [
        Finding(
            code="loss-rises",
            severity="warning",
            message=f"From epoch {lowest.epoch} to the chosen epoch {chosen.epoch}, validation loss rises from {number(lowest.val_loss)} to {number(chosen.val_loss)} while accuracy does not fall: the model grows more confident in its mistakes.",
            remedy='Measure its calibration, use label smoothing, or choose by monitor = "val_loss".',
            evidence={
                "accuracy_at_lowest_loss": lowest.val_accuracy,
                "accuracy_chosen": chosen.val_accuracy,
            },
        )
    ]


def _unsettled(made: Manifest) -> list[Finding]:
    """The spread of the last third of the epochs: a choice among jumping values takes the luckiest of them."""
    E = len(made.epochs)
    if E < LEAST_EPOCHS:
        return []
    spread = float(np.std([epoch.val_accuracy for epoch in made.epochs[-(E // 3) :]], ddof=1))
    if spread <= max(UNSETTLED, one_sign(made) or 0.0):
        return []
    return [
        Finding(
            code="not-settled",
            severity="warning",
            message=f"Validation accuracy had not settled: over the last third of the epochs it varies by {points(spread)} (standard deviation).",
            remedy="Lower the learning rate towards the end, average the weights, or train for longer.",
            evidence={"epochs": E // 3, "standard_deviation": spread},
        )
    ]


def recipe_findings(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    """Choices of the recipe that change what its numbers mean."""
    return [*_balance(inputs, made), *_backbone(made)]


def _balance(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    choice = made.settings.get("balance")
    if choice == "class_weights":
        message = "Losses are weighted by class, rare classes more: training loss and validation loss are not of one kind."
        remedy = "Read how often the frequent classes are now mistaken for rare ones (class balance)."
    elif choice == "sampling":
        message = "Training draws each class equally often: training accuracy is over such draws, validation accuracy over the images as they are."
        remedy = "Read how often the frequent classes are now mistaken for rare ones (class balance)."
    else:
        return _unbalanced(inputs, made)
    return [
        Finding(
            code="classes-balanced",
            severity="info",
            message=message,
            remedy=remedy,
            evidence={"balance": choice},
        )
    ]


def _unbalanced(inputs: AuditInputs, made: Manifest) -> list[Finding]:
    train = inputs.train
    if made.settings.get("balance") != "none" or train is None or train.fingerprint != made.train.fingerprint:
        return []
    counts = np.bincount(train.labels, minlength=train.classes)
    most, least = int(counts.max()), int(counts[counts > 0].min())
    if most < IMBALANCED * least:
        return []
    return [
        Finding(
            code="classes-not-balanced",
            severity="info",
            message=f"Classes of {number(least)} to {number(most)} training images were trained as they are, so rare signs may be learnt worst.",
            remedy='Read the recall of the rare classes (performance); balance = "class_weights" or "sampling" are the other choices.',
            evidence={"most": most, "least": least},
        )
    ]


def _backbone(made: Manifest) -> list[Finding]:
    """A transferred network brings what it learnt elsewhere, faults and backdoors included.

    T. Gu, B. Dolan-Gavitt, S. Garg, "BadNets: Identifying vulnerabilities in the machine learning model supply chain",
    2017 (a backdoor in a traffic-sign network outlives transfer to other signs).
    """
    source = made.settings.get("backbone.source")
    if source is None:
        return []
    findings = []
    idle = without_effect(made.settings)
    if made.settings.get("backbone.weights") != "none" or own_model(str(source)):
        findings.append(
            Finding(
                code="transferred",
                severity="info",
                message=f"The model is transferred from {source}{_weights(made)}; {_frozen(made)}.",
                remedy="Know what it was trained on: its faults, and a backdoor in it, can outlive the transfer.",
                evidence={
                    key.removeprefix("backbone."): value
                    for key, value in made.settings.items()
                    if key.startswith("backbone.") and key not in idle
                },
            )
        )
    late = [phase for phase in made.phases[1:] if phase.first <= len(made.epochs)]
    if late and made.chosen.epoch < late[0].first:
        findings.append(
            Finding(
                code="later-phases-gained-nothing",
                severity="info",
                message=f"The chosen epoch {made.chosen.epoch} lies in the first phase: what was trained from epoch {late[0].first} on is not in the model.",
                remedy="Read the notes of the phases as a record of the fit, not of this model.",
                evidence={"chosen": made.chosen.epoch, "second_phase_begins": late[0].first},
            )
        )
    return findings


def _weights(made: Manifest) -> str:
    weights = made.settings.get("backbone.weights")
    known = weights is not None and not own_model(str(made.settings["backbone.source"]))
    return f" with weights {weights}" if known else ""


def _frozen(made: Manifest) -> str:
    freeze = made.settings.get("backbone.freeze")
    if isinstance(freeze, int | float):
        return f"the first {percent(freeze)} of its layers stay as they were"
    words = {
        "all": "all of it stays as it was (feature extraction)",
        "none": "none of it stays as it was (fine-tuning)",
        "auto": "what of it stays as it was is decided by the number and kind of images, see the phases",
    }
    return words.get(str(freeze), "what of it stays as it was is not recorded")
