"""Findings on the fit, the learning curves and the recipe of a training. Legend: E epochs."""

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


def fit_findings(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    """Report a fit that ended too early, overfitted, or learnt nothing."""
    findings = []
    chosen = manifest.chosen
    if chosen.epoch == len(manifest.epochs):
        findings.append(
            Finding(
                code="best-epoch-is-last",
                severity="warning",
                message=f"The best epoch is the last one ({chosen.epoch}), so training may have ended too early.",
                remedy="Train for more epochs and check whether validation improves.",
                evidence={"epoch": chosen.epoch},
            )
        )
    gap = chosen.accuracy - chosen.val_accuracy
    if gap > GAP:
        findings.append(
            Finding(
                code="train-validation-gap",
                severity="warning",
                message=f"Training accuracy is {100 * gap:.1f} points above validation accuracy, which indicates overfitting.",
                remedy="Use more data, augmentation or weight decay.",
                evidence={"train": chosen.accuracy, "valid": chosen.val_accuracy},
            )
        )
    chance, luck = _chance(inputs, manifest)
    if chosen.val_accuracy <= chance + luck:
        findings.append(
            Finding(
                code="chance-level",
                severity="serious",
                message=f"A validation accuracy of {percent(chosen.val_accuracy)} is no better than chance ({percent(chance)}).",
                remedy="Check labels, input range and learning rate; this model learnt nothing.",
                evidence={"valid": chosen.val_accuracy, "chance": chance},
            )
        )
    return findings


def _chance(inputs: AuditInputs, manifest: Manifest) -> tuple[float, float]:
    """Return the accuracy of always predicting the most frequent validation class, and three standard errors of it.

    1/K where the validation images are not known. Class balancing in training does not change it.
    """
    chance = 1 / inputs.test.classes
    valid = known_valid(inputs, manifest)
    if valid is not None:
        chance = float(np.bincount(valid.labels).max() / len(valid))
    return chance, 3 * math.sqrt(chance * (1 - chance) / manifest.valid.images)


def course_findings(manifest: Manifest) -> list[Finding]:
    """Report how training ended, whether it converged, and whether loss and accuracy disagree."""
    return [*_length(manifest), *_overconfident(manifest), *_unsettled(manifest)]


def _length(manifest: Manifest) -> list[Finding]:
    """Report early stopping, or a number of epochs that the recipe does not explain."""
    most, patience, E = (
        manifest.settings.get("epochs"),
        manifest.settings.get("early_stopping", 0),
        len(manifest.epochs),
    )
    if not isinstance(most, int) or not isinstance(patience, int) or most == E:
        return []
    # Early stopping applies to the last phase only.
    since = manifest.phases[-1].first - 1 if manifest.phases else 0
    waited = E - max(since, manifest.best.epoch)
    if most > E and patience and waited == patience:
        return [
            Finding(
                code="stopped-early",
                severity="info",
                message=f"Early stopping ended training after epoch {E} of at most {most}: "
                f"{manifest.monitor} had not improved for {counted(patience, 'epoch')}.",
                remedy="Train with a longer patience to see whether it would have improved later.",
                evidence={"epochs": E, "at_most": most, "patience": patience, "best": manifest.best.epoch},
            )
        ]
    why = "early stopping does not explain it" if patience else "no early stopping is recorded"
    return [
        Finding(
            code="epochs-unlike-recipe",
            severity="warning",
            message=f"The manifest has {counted(E, 'epoch')} but the recipe asks for {most}, and {why}.",
            remedy="Train again; the manifest contradicts itself.",
            evidence={"epochs": E, "recipe": most, "patience": patience, "best": manifest.best.epoch},
        )
    ]


def _overconfident(manifest: Manifest) -> list[Finding]:
    """Report a validation loss that rises while accuracy does not fall: the confidence of the mistakes grows.

    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", 2017 (overfitting of the
    negative log-likelihood without overfitting of the error).
    """
    chosen = manifest.chosen
    lowest = min(manifest.epochs[: chosen.epoch], key=lambda epoch: epoch.val_loss)
    rise = chosen.val_loss - lowest.val_loss
    if rise <= LOSS_RISES * abs(lowest.val_loss) or chosen.val_accuracy < lowest.val_accuracy:
        return []
    return [
        Finding(
            code="loss-rises",
            severity="warning",
            message=f"From epoch {lowest.epoch} to the selected epoch {chosen.epoch}, validation loss rises from "
            f"{number(lowest.val_loss)} to {number(chosen.val_loss)} while accuracy does not fall: "
            "the model becomes more confident in its mistakes.",
            remedy='Measure its calibration, use label smoothing, or set monitor = "val_loss".',
            evidence={
                "accuracy_at_lowest_loss": lowest.val_accuracy,
                "accuracy_chosen": chosen.val_accuracy,
            },
        )
    ]


def _unsettled(manifest: Manifest) -> list[Finding]:
    """Report a large spread over the last third of the epochs: selecting the best of noisy values favours luck."""
    E = len(manifest.epochs)
    if E < LEAST_EPOCHS:
        return []
    spread = float(np.std([epoch.val_accuracy for epoch in manifest.epochs[-(E // 3) :]], ddof=1))
    if spread <= max(UNSETTLED, one_sign(manifest) or 0.0):
        return []
    return [
        Finding(
            code="not-settled",
            severity="warning",
            message="Validation accuracy had not converged: over the last third of the epochs "
            f"its standard deviation is {points(spread)}.",
            remedy="Lower the learning rate towards the end, average the weights, or train for longer.",
            evidence={"epochs": E // 3, "standard_deviation": spread},
        )
    ]


def recipe_findings(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    """Report recipe settings that change how its numbers must be read."""
    return [*_balance(inputs, manifest), *_backbone(manifest)]


def _balance(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    choice = manifest.settings.get("balance")
    if choice == "class_weights":
        message = "Training weights the loss by class, rare classes more: training and validation loss are not comparable."
        remedy = "Check how often frequent classes are now misclassified as rare ones (confusion matrix)."
    elif choice == "sampling":
        message = (
            "Training samples each class equally often: training accuracy is on that distribution, "
            "validation accuracy on the original one."
        )
        remedy = "Check how often frequent classes are now misclassified as rare ones (confusion matrix)."
    else:
        return _unbalanced(inputs, manifest)
    return [
        Finding(
            code="classes-balanced",
            severity="info",
            message=message,
            remedy=remedy,
            evidence={"balance": choice},
        )
    ]


def _unbalanced(inputs: AuditInputs, manifest: Manifest) -> list[Finding]:
    train = inputs.train
    if (
        manifest.settings.get("balance") != "none"
        or train is None
        or train.fingerprint != manifest.train.fingerprint
    ):
        return []
    counts = np.bincount(train.labels, minlength=train.classes)
    most, least = int(counts.max()), int(counts[counts > 0].min())
    if most < IMBALANCED * least:
        return []
    return [
        Finding(
            code="classes-not-balanced",
            severity="info",
            message=f"Training did not balance the classes, which have {number(least)} to {number(most)} images; "
            "rare classes may have the lowest recall.",
            remedy="Check the recall of the rare classes (performance); to balance, set "
            'balance = "class_weights" or "sampling".',
            evidence={"most": most, "least": least},
        )
    ]


def _backbone(manifest: Manifest) -> list[Finding]:
    """Report a transferred network: it inherits faults and backdoors of its earlier training.

    T. Gu, B. Dolan-Gavitt, S. Garg, "BadNets: Identifying vulnerabilities in the machine learning model supply chain",
    2017 (a backdoor in a traffic-sign network survives transfer to other signs).
    """
    source = manifest.settings.get("backbone.source")
    if source is None:
        return []
    findings = []
    idle = without_effect(manifest.settings)
    if manifest.settings.get("backbone.weights") != "none" or own_model(str(source)):
        findings.append(
            Finding(
                code="transferred",
                severity="info",
                message=f"The model is transferred from {source}{_weights(manifest)}; {_frozen(manifest)}.",
                remedy="Find out its training data: faults and backdoors can survive the transfer.",
                evidence={
                    key.removeprefix("backbone."): value
                    for key, value in manifest.settings.items()
                    if key.startswith("backbone.") and key not in idle
                },
            )
        )
    late = [phase for phase in manifest.phases[1:] if phase.first <= len(manifest.epochs)]
    if late and manifest.chosen.epoch < late[0].first:
        findings.append(
            Finding(
                code="later-phases-gained-nothing",
                severity="info",
                message=f"The selected epoch {manifest.chosen.epoch} is in the first phase: "
                f"the training from epoch {late[0].first} on is not in the model.",
                remedy="Read the notes on the later phases as a record of the fit, not of this model.",
                evidence={"chosen": manifest.chosen.epoch, "second_phase_begins": late[0].first},
            )
        )
    return findings


def _weights(manifest: Manifest) -> str:
    weights = manifest.settings.get("backbone.weights")
    known = weights is not None and not own_model(str(manifest.settings["backbone.source"]))
    return f" with weights {weights}" if known else ""


def _frozen(manifest: Manifest) -> str:
    freeze = manifest.settings.get("backbone.freeze")
    if isinstance(freeze, int | float):
        return f"the first {percent(freeze)} of its layers are frozen"
    words = {
        "all": "all of its layers are frozen (feature extraction)",
        "none": "no layer is frozen (fine-tuning)",
        "auto": "the frozen layers depend on the number and kind of images, see the phases",
    }
    return words.get(str(freeze), "the frozen layers are not recorded")
