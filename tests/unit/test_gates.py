"""The truth table of gates: every state, every exit code, every comparison."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from safeml.errors import ConfigError
from safeml.gates import decide
from safeml.results import StageResult, Verdict
from tests.gate_cases import STATES, TODAY, gate, metric, stage, waiver


def only(metric_or_stage, asked) -> tuple[str, int]:
    stages = [metric_or_stage if isinstance(metric_or_stage, StageResult) else stage(metric_or_stage)]
    verdict = decide(stages, [asked], TODAY)
    return verdict.gates[0].status, verdict.exit_code


UP = metric(0.5, 0.25, 0.75)


DOWN = metric(0.5, 0.25, 0.75, direction="down")


CENSUS = metric(2.0, 2.0, 2.0, unit="count", clustering="census", direction="down")


@pytest.mark.parametrize(
    ("measured", "op", "threshold", "status", "margin"),
    [
        (UP, ">=", 0.125, "pass", 0.125),
        (UP, ">=", 0.25, "pass", 0.0),
        (UP, ">=", 0.2500001, "not_proven", -1e-7),
        (UP, ">=", 0.75, "not_proven", -0.5),
        (UP, ">=", 0.7500001, "fail", -0.5000001),
        (DOWN, "<=", 0.875, "pass", 0.125),
        (DOWN, "<=", 0.75, "pass", 0.0),
        (DOWN, "<=", 0.7499999, "not_proven", -1e-7),
        (DOWN, "<=", 0.25, "not_proven", -0.5),
        (DOWN, "<=", 0.2499999, "fail", -0.5000001),
        (CENSUS, "==", 2, "pass", 0.0),
        (CENSUS, "==", 1.9999999, "fail", -1e-7),
        (CENSUS, "==", 2.0000001, "fail", -1e-7),
        (CENSUS, "<=", 2, "pass", 0.0),
        (UP, "==", 0.25, "not_proven", -0.5),
        (UP, "==", 0.75, "not_proven", -0.5),
        (UP, "==", 0.5, "not_proven", -0.25),
        (metric(2.0, 2.0, 2.0), "==", 2, "not_proven", 0.0),
        (metric(2.0, 2.0, 3.0, clustering="census"), "==", 2, "not_proven", -1.0),
        (metric(2.0, 1.0, 2.0, clustering="census"), "==", 2, "not_proven", -1.0),
    ],
)
def test_the_whole_interval_decides(measured, op, threshold, status, margin):
    result = decide([stage(measured)], [gate(threshold, op)], TODAY).gates[0]
    assert result.status == status
    assert result.margin == pytest.approx(margin, abs=1e-12)
    assert result.metric == measured


EXPECTED = {
    "pass": ("pass", 0), "fail": ("fail", 1), "open": ("not_proven", 3), "no interval": ("not_proven", 3),
    "too few": ("not_proven", 3), "just enough": ("pass", 0), "undefined": ("error", 4), "metric error": ("error", 4),
    "no metric": ("error", 4), "no slice": ("error", 4), "right slice": ("fail", 1), "two metrics": ("error", 4),
    "stage error": ("error", 4), "stage skipped": ("skipped", 4), "stage not run": ("skipped", 4), "nan value": ("error", 4),
    "nan low": ("error", 4), "infinite low": ("error", 4), "nan limit": ("error", 4), "one end": ("error", 4),
    "low above value": ("error", 4), "high below value": ("error", 4), "weak level": ("error", 4),
    "strong level": ("pass", 0), "waived fail": ("waived", 0), "waived open": ("waived", 0),
    "waived skipped": ("waived", 0), "waived error": ("error", 4), "waived pass": ("pass", 0),
    "waived on its last day": ("waived", 0), "expired fail": ("fail", 1), "expired open": ("fail", 1),
    "expired skipped": ("skipped", 4), "expired error": ("error", 4), "expired pass": ("pass", 0),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_status_and_exit_code(state):
    found, asked = STATES[state]
    assert only(found, asked) == EXPECTED[state]


def test_two_records_of_one_stage_are_an_error():
    assert decide([stage(metric()), stage(metric())], [gate()], TODAY).gates[0].status == "error"


def test_a_crashed_stage_that_no_gate_reads_leaves_the_verdict_incomplete():
    crashed = stage(name="ood", status="error", reason="out of memory")
    verdict = decide([stage(metric()), crashed], [gate()], TODAY)
    assert (verdict.status, verdict.exit_code, verdict.gates[0].status) == ("incomplete", 4, "pass")
    assert verdict.sentence == "The stage ood failed, so the evidence is incomplete: out of memory."
    failed = decide([stage(metric()), crashed], [gate(0.95)], TODAY)
    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert failed.sentence.endswith("And evidence is missing.")
    assert "Evidence is missing, so other gates may fail as well." in failed.detail
    assert "no gate reads: Ood" in failed.detail


def test_a_skipped_stage_that_no_gate_reads_is_named_and_passes():
    verdict = decide([stage(metric()), stage(name="ood", status="skipped", reason="off")], [gate()], TODAY)
    assert verdict.exit_code == 0
    assert "Not tested: Ood." in verdict.detail


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations(["pass", "waived fail", "fail", "open", "undefined"], 2))
)
def test_the_graver_exit_code_wins(first, second):
    gravest = {"pass": 0, "waived fail": 0, "open": 3, "fail": 1, "undefined": 4}
    rank = [0, 3, 4, 1]
    stages, gates = [], []
    for name in (first, second):
        found, asked = STATES[name]
        stages.append(found.model_copy(update={"stage": name}))
        gates.append(asked.model_copy(update={"id": name.replace(" ", "-"), "stage": name}))
    expected = max(gravest[first], gravest[second], key=rank.index)
    verdict = decide(stages, gates, TODAY)
    assert verdict.exit_code == expected
    assert verdict.status == {0: "passed", 1: "failed", 3: "not_proven", 4: "incomplete"}[expected]


def test_gates_stand_worst_first_and_unmeasured_last_within_a_state():
    names = ["pass", "fail", "undefined", "open", "no interval", "stage not run", "waived fail"]
    stages = [STATES[name][0].model_copy(update={"stage": name}) for name in names if name != "stage not run"]
    gates = [
        STATES[name][1].model_copy(update={"id": name.replace(" ", "-"), "stage": name}) for name in names
    ]
    gates.append(gates[1].model_copy(update={"id": "worse-fail", "threshold": 0.99}))
    order = [result.gate.id for result in decide(stages, gates, TODAY).gates]
    assert order == [
        "worse-fail",
        "fail",
        "undefined",
        "open",
        "no-interval",
        "stage-not-run",
        "waived-fail",
        "pass",
    ]


@pytest.mark.parametrize(
    ("gates", "today", "message"),
    [
        ([], TODAY, "there are none"),
        ([gate(), gate()], TODAY, "the id g is used more than once"),
        ([gate()], "2026-13-01", "today: '2026-13-01' is not a date"),
        (
            [gate().model_copy(update={"waiver": waiver().model_copy(update={"until": "2026-02-30"})})],
            TODAY,
            r"gates\.g\.waiver\.until: '2026-02-30' is not a date",
        ),
        ([gate(op="<=")], TODAY, r"gates\.g: op is <=, but higher is better for acc; use >= or =="),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(gates, today, message):
    with pytest.raises(ConfigError, match=message):
        decide([stage(metric())], gates, today)


def test_a_floor_under_a_metric_that_should_be_low_is_refused():
    with pytest.raises(ConfigError, match=r"op is >=, but lower is better for acc; use <= or =="):
        decide([stage(DOWN)], [gate()], TODAY)


def test_waivers_alone_are_not_called_a_pass_on_evidence():
    verdict = decide([stage(metric())], [gate(0.95, waiver=waiver())], TODAY)
    assert (verdict.exit_code, verdict.sentence) == (0, "No gate passes on its evidence: 1 gate waived.")


def test_the_verdict_survives_json():
    verdict = decide(
        [found for found, _ in [STATES["open"]]], [gate(0.9), gate(0.95, id="h", waiver=waiver())], TODAY
    )
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_deciding_imports_no_arrays():
    code = "import sys, safeml.gates; sys.exit('numpy' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_limit_in_percent_by_mistake_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"threshold is 95; .* so write 0\.95"):
        decide([stage(metric())], [gate(threshold=95.0)], TODAY)


def test_a_failure_is_graver_than_missing_evidence_and_names_it() -> None:
    gates = [gate(0.99), gate(id="gone", metric="nothing")]
    verdict = decide([stage(metric())], gates, TODAY)
    assert (verdict.status, verdict.exit_code) == ("failed", 1)
    assert verdict.sentence.startswith("Accuracy: 90.0")
    assert verdict.sentence.endswith("And evidence is missing.")
    assert "Without usable evidence: nothing." in verdict.detail
    alone = decide([stage(metric())], [gate(0.8), gates[1]], TODAY)
    assert (alone.status, alone.exit_code) == ("incomplete", 4)
    assert "nothing" in alone.sentence


def test_a_count_that_holds_is_never_the_nearest_to_its_limit() -> None:
    none = metric(0.0, 0.0, 0.0, name="count", unit="count", clustering="census", direction="down")
    gates = [gate(0, "==", id="a", metric="count"), gate(0.8, id="b")]
    verdict = decide([stage(metric(), none)], gates, TODAY)
    assert [result.gate.id for result in verdict.gates] == ["b", "a"]
    assert "nearest to its limit: Accuracy: 90.0" in verdict.sentence
    assert verdict.sentence.endswith("The margin of its interval is 8.0 percentage points.")
    only_counts = decide([stage(none)], gates[:1], TODAY)
    assert only_counts.sentence.startswith("1 gate passes, on complete counts: Accuracy: 0;")


GOOD, POOR = metric(0.99, 0.98, 1.0), metric(0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    ("stages", "status"),
    [
        ([stage(POOR), stage(GOOD, subject="int8")], "pass"),
        ([stage(GOOD, subject="int8"), stage(POOR)], "pass"),
        ([stage(GOOD), stage(POOR, subject="int8")], "fail"),
        ([stage(GOOD)], "skipped"),
        ([stage(GOOD), stage(GOOD, subject="device")], "skipped"),
        ([stage(GOOD), stage(GOOD, name="other", subject="int8")], "skipped"),
        ([stage(GOOD, subject="int8"), stage(GOOD, subject="int8")], "error"),
        ([stage(GOOD), stage(GOOD, subject="int8", status="error", reason="crashed")], "error"),
    ],
)
def test_a_gate_reads_the_subject_that_it_names(stages, status):
    verdict = decide(stages, [gate(subject="int8")], TODAY)
    assert verdict.gates[0].status == status
    assert verdict.exit_code == {"pass": 0, "fail": 1, "skipped": 4, "error": 4}[status]
    if status in ("skipped", "error"):
        assert "int8" in verdict.sentence


def test_evidence_of_another_subject_is_none_for_the_model():
    assert only(stage(GOOD, subject="int8"), gate()) == ("skipped", 4)


def test_two_gates_that_differ_in_subject_differ_in_title():
    stages = [stage(POOR), stage(POOR, subject="int8")]
    verdict = decide(stages, [gate(), gate(id="h", subject="int8", slice="all")], TODAY)
    assert sorted(result.message.partition(":")[0] for result in verdict.gates) == [
        "Accuracy", "Accuracy (int8)"
    ]  # fmt: skip


def test_the_rules_have_a_number_that_changes_with_them() -> None:
    """A change of the rules needs a way to read the runs of the rules before, as `follows` does for version 1."""
    assert decide([stage(metric())], [gate()], TODAY).rules == 2


def test_a_gate_exactly_at_its_limit_is_the_nearest_to_it() -> None:
    at, above = metric(0.9, 0.8, 1.0), metric(0.9, 0.85, 0.95, name="recall")
    gates = [gate(0.8, id="above", metric="recall"), gate(0.8, id="at")]
    found = decide([stage(at, above)], gates, TODAY).gates
    assert [(result.gate.id, round(result.margin or 0, 12)) for result in found] == [
        ("at", 0.0),
        ("above", 0.05),
    ]


@pytest.mark.parametrize(
    ("stages", "asked", "words"),
    [
        ([stage(GOOD)], gate(subject="int8"), "int8 was not audited"),
        ([stage(GOOD, subject="int8")], gate(), "the stage clean was not run"),
        ([stage(GOOD, name="other", subject="int8")], gate(subject="int8"), "was not run"),
        ([], gate(), "the stage clean was not run"),
    ],
)
def test_what_is_absent_is_named(stages, asked, words) -> None:
    assert words in decide(stages, [asked], TODAY).gates[0].message


@pytest.mark.parametrize("threshold", [1.5, 2.0, 95, -1.5])
def test_a_proportion_has_no_limit_beyond_one(threshold) -> None:
    with pytest.raises(ConfigError, match="is a proportion, so write"):
        decide([stage(metric())], [gate(threshold)], TODAY)


def test_a_proportion_may_have_to_be_one_and_an_infinite_limit_is_no_limit() -> None:
    assert only(metric(1.0, 1.0, 1.0), gate(1.0)) == ("pass", 0)
    for infinite in (float("inf"), -float("inf")):
        asked = gate().model_copy(update={"threshold": infinite})
        assert only(metric(), asked) == ("error", 4)


@pytest.mark.parametrize(("low", "status"), [(1_000_000.0005, "pass"), (1_000_000.005, "error")])
def test_the_rounding_between_value_and_interval_is_relative(low, status) -> None:
    large = metric(1_000_000.0, low, low, name="cost", unit="ratio")
    assert decide([stage(large)], [gate(10, metric="cost")], TODAY).gates[0].status == status


@pytest.mark.parametrize(
    ("end", "status"), [(1e-9, "pass"), (-1e-9, "pass"), (2e-9, "error"), (-2e-9, "error")]
)
def test_a_value_may_miss_its_interval_by_the_rounding_and_no_more(end, status) -> None:
    assert only(metric(0.0, end, end, unit="ratio"), gate(-1)) == (status, 0 if status == "pass" else 4)


def test_without_a_number_of_signs_none_is_asked_for() -> None:
    result = decide([stage(metric(signs=None))], [gate(min_n=2000)], TODAY).gates[0]
    assert (result.status, result.needs_signs) == ("not_proven", None)


def test_a_value_on_the_limit_without_an_error_is_decided_by_no_number_of_signs() -> None:
    """Its standard error is 0, and it is not nearer than that."""
    result = decide([stage(metric(1.0, 0.98, 1.0, design_effect=1.0))], [gate(1.0)], TODAY).gates[0]
    assert "no feasible number of additional sign tracks" in result.message
    assert result.needs_signs is None
