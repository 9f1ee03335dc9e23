"""The caption of the security curve says at which epsilons the expensive attacks ran."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.figures import check_table, expensive_words
from safeml.audits.adversarial.metrics import _masking_flags
from safeml.audits.adversarial.upper_bound import MASKED, from_zero, only_upper_bound
from safeml.results import Metric
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics import Clustering, proportion_metric

LINF = ("linf_1", "linf_2", "linf_4", "linf_8")


def words(norm: str = "linf", blind: bool = False, **changes: Any) -> str:
    settings = AdversarialSettings(**changes)
    threats = [threat for threat in settings.threats if threat.norm == norm]
    campaign: Any = SimpleNamespace(settings=settings, blind=blind)
    return expensive_words(campaign, threats)


def test_everywhere_or_at_the_threats_of_the_full_ensemble() -> None:
    assert words() == " APGD-CE, APGD-T and Square ran at ε = 1/255, 2/255, 4/255, 8/255."
    assert words(full_ensemble=("linf_4",)).startswith(
        " APGD-CE, APGD-T and Square ran at ε = 4/255; elsewhere"
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
