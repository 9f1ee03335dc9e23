"""The figures of the adversarial audit. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

import numpy as np

from safeml.attacks.rows import ATLAS, NIST, ROWS
from safeml.audits.adversarial.accuracy import robust_metric
from safeml.audits.adversarial.budget import attack_title
from safeml.audits.adversarial.campaign import Campaign, NearestAdversarial
from safeml.audits.adversarial.certificates import Certificates
from safeml.audits.adversarial.check import MaskingCheck
from safeml.data.dataset import ImageDataset
from safeml.results import Column, Curve, Metric, Scalar, Series, Table
from safeml.threats import NORM_NAMES, Threat, epsilon_words, threat_words

FAILED = {"failed": "yes", "passed": "no", "not proven": "not proven"}
CURVE_POINTS = 24  # of a curve against epsilon, beside the threats themselves


def security_curves(
    campaign: Campaign, metrics: dict[str, Metric], proofs: Certificates, why: str = ""
) -> list[Curve]:
    """Plot accuracy against epsilon for each norm, starting at the clean images (epsilon 0).

    why: why robust accuracy is only an upper bound, so that the whole band reaches down to 0; "" if it does not.
    """
    settings, curves = campaign.settings, []
    for norm in NORM_NAMES:
        threats = sorted((t for t in settings.threats if t.norm == norm), key=lambda threat: threat.epsilon)
        if not threats:
            continue
        places = _places(campaign, threats)
        context = _after_attacks(campaign, threats, places)
        curves.append(
            Curve(
                id=f"security-{norm}",
                title=f"Accuracy under attack, {NORM_NAMES[norm]}",
                x_label=f"ε ({NORM_NAMES[norm]}, pixels 0..1)",
                y_label="accuracy",
                series=[
                    _worst_case(campaign, places, metrics, why),
                    *context,
                    *proofs.series.get(norm, []),
                ],
                percent=True,
                read_at=[(f"robust_accuracy.{threat.label}", threat.epsilon) for threat in threats],
                x_ticks=[(0.0, "0"), *((threat.epsilon, epsilon_words(threat)) for threat in threats)],
                caption="Worst case of each image, with a 95 % confidence interval; ε = 0 is the clean image. An adversarial example at "
                "distance d counts at every ε ≥ d, so a single run yields the full robustness curve."
                + expensive_words(campaign, threats)
                + (f" The band reaches down to 0: {why}." if why else "")
                + (
                    " Dotted: certified lower bound. The true robust accuracy lies between the certified and the attacked bound."
                    if proofs.series.get(norm)
                    else ""
                ),
            )
        )
    return curves


def expensive_words(campaign: Campaign, threats: list[Threat]) -> str:
    """Say at which epsilons the expensive attacks ran."""
    settings = campaign.settings
    names = [ROWS[name].title for name in settings.attacks if not ROWS[name].every_threat]
    if not names or campaign.blind:
        return ""
    listed = ", ".join(names[:-1]) + (" and " if names[1:] else "") + names[-1]
    full = [epsilon_words(threat) for threat in threats if settings.is_full(threat)]
    if not full:
        return f" {listed} ran at no ε of this norm; there, a stronger attack is likely to succeed."
    at = f" {listed} ran at ε = {', '.join(full)}"
    return (
        f"{at}." if len(full) == len(threats) else f"{at}; elsewhere, a stronger attack is likely to succeed."
    )


def _places(campaign: Campaign, threats: list[Threat]) -> dict[float, Threat]:
    """Return the epsilons of all lines but 0, rising: those of the threats, and others between them.

    All lines share them, so that no line crosses another one between two measured points.
    """
    # Without a minimal-norm attack, nothing is measured between the threats.
    minimal = any(ROWS[name].minimal for name in campaign.settings.attacks)
    count = CURVE_POINTS if minimal and not campaign.blind else 0
    between = np.linspace(0.0, threats[-1].epsilon, count + 1)[1:]
    at = {float(epsilon): Threat(norm=threats[0].norm, epsilon=float(epsilon)) for epsilon in between}
    at |= {threat.epsilon: threat for threat in threats}
    return {epsilon: at[epsilon] for epsilon in sorted(at)}


def _after_attacks(campaign: Campaign, threats: list[Threat], places: dict[float, Threat]) -> list[Series]:
    """Return the accuracy after FGSM and after PGD, by distance: a success at an epsilon counts at every larger one."""
    series = []
    for name in ("fgsm", "pgd"):
        after = {threat: survivors_after(campaign, threat).get(name) for threat in threats}
        ran = {threat: hits for threat, hits in after.items() if hits is not None}
        if not ran:
            continue
        right = campaign.items.clean.right
        values = [float(right.mean())]
        for epsilon in places:
            within = [hits for threat, hits in ran.items() if threat.epsilon <= epsilon]
            values.append(float(np.logical_and.reduce([right, *within]).mean()))
        series.append(Series(name=f"after {ROWS[name].title}", x=[0.0, *places], y=values))
    return series


def _worst_case(
    campaign: Campaign, places: dict[float, Threat], metrics: dict[str, Metric], why: str
) -> Series:
    """Return the accuracy of the survivors at each epsilon of `places`."""
    points = {0.0: metrics["clean_accuracy_attacked_sample"]}
    for epsilon, threat in places.items():
        metric = metrics.get(f"robust_accuracy.{threat.label}")
        points[epsilon] = metric or robust_metric(
            campaign, "curve", "", campaign.survivors(threat), threat, why
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
    """Return one row per attack in order and one column per threat: accuracy after it and all before it; worst case last."""
    threats = campaign.settings.threats
    total = len(campaign.items.clean.labels)
    rows: list[list[Scalar]] = []
    place = {(name, ""): number for number, name in enumerate(campaign.settings.attacks)}
    ran = dict.fromkeys((record.attack, record.view) for record in campaign.records)
    for name, view in sorted(ran, key=lambda pair: place.get(pair, len(place))):
        cells: list[Scalar] = []
        for threat in threats:
            survivors = survivors_after(campaign, threat).get(name) if not view else None
            after = [
                t.survivors for t in campaign.records if (t.attack, t.view, t.threat) == (name, view, threat)
            ]
            if survivors is not None:
                cells.append(float(survivors.mean()))
            else:
                cells.append(after[-1] / total if after and not campaign.blind else None)
        title = attack_title(name, view)
        rows.append([title, ROWS[name].knowledge, *cells])
    worst = [None if campaign.blind else float(campaign.survivors(threat).mean()) for threat in threats]
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
        caption="Accuracy after each attack and all above it; the worst case also counts adversarial examples at a smaller ε. "
        "Not measured: not run at this threat.",
    )


def survivors_after(campaign: Campaign, threat: Threat) -> dict[str, np.ndarray]:
    """Return bool [N] by attack, in the order of the settings: images that survive it and all attacks before it."""
    survivors = campaign.items.clean.right.copy()
    after: dict[str, np.ndarray] = {}
    for name in campaign.settings.attacks:
        if (name, threat) in campaign.hits:
            survivors = survivors & ~campaign.hits[name, threat]
            after[name] = survivors
    return after


def threat_table(campaign: Campaign) -> Table:
    """Return one row per threat and knowledge of the adversary."""
    kinds = sorted({ROWS[record.attack].knowledge for record in campaign.records})
    rows: list[list[Scalar]] = [
        [
            f"{NORM_NAMES[threat.norm]}",
            epsilon_words(threat),
            threat.epsilon,
            knowledge,
            "any incorrect class",
            ATLAS[knowledge],
            NIST[knowledge],
            _attacked_by(campaign, threat, knowledge),
        ]
        for threat in campaign.settings.threats
        for knowledge in kinds
        if any(t.threat == threat and ROWS[t.attack].knowledge == knowledge for t in campaign.records)
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
        caption="White box: the adversary knows the model and its gradient. Queries: only the outputs of the model. Transfer: only another "
        "model for the same classes.",
        fold=True,
    )


def _attacked_by(campaign: Campaign, threat: Threat, knowledge: str) -> str:
    surrogate = campaign.items.inputs.surrogate
    if knowledge == "transfer" and surrogate is not None:
        return f"MI-FGSM on {surrogate.name}"
    if campaign.settings.is_full(threat):
        return "full ensemble"
    rows = [ROWS[name] for name in campaign.settings.attacks]
    fast = [row.title for row in rows if row.every_threat and threat.norm in row.norms]
    return ", ".join([*fast, "and adversarial examples of other attacks"])


def ledger_table(sample: ImageDataset, campaign: Campaign) -> Table:
    """Return one row per image: the attack, step and attempt of its nearest adversarial example, and the distance."""
    clean = campaign.items.clean
    columns = [
        Column(key="image", label="Image", kind="number"),
        Column(key="class", label="Class"),
        *([] if sample.tracks is None else [Column(key="track", label="Sign track", kind="id")]),
        Column(key="clean", label="Clean"),
    ]
    for norm, name in NORM_NAMES.items():
        if norm in campaign.nearest:
            unit = ", in 1/255" if norm == "linf" else ""
            columns += [
                Column(key=f"{norm}_by", label=f"{name}: broken by"),
                Column(key=f"{norm}_step", label="at step", kind="number"),
                Column(key=f"{norm}_attempt", label="of attempt", kind="number"),
                Column(key=f"{norm}_size", label=f"smallest {name} change{unit}", kind="number"),
            ]
    numbers = np.arange(len(sample)) if sample.ids is None else sample.ids
    rows: list[list[Scalar]] = []
    for row in range(len(sample)):
        cells: list[Scalar] = [
            int(numbers[row]),
            sample.class_names[sample.labels[row]],
            *([] if sample.tracks is None else [int(sample.tracks[row])]),
            "right" if clean.right[row] else "wrong",
        ]
        for norm in NORM_NAMES:
            if norm in campaign.nearest:
                cells += _entry(campaign.nearest[norm], row, 255.0 if norm == "linf" else 1.0)
        rows.append(cells)
    return Table(
        id="ledger",
        title="Ledger",
        columns=columns,
        rows=rows,
        caption=f"Every image of the sample; seed {campaign.items.inputs.seed} and the image number determine all random draws.",
    )


def _entry(nearest: NearestAdversarial, row: int, scale: float) -> list[Scalar]:
    by = str(nearest.by[row])
    if not by:
        return [None, None, None, None]
    return [
        by,
        int(nearest.step[row]),
        int(nearest.attempt[row]) + 1,
        round(float(nearest.size[row]) * scale, 5),
    ]


def check_table(checks: list[MaskingCheck]) -> Table:
    """Return one row per masking check."""
    return Table(
        id="masking",
        title="Is the robustness real?",
        columns=[
            Column(key="sign", label="Masking check"),
            Column(key="found", label="Measured"),
            Column(key="expected", label="Expected"),
            Column(key="raised", label="Failed"),
        ],
        rows=[[check.expectation, check.measured, check.expected, FAILED[check.state]] for check in checks],
        caption="If a check fails, the attacks may have failed because of gradient masking, and a better attack may succeed."
        + (
            " A check that is not proven had too few survivors or queries to detect masking."
            if any(check.state == "not proven" for check in checks)
            else ""
        )
        if checks
        else "Not measured: no image is classified correctly, so there is nothing to check.",
    )
