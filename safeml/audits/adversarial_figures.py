"""The figures of the adversarial audit. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import numpy as np

from safeml.audits.adversarial_measure import CleanSample, Measured
from safeml.audits.gallery import change_panel, panel, to_uint8
from safeml.audits.masking import Check
from safeml.audits.weakest import group_recall
from safeml.config import AdversarialSettings, Threat
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import softmax
from safeml.metrics.perturbation import perturbation_size
from safeml.results import Column, Curve, Dot, DotPlot, Gallery, GalleryItem, Metric, Scalar, Series, Table

MOST_CASES = 24
NORM_NAMES = {"linf": "L∞", "l2": "L2"}
ITERATIVE = {"pgd"}


def epsilon_words(threat: Threat) -> str:
    """Epsilon as the field writes it: 4/255 for L-inf, 0.5 for L2."""
    return f"{threat.epsilon * 255:.6g}/255" if threat.norm == "linf" else f"{threat.epsilon:.6g}"


def threat_words(threat: Threat) -> str:
    return f"{NORM_NAMES[threat.norm]}, ε = {epsilon_words(threat)}"


def security_curves(settings: AdversarialSettings, metrics: dict[str, Metric]) -> list[Curve]:
    """Accuracy against epsilon for each norm, from the clean images (epsilon 0) on."""
    curves = []
    for norm in NORM_NAMES:
        threats = sorted((t for t in settings.threats if t.norm == norm), key=lambda threat: threat.epsilon)
        if not threats:
            continue
        x = [0.0, *(threat.epsilon for threat in threats)]
        names = [f"robust_accuracy.{threat.label}" for threat in threats]
        context = [
            _series(attack.upper(), x, [metrics[f"{name}.{attack}"] for name in names], metrics, "context")
            for attack in settings.attacks
        ]
        curves.append(
            Curve(
                id=f"security-{norm}",
                title=f"Accuracy under attack, {NORM_NAMES[norm]}",
                x_label=f"ε ({NORM_NAMES[norm]}, pixels 0..1)",
                y_label="accuracy",
                series=[
                    _series("worst case", x, [metrics[name] for name in names], metrics, "main"),
                    *context,
                ],
                percent=True,
                x_ticks=[(0.0, "0"), *((threat.epsilon, epsilon_words(threat)) for threat in threats)],
                caption="Worst case over attacks, image by image, with its 95 % interval; ε = 0 is the clean image.",
            )
        )
    return curves


def _series(name: str, x: list[float], points: list[Metric], metrics: dict[str, Metric], role: str) -> Series:
    """The measured points of one line; what was not measured is left out of it."""
    clean = metrics["clean_accuracy_attacked_sample"]
    measured = [(at, point) for at, point in zip(x, [clean, *points], strict=True) if point.value is not None]
    banded = role == "main" and all(point.low is not None for _, point in measured)
    return Series(
        name=name,
        x=[at for at, _ in measured],
        y=[point.value for _, point in measured if point.value is not None],
        low=[point.low for _, point in measured if point.low is not None] if banded else None,
        high=[point.high for _, point in measured if point.high is not None] if banded else None,
        role="main" if role == "main" else "context",
    )


def attack_table(settings: AdversarialSettings, metrics: dict[str, Metric]) -> Table:
    """One row an attack, the worst case last; one column a threat."""
    rows: list[list[Scalar]] = []
    for attack in settings.attacks:
        effort = f"{settings.steps} × {settings.restarts}" if attack in ITERATIVE else "1 × 1"
        found = [metrics[f"robust_accuracy.{threat.label}.{attack}"].value for threat in settings.threats]
        rows.append([attack.upper(), "white box", effort, *found])
    worst = [metrics[f"robust_accuracy.{threat.label}"].value for threat in settings.threats]
    rows.append(["worst case", "", "", *worst])
    return Table(
        id="attacks",
        title="Attacks",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="knowledge", label="Knowledge"),
            Column(key="effort", label="Steps × restarts"),
            *(Column(key=t.label, label=threat_words(t), kind="percent") for t in settings.threats),
        ],
        rows=rows,
        caption="Accuracy that each attack leaves, alone and in the worst case image by image.",
    )


def check_table(checks: list[Check]) -> Table:
    return Table(
        id="masking",
        title="Is the robustness real?",
        columns=[
            Column(key="sign", label="Sign of honest gradients"),
            Column(key="found", label="Found"),
            Column(key="expected", label="Expected"),
            Column(key="raised", label="Flag raised"),
        ],
        rows=[[check.sign, check.found, check.expected, "yes" if check.raised else "no"] for check in checks],
        caption="A raised flag means that the attack may have failed for a reason that a better attack does not share."
        if checks
        else "Not measured: no image is classified correctly, so no attack could fail.",
    )


def class_plot(sample: ImageDataset, right: np.ndarray, robust: np.ndarray, main: Threat) -> DotPlot:
    """Recall of each class under the worst attack, weakest first; classes without an image come last, unmeasured."""
    dots = []
    for label, name in enumerate(sample.class_names):
        member = sample.labels == label
        under_attack = group_recall(sample, robust, member, name, f"class:{name}")
        dots.append(
            Dot(
                label=name,
                value=under_attack.value,
                low=under_attack.low,
                high=under_attack.high,
                n=int(member.sum()),
                compare=float(right[member].mean()) if member.any() else None,
            )
        )
    dots.sort(key=lambda dot: (dot.value is None, dot.value if dot.value is not None else 0.0))
    return DotPlot(
        id="robust-recall-by-class",
        title=f"Recall by class under the worst attack, {threat_words(main)}",
        dots=dots,
        overall=float(robust.mean()),
        caption="Weakest first; the outline is the recall of the same images without an attack.",
    )


def worst_cases(sample: ImageDataset, clean: CleanSample, attacks: list[Measured], main: Threat) -> Gallery:
    """The most confident wrong answers among images that are right when clean: at most one a class."""
    found = np.stack([measured.logits for measured in attacks])
    confidence = softmax(found).max(axis=2)
    wrong = clean.right & np.isfinite(found).all(axis=2) & (found.argmax(axis=2) != sample.labels)
    best = np.where(wrong, confidence, -1.0).argmax(axis=0)
    rows = np.arange(len(sample))
    confidence, broken = confidence[best, rows], wrong[best, rows]
    chosen: list[int] = []
    for row in sorted(np.flatnonzero(broken).tolist(), key=lambda row: -confidence[row]):
        if len(chosen) < MOST_CASES and sample.labels[row] not in sample.labels[chosen]:
            chosen.append(row)

    attacked = {row: attacks[best[row]].attacked[row] for row in chosen}
    # One scale for all pictures: epsilon fills it for L-inf; no pixel of an L2 attack comes near its epsilon.
    scale = main.epsilon
    if main.norm == "l2" and chosen:
        shown = np.stack(list(attacked.values()))
        scale = max(float(perturbation_size(clean.images[chosen], shown, "linf").max()), 1e-6)
    certain = softmax(clean.logits)
    items = []
    for row in chosen:
        label, answer = int(sample.labels[row]), int(found[best[row], row].argmax())
        items.append(
            GalleryItem(
                panels=[
                    panel("clean", sample.images[row]),
                    panel("attacked", to_uint8(attacked[row])),
                    change_panel("change", clean.images[row], attacked[row], scale),
                ],
                true_name=sample.class_names[label],
                true_confidence=float(certain[row, label]),
                predicted_name=sample.class_names[answer],
                predicted_confidence=float(confidence[row]),
                index=None if sample.ids is None else int(sample.ids[row]),
            )
        )
    return Gallery(
        id="worst-attacks",
        title=f"Most confident wrong answers under attack, {threat_words(main)}",
        items=items,
        caption=f"Clean, attacked, and the change (grey is none, black and white are ±{scale * 255:.3g}/255).",
    )
