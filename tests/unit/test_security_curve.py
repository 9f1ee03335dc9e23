"""The security curve: its lines, the limits on it, and the caption that says at which epsilons the expensive attacks ran."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from safeml.audits.adversarial.certificates import Certificates
from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.figures import check_table, expensive_words, security_curves
from safeml.audits.adversarial.metrics import _masking_flags
from safeml.audits.adversarial.upper_bound import MASKED, from_zero, only_upper_bound
from safeml.report.figures import figure_view, limits_on
from safeml.results import Curve, GateResult, Metric
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics import Clustering, proportion_metric
from tests.sample_run import gate

LINF = ("linf_1", "linf_2", "linf_4", "linf_8")


def words(norm: str = "linf", blind: bool = False, **changes: Any) -> str:
    settings = AdversarialSettings(**changes)
    threats = [threat for threat in settings.threats if threat.norm == norm]
    campaign: Any = SimpleNamespace(settings=settings, blind=blind)
    return expensive_words(campaign, threats)


def test_everywhere_or_at_the_threats_of_the_full_ensemble() -> None:
    assert words() == " APGD-PM, APGD-CE, APGD-T and Square ran at ε = 1/255, 2/255, 4/255, 8/255."
    assert words(full_ensemble=("linf_4",)).startswith(
        " APGD-PM, APGD-CE, APGD-T and Square ran at ε = 4/255; elsewhere"
    )
    assert "at no ε of this norm" in words("l2", full_ensemble=("linf_4",))
    assert words(attacks=("pgd", "apgd_t"), full_ensemble=LINF).startswith(" APGD-T ran at ε = 1/255")


def test_nothing_is_said_of_attacks_that_did_not_run() -> None:
    assert words(attacks=("fgsm", "pgd", "fmn")) == ""
    assert words(blind=True) == ""


def check(failed: bool = False, unproven: str = "") -> MaskingCheck:
    return MaskingCheck("c", "it holds", "0", "0", failed, 0.0, 0.0, "fix it", "", unproven)


@pytest.mark.parametrize(
    ("checks", "low", "state"),
    [
        ([check()], 0.0, "no"),
        ([check(unproven="3 survivors attacked")], None, "not proven"),
        ([check(failed=True, unproven="3 survivors attacked")], 1.0, "yes"),
    ],
)
def test_a_check_without_power_leaves_the_count_without_an_interval(checks, low, state) -> None:
    """No gate passes without an interval; a failed check fails it whatever the others can prove."""
    metric = _masking_flags(checks, blind=False)
    assert (metric.low, metric.high) == (low, low)
    assert ("3 survivors attacked" in metric.method) == (low is None)
    table = check_table(checks)
    assert table.rows[0][-1] == state
    assert ("too few survivors or queries" in table.caption) == (state == "not proven")


def test_a_failed_check_takes_the_lower_end_and_one_without_power_does_not() -> None:
    assert only_upper_bound([check(), check(failed=True)]) == MASKED
    assert only_upper_bound([check(), check(unproven="few")]) == ""
    hits = [True] * 40
    metric = proportion_metric("robust", "robust", hits, clustering=Clustering(frames_per_sign=1))
    assert metric.low is not None
    assert metric.low > 0.5
    assert from_zero(metric, "") == metric
    lowered = from_zero(metric, MASKED)
    assert (lowered.low, lowered.high, lowered.method) == (0.0, metric.high, MASKED)
    undefined = Metric.undefined("robust", "robust", "no image")
    assert from_zero(undefined, MASKED) == undefined


def drawn(seed: int) -> Curve:
    """The curve of 60 images with random distances; each attack breaks some images near its epsilon, as a campaign records it."""
    rng = np.random.default_rng(seed)
    settings = AdversarialSettings(full_ensemble=("linf_4",))
    threats = [threat for threat in settings.threats if threat.norm == "linf"]
    right = rng.random(60) < 0.9
    sizes = np.where(rng.random(60) < 0.3, np.inf, rng.uniform(0, 10 / 255, 60))
    hits = {}
    for threat in threats:
        for name in ("fgsm", "pgd"):  # a larger epsilon may miss what a smaller one broke
            hits[name, threat] = right & (rng.random(60) < 0.4)
            sizes = np.where(hits[name, threat], np.minimum(sizes, threat.epsilon), sizes)
    items = SimpleNamespace(
        clean=SimpleNamespace(right=right), sample=SimpleNamespace(clustering=Clustering(frames_per_sign=1))
    )
    campaign: Any = SimpleNamespace(
        settings=settings,
        blind=False,
        items=items,
        hits=hits,
        savings_at=lambda threat: [],
        survivors=lambda threat: right & (sizes > threat.epsilon + 1e-12),
    )
    clean = proportion_metric("clean_accuracy_attacked_sample", "", right, clustering=items.sample.clustering)
    found = {clean.name: clean}
    for threat in threats:
        name = f"robust_accuracy.{threat.label}"
        found[name] = proportion_metric(
            name, "", campaign.survivors(threat), clustering=items.sample.clustering
        )
    [curve] = [c for c in security_curves(campaign, found, Certificates()) if c.id == "security-linf"]
    return curve


@pytest.mark.parametrize("seed", range(5))
def test_no_attack_line_is_below_the_worst_case(seed: int) -> None:
    """The lines share their x, so that what holds at each of them holds on the straight lines between them."""
    curve = drawn(seed)
    worst, *attacks = curve.series
    assert (worst.role, len(attacks)) == ("main", 2)
    assert len(worst.x) > 20
    for attack in attacks:
        assert attack.x == worst.x
        assert all(a >= w for a, w in zip(attack.y, worst.y, strict=True)), attack.name
        assert attack.y == sorted(
            attack.y, reverse=True
        )  # by distance: a success counts at every larger epsilon
    fgsm, pgd = attacks
    assert all(a >= b for a, b in zip(fgsm.y, pgd.y, strict=True))
    first = min(at for at in worst.x if at > 0 and at >= 1 / 255)
    assert fgsm.y[: worst.x.index(first)] == [fgsm.y[0]] * worst.x.index(first)


def test_the_limit_of_a_gate_is_drawn_at_its_epsilon_and_threshold() -> None:
    curve = drawn(0)
    assert ("robust_accuracy.linf_4", pytest.approx(4 / 255)) in curve.read_at
    gates = [
        GateResult(gate=gate(name, name, stage="adversarial", threshold=0.25), status="fail", message="m")
        for name in ("robust_accuracy.linf_4", "masking_flags", "robust_accuracy.l2_0.5")
    ]
    [limit] = limits_on(curve, gates)
    assert (limit.x, limit.y) == (pytest.approx(4 / 255), 0.25)
    picture = figure_view(curve, gates)["wide"]
    root = ET.fromstring(str(picture))
    lines = [e for e in root.iter("line") if e.get("class") == "limit"]
    assert len(lines) == 1
    grid = {e.get("y1") for e in root.iter("line") if e.get("class") == "grid"}
    assert lines[0].get("y1") in grid  # 25 % is a tick of the axis
    middle = (float(lines[0].get("x1", "")) + float(lines[0].get("x2", ""))) / 2
    ticks = {"".join(e.itertext()): float(e.get("x", "")) for e in root.iter("text")}
    assert middle == pytest.approx(ticks["4/255"], abs=0.2)
    assert "limit: 25" in root.get("aria-label", "")
    assert "limit" not in str(figure_view(curve)["wide"])
