"""The figures of the adversarial audit. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import numpy as np

from safeml.attacks.rows import ATLAS, NIST, ROWS, VIEWS
from safeml.audits.adversarial.campaign import Campaign, Found, Worst
from safeml.audits.adversarial.certificates import Certificates
from safeml.audits.adversarial.masking import Check
from safeml.audits.adversarial.measure import CleanSample
from safeml.audits.gallery import change_panel, panel, to_uint8
from safeml.audits.weakest import group_recall
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import softmax
from safeml.metrics.perturbation import perturbation_size
from safeml.results import Column, Curve, Dot, DotPlot, Gallery, GalleryItem, Metric, Scalar, Series, Table
from safeml.statistics import proportion_metric
from safeml.threats import NORM_NAMES, Threat, epsilon_words, threat_words

MOST_CASES = 24
CURVE_POINTS = 24  # of a curve against epsilon, beside the threats themselves


def security_curves(campaign: Campaign, metrics: dict[str, Metric], proofs: Certificates) -> list[Curve]:
    """Accuracy against epsilon for each norm, from the clean images (epsilon 0) on, out of the ledger."""
    settings, curves = campaign.settings, []
    for norm in NORM_NAMES:
        threats = sorted((t for t in settings.threats if t.norm == norm), key=lambda threat: threat.epsilon)
        if not threats:
            continue
        x = [0.0, *(threat.epsilon for threat in threats)]
        context = []
        for name in ("fgsm", "pgd"):
            points = [metrics.get(f"robust_accuracy.{threat.label}.{name}") for threat in threats]
            if name in settings.attacks and any(points):
                known = [
                    (at, point.value)
                    for at, point in zip(x[1:], points, strict=True)
                    if point and point.value is not None
                ]
                start = metrics["clean_accuracy_attacked_sample"].value
                whole = [(0.0, start), *known] if start is not None else known
                context.append(
                    Series(
                        name=f"after {ROWS[name].title}", x=[at for at, _ in whole], y=[y for _, y in whole]
                    )
                )
        curves.append(
            Curve(
                id=f"security-{norm}",
                title=f"Accuracy under attack, {NORM_NAMES[norm]}",
                x_label=f"ε ({NORM_NAMES[norm]}, pixels 0..1)",
                y_label="accuracy",
                series=[_worst_case(campaign, threats, metrics), *context, *proofs.series.get(norm, [])],
                percent=True,
                x_ticks=[(0.0, "0"), *((threat.epsilon, epsilon_words(threat)) for threat in threats)],
                caption="Worst case image by image, with its 95 % interval; ε = 0 is the clean image. Every misclassified image that "
                "was found counts from its own distance on."
                + (
                    " Dotted: what is proven; between the two lines nobody knows."
                    if proofs.series.get(norm)
                    else ""
                ),
            )
        )
    return curves


def _worst_case(campaign: Campaign, threats: list[Threat], metrics: dict[str, Metric]) -> Series:
    """What the ledger leaves at each threat and between them."""
    sample, norm = campaign.items.sample, threats[0].norm
    # Without an attack for the nearest image, what was found lies at the threats: nothing is known between them.
    nearest = any(ROWS[name].minimal for name in campaign.settings.attacks)
    count = CURVE_POINTS if nearest and not campaign.blind else 0
    between = np.linspace(0.0, threats[-1].epsilon, count + 1)[1:]
    at = {float(epsilon): Threat(norm=norm, epsilon=float(epsilon)) for epsilon in between}
    at |= {threat.epsilon: threat for threat in threats}
    points = {0.0: metrics["clean_accuracy_attacked_sample"]}
    for epsilon in sorted(at):
        known = metrics.get(f"robust_accuracy.{at[epsilon].label}")
        points[epsilon] = known or proportion_metric(
            "curve",
            "",
            campaign.left(at[epsilon]),
            clustering=sample.clustering,
        )
    measured = {epsilon: point for epsilon, point in points.items() if point.value is not None}
    banded = all(point.low is not None for point in measured.values())
    return Series(
        name="worst case",
        x=list(measured),
        y=[point.value for point in measured.values() if point.value is not None],
        low=[point.low for point in measured.values() if point.low is not None] if banded else None,
        high=[point.high for point in measured.values() if point.high is not None] if banded else None,
        role="main",
    )


def attack_table(campaign: Campaign) -> Table:
    """One row an attack in its order, one column a threat: what is left after it and all before it; the worst case last."""
    threats = campaign.settings.threats
    total = len(campaign.items.clean.labels)
    rows: list[list[Scalar]] = []
    for name, view in dict.fromkeys((tally.attack, tally.view) for tally in campaign.tallies):
        cells: list[Scalar] = []
        for threat in threats:
            left = left_after(campaign, threat).get(name) if not view else None
            after = [t.left for t in campaign.tallies if (t.attack, t.view, t.threat) == (name, view, threat)]
            if left is not None:
                cells.append(float(left.mean()))
            else:
                cells.append(after[-1] / total if after and not campaign.blind else None)
        title = _title(name, view)
        rows.append([title, ROWS[name].knowledge, *cells])
    worst = [None if campaign.blind else float(campaign.left(threat).mean()) for threat in threats]
    rows.append(["worst case", "", *worst])
    return Table(
        id="attacks",
        title="Attack matrix",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="knowledge", label="Knowledge"),
            *(Column(key=t.label, label=threat_words(t), kind="percent") for t in threats),
        ],
        rows=rows,
        caption="Accuracy that is left after each attack and all above it; the worst case also counts what was found at a smaller ε. "
        "Not measured: not run at this threat.",
    )


def _title(attack: str, view: str) -> str:
    return ", ".join(filter(None, (ROWS[attack].title, VIEWS[view][0])))


def left_after(campaign: Campaign, threat: Threat) -> dict[str, np.ndarray]:
    """bool [N] by attack, in the order of the settings: right when clean, and broken neither by it nor by one before."""
    left = campaign.items.clean.right.copy()
    found: dict[str, np.ndarray] = {}
    for name in campaign.settings.attacks:
        if (name, threat) in campaign.hits:
            left = left & ~campaign.hits[name, threat]
            found[name] = left
    return found


def threat_table(campaign: Campaign) -> Table:
    """The threat models as data."""
    known = sorted({ROWS[tally.attack].knowledge for tally in campaign.tallies})
    rows: list[list[Scalar]] = [
        [
            f"{NORM_NAMES[threat.norm]}",
            epsilon_words(threat),
            threat.epsilon,
            knowledge,
            "any wrong answer",
            ATLAS[knowledge],
            NIST[knowledge],
            _attacked_by(campaign, threat, knowledge),
        ]
        for threat in campaign.settings.threats
        for knowledge in known
        if any(t.threat == threat and ROWS[t.attack].knowledge == knowledge for t in campaign.tallies)
    ]
    return Table(
        id="threats",
        title="Threat models",
        columns=[
            Column(key="norm", label="Norm"),
            Column(key="epsilon", label="ε"),
            Column(key="pixels", label="Pixels 0..1", kind="number"),
            Column(key="knowledge", label="Knowledge"),
            Column(key="goal", label="Goal"),
            Column(key="atlas", label="MITRE ATLAS"),
            Column(key="nist", label="NIST AI 100-2e2025"),
            Column(key="by", label="Attacked by"),
        ],
        rows=rows,
        caption="White-box adversaries know the model and its gradient; by queries, only its answers; by transfer, only a model of their own "
        "for the same classes.",
        fold=True,
    )


def _attacked_by(campaign: Campaign, threat: Threat, knowledge: str) -> str:
    surrogate = campaign.items.inputs.surrogate
    if knowledge == "transfer" and surrogate is not None:
        return f"MI-FGSM on {surrogate.name}"
    full = campaign.settings.is_full(threat)
    return "full ensemble" if full else "FGSM, PGD, FMN, and what was found elsewhere"


def budget_table(campaign: Campaign) -> Table:
    """What the attacks cost: gradients and queries are what any implementation has to pay."""
    rows: list[list[Scalar]] = []
    for name, view in dict.fromkeys((tally.attack, tally.view) for tally in campaign.tallies):
        mine = [tally for tally in campaign.tallies if (tally.attack, tally.view) == (name, view)]
        looks = sum(tally.looks for tally in mine)
        steps, attempts = ROWS[name].spends(campaign.settings)
        rows.append(
            [
                _title(name, view),
                f"{steps} × {attempts}",
                len(mine),
                sum(tally.given for tally in mine),
                sum(tally.broken for tally in mine),
                looks if ROWS[name].gradient else None,
                None if ROWS[name].gradient else looks,
            ]
        )
    return Table(
        id="budget",
        title="Budget and cost",
        columns=[
            Column(key="attack", label="Attack"),
            Column(key="effort", label="Steps × attempts"),
            Column(key="threats", label="Threats", kind="number"),
            Column(key="images", label="Images given", kind="number"),
            Column(key="broken", label="Broken", kind="number"),
            Column(key="gradients", label="Gradients", kind="number"),
            Column(key="queries", label="Queries", kind="number"),
        ],
        rows=rows,
        caption="An image leaves an attack at its first wrong answer, so the most robust images cost the most. The last look at an image "
        "that survived an attempt is counted with its gradients. The gradients of a transfer are the surrogate's.",
        fold=True,
    )


def ledger_table(sample: ImageDataset, campaign: Campaign) -> Table:
    """One row an image: what broke it, at which step of which attempt, and how near the nearest wrong answer lies."""
    clean = campaign.items.clean
    columns = [
        Column(key="image", label="Image", kind="number"),
        Column(key="class", label="Class"),
        Column(key="clean", label="Clean"),
    ]
    for norm, name in NORM_NAMES.items():
        if norm in campaign.found:
            unit = ", in 1/255" if norm == "linf" else ""
            columns += [
                Column(key=f"{norm}_by", label=f"{name}: broken by"),
                Column(key=f"{norm}_step", label="at step", kind="number"),
                Column(key=f"{norm}_attempt", label="of attempt", kind="number"),
                Column(key=f"{norm}_size", label=f"nearest {name}{unit}", kind="number"),
            ]
    numbers = np.arange(len(sample)) if sample.ids is None else sample.ids
    rows: list[list[Scalar]] = []
    for row in range(len(sample)):
        cells: list[Scalar] = [
            int(numbers[row]),
            sample.class_names[sample.labels[row]],
            "right" if clean.right[row] else "wrong",
        ]
        for norm in NORM_NAMES:
            if norm in campaign.found:
                cells += _entry(campaign.found[norm], row, 255.0 if norm == "linf" else 1.0)
        rows.append(cells)
    return Table(
        id="ledger",
        title="Ledger",
        columns=columns,
        rows=rows,
        caption=f"Every image of the sample; seed {campaign.items.inputs.seed} and the image's number decide all random draws.",
    )


def _entry(found: Found, row: int, scale: float) -> list[Scalar]:
    by = str(found.by[row])
    if not by:
        return [None, None, None, None]
    return [by, int(found.step[row]), int(found.attempt[row]) + 1, round(float(found.size[row]) * scale, 5)]


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


def worst_cases(sample: ImageDataset, clean: CleanSample, worst: Worst, main: Threat) -> Gallery:
    """The most confident wrong answers among images that are right when clean: at most one a class."""
    chosen: list[int] = []
    for row in sorted(np.flatnonzero(worst.confidence >= 0).tolist(), key=lambda row: -worst.confidence[row]):
        if len(chosen) < MOST_CASES and sample.labels[row] not in sample.labels[chosen]:
            chosen.append(row)

    # One scale for all pictures: epsilon fills it for L-inf; no pixel of an L2 attack comes near its epsilon.
    scale = main.epsilon
    if main.norm == "l2" and chosen:
        shown = worst.attacked[chosen]
        scale = max(float(perturbation_size(clean.images[chosen], shown, "linf").max()), 1e-6)
    certain = softmax(clean.logits)
    items = []
    for row in chosen:
        label, answer = int(sample.labels[row]), int(worst.logits[row].argmax())
        items.append(
            GalleryItem(
                panels=[
                    panel("clean", sample.images[row]),
                    panel("attacked", to_uint8(worst.attacked[row])),
                    change_panel("change", clean.images[row], worst.attacked[row], scale),
                ],
                true_name=sample.class_names[label],
                true_confidence=float(certain[row, label]),
                predicted_name=sample.class_names[answer],
                predicted_confidence=float(worst.confidence[row]),
                index=None if sample.ids is None else int(sample.ids[row]),
            )
        )
    return Gallery(
        id="worst-attacks",
        title=f"Most confident wrong answers under attack, {threat_words(main)}",
        items=items,
        caption=f"Clean, attacked, and the change (grey is none, black and white are ±{scale * 255:.3g}/255).",
    )
