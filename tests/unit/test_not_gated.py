"""What is measured and not gated is in every view, and beyond its alarm level the verdict is no pass."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from safeml.cli.show import show_verdict
from safeml.gates import decide
from safeml.not_gated import ALARM_FINDING
from safeml.report.github import workflow_commands
from safeml.report.rows import ungated_row
from safeml.report.sarif import sarif
from safeml.report.write import write_report
from safeml.results import (
    Accepted,
    Alarm,
    Card,
    Finding,
    Metric,
    Run,
    StageResult,
)
from safeml.stages import STAGES
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.alarms import with_alarms
from safeml.stages.physical import PATCH, PHYSICAL, WORST, PhysicalSettings
from tests.sample_run import TODAY, gate, metric, run_of, stage
from tests.ungated_cases import CLEAN, GATE, accept, entry, physical, verdict


def views(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The run as each reader sees it."""
    write_report(run, folder, None)
    show_verdict(run, None)
    machine = {
        "sarif": sarif(run, "safeml.toml", {}),
        "github": "\n".join(workflow_commands(run, "safeml.toml", {})),
    }
    names = {"html": "index.html", "junit": "junit.xml", "markdown": "summary.md"}
    texts = {view: (folder / name).read_text() for view, name in names.items()}
    return {**texts, **machine, "terminal": capsys.readouterr().out, "sentence": run.verdict.sentence}


def test_a_sticker_that_leaves_nothing_and_a_patch_are_in_every_view(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The clean gate passes, stickers leave 0.0 %, and one patch turns 98.4 % of Stop signs into a speed limit."""
    run = run_of([CLEAN, physical()], [GATE])
    assert (run.verdict.status, run.verdict.exit_code) == ("not_proven", 3)
    assert [(one.state, one.title) for one in run.verdict.ungated] == [
        ("alarm", "Accuracy under the worst threat to the sign"),
        ("alarm", "Success of the universal patch"),
    ]
    shown = views(run, tmp_path, capsys)
    assert "0.0" in shown.pop("sentence")
    for view, text in shown.items():
        text = text.replace("\u202f", " ").replace("\\", "").replace("%25", "%")
        for words in (("worst threat to the sign", "0.0 %"), ("universal patch", "98.4 %")):
            assert all(word in text for word in words), (view, words)
        assert "no gate reads it" in text.lower(), view
        assert "One printed patch turns most signs" in text, view
        assert "Speed limit (30km/h)" in text, view
    assert "NOT PROVEN (exit code 3), full profile" in shown["terminal"]
    root = ET.fromstring(shown["junit"])
    failures = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert failures == [f"not gated: {WORST}", f"not gated: {PATCH}"]
    page = (tmp_path / "physical.html").read_text()
    assert "below the alarm level of 50\u202f%" in page
    assert "What to do next" in page
    assert "v-unsure" in page


def test_nothing_stands_above_the_findings_of_a_quiet_stage(tmp_path: Path) -> None:
    write_report(run_of([CLEAN], [GATE]), tmp_path, None)
    page = (tmp_path / "performance.html").read_text()
    assert "No finding" not in page
    assert "What to do next" not in page


ALARM, UNSIGNED, SIGNED, NOTED = "alarm", "unsigned", "accepted", "noted"
OWNED, EMPTY = accept(), accept(owner="")


@pytest.mark.parametrize(
    ("worst", "accepted", "gated", "clean", "states", "code"),
    [
        (0.0, (), None, "pass", {WORST: ALARM}, 3),
        (0.499, (), None, "pass", {WORST: ALARM}, 3),
        (0.5, (), None, "pass", {WORST: NOTED}, 0),
        (0.9, (), None, "pass", {WORST: NOTED}, 0),
        (0.0, (OWNED,), None, "pass", {WORST: SIGNED}, 0),
        (0.0, (accept(WORST),), None, "pass", {WORST: SIGNED}, 0),
        (0.0, (accept("universal_patch_success"),), None, "pass", {WORST: ALARM}, 3),
        (0.0, (EMPTY,), None, "pass", {WORST: UNSIGNED}, 3),
        (0.9, (EMPTY,), None, "pass", {WORST: UNSIGNED}, 3),
        (0.9, (accept(owner="  "),), None, "pass", {WORST: UNSIGNED}, 3),
        (0.0, (EMPTY, accept(WORST)), None, "pass", {WORST: SIGNED}, 3),  # the patch is unsigned
        (None, (), None, "pass", {WORST: NOTED, "physical_accuracy.shadow": ALARM}, 3),
        (0.0, (), 0.5, "pass", {}, 1),
        (0.9, (), 0.5, "pass", {}, 0),
        (0.0, (), None, "fail", {WORST: ALARM}, 1),
        (0.0, (), None, "missing", {WORST: ALARM}, 4),
        (0.0, (), None, "failed and missing", {WORST: ALARM}, 1),
        (0.0, (OWNED,), None, "failed and missing", {WORST: SIGNED}, 1),
        (0.9, (), None, "open", {WORST: NOTED}, 3),
    ],
)
def test_the_truth_table_with_alarms_and_accepted_entries(
    worst: float | None,
    accepted: tuple[Accepted, ...],
    gated: float | None,
    clean: str,
    states: dict[str, str],
    code: int,
) -> None:
    gates = {
        "pass": [GATE],
        "fail": [gate("clean", "clean_accuracy", threshold=0.99)],
        "open": [gate("clean", "clean_accuracy", threshold=0.97)],
        "missing": [GATE, gate("gone", "nothing")],
        "failed and missing": [gate("clean", "clean_accuracy", threshold=0.99), gate("gone", "nothing")],
    }[clean]
    if gated is not None:
        gates = [*gates, gate("worst", WORST, "physical", threshold=gated)]
    made = decide([CLEAN, physical(worst, patch=0.1)], gates, TODAY, accepted=accepted)
    found = {one.metric.name: one.state for one in made.ungated if one.metric is not None}
    assert {name: state for name, state in found.items() if name != PATCH} == states
    assert made.exit_code == code
    assert made.status == {0: "passed", 1: "failed", 3: "not_proven", 4: "incomplete"}[code]
    assert ("And evidence is missing." in made.sentence) == (clean == "failed and missing")


def test_each_accepted_entry_is_listed_once_and_a_signed_one_without_an_alarm_never() -> None:
    entries = (
        accept(WORST, owner=""),
        accept(PATCH),
        accept("physical_accuracy.shadow"),
        accept("physical_accuracy.graffiti", owner=""),
    )
    decided = verdict(physical(), *entries)
    assert [(one.state, one.title) for one in decided.ungated] == [
        (UNSIGNED, "Accuracy under the worst threat to the sign"),
        (UNSIGNED, "physical accuracy.graffiti"),
        (SIGNED, "Success of the universal patch"),
    ]
    assert verdict(physical(), *(accept(one.metric) for one in entries)).exit_code == 0


def test_an_owner_is_named_in_the_verdict_line_with_the_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run_of([CLEAN, physical()], [GATE], accepted=[accept()])
    assert made.verdict.status == "passed"
    assert made.verdict.sentence.endswith(
        "Accepted without a gate by A. Owner: Accuracy under the worst threat to the sign 0.0\u202f%; "
        "Success of the universal patch 98.4\u202f%."
    )
    for view, text in views(made, tmp_path, capsys).items():
        assert "A. Owner" in text, view
        assert view == "sentence" or "Prints are out of scope" in text, view
    assert '"failure' not in (tmp_path / "junit.xml").read_text()


def test_an_entry_without_an_owner_is_not_proven_even_where_nothing_was_measured() -> None:
    off = stage("physical", status="skipped", reason="off")
    assert verdict(off).exit_code == 0
    made = verdict(off, EMPTY)
    assert made.exit_code == 3
    assert "its entry in [[accepted]] names no owner" in made.sentence


def test_what_no_gate_reads_is_listed_worst_first_in_the_detail_of_every_verdict() -> None:
    for more in ((), (gate("fails", "clean_accuracy", threshold=0.99),)):
        detail = verdict(physical(0.6, patch=0.45), more=more).detail
        assert detail.endswith(
            "Not gated: Success of the universal patch 45.0\u202f%; Accuracy under the worst threat to the sign 60.0\u202f%."
        )


def test_the_scope_of_a_pass_names_gated_stages_only() -> None:
    quiet = StageResult(
        stage="toy", title="Toy", metrics=[metric("toy")], card=Card(headline="97.0 %", text="toy")
    )
    made = verdict(quiet)
    assert made.detail == "This holds for the gated stages: Performance. Not gated: Toy 97.0 %."
    assert [one.state for one in made.ungated] == ["noted"]


def test_a_serious_finding_of_a_stage_without_gates_needs_an_owner() -> None:
    doubt = Finding(code="train-on-test", severity="serious", message="The model was trained on test images.")
    found = stage("training", findings=[doubt])
    made = verdict(found)
    assert made.exit_code == 3
    assert doubt.message in made.sentence
    assert made.detail.endswith("Not gated: Training: The model was trained on test images.")
    assert verdict(found, accept(stage="training")).exit_code == 0
    mild = doubt.model_copy(update={"severity": "warning"})
    assert verdict(stage("training", findings=[mild])).exit_code == 0
    read = (gate("read", "gap", "training", threshold=0.5),)
    gated = stage("training", findings=[doubt], metrics=[metric("gap")])
    assert verdict(gated, more=read).exit_code == 0  # its gate is the owner's judgement


def test_the_row_of_a_finding_is_its_sentence_and_no_code() -> None:
    """A measurement has its value there; the code of a finding in words is no value."""
    doubt = Finding(severity="serious", code="few_signs", message="3 classes have one sign.")
    entries = verdict(stage("training", findings=[doubt]), accept(stage="training")).ungated
    row = ungated_row(next(one for one in entries if one.finding), "Training")
    assert (row["title"], row["value"]) == ("3 classes have one sign", "")
    assert "few signs" not in row["message"]
    assert "3 classes" not in row["message"]
    assert row["message"].startswith("Accepted")


def test_an_alarm_reads_slices_by_name_or_prefix() -> None:
    alarm = Alarm(metric="recall", slices=["class:"], level=0.5, sentence="Weak.")
    low = metric("recall", 0.2, slice="class:Stop")
    assert alarm.is_raised_by(low)
    assert not alarm.is_raised_by(metric("recall", 0.2))
    assert not alarm.is_raised_by(metric("other", 0.2, slice="class:Stop"))
    assert not alarm.is_raised_by(metric("recall", None, slice="class:Stop"))
    found = with_alarms(stage("performance", metrics=[metric("clean_accuracy"), low]), [alarm])
    assert [finding.code for finding in found.findings] == [ALARM_FINDING]
    made = decide([found], [GATE], TODAY)
    assert (made.exit_code, entry(made, "recall").title) == (3, "The recall (class:Stop)")


@pytest.mark.parametrize(("value", "listed"), [(0.3, False), (0.1, True), (None, True)])
def test_a_control_that_held_is_not_listed_among_what_no_gate_reads(
    value: float | None, listed: bool
) -> None:
    control = Alarm(metric="control", level=0.15, sentence="The attack misses a planted leak.", control=True)
    stage_result = stage("privacy", metrics=[metric("control", value, 0.0)])
    decided = verdict(stage_result.model_copy(update={"alarms": [control]}))
    assert [one.title for one in decided.ungated] == (["The control"] if listed else [])
    assert (decided.status == "passed") is (value != 0.1)


def test_a_stage_that_did_not_run_raises_no_alarm() -> None:
    crashed = stage("physical", status="error", reason="it broke")
    assert with_alarms(crashed, PHYSICAL.alarms(PhysicalSettings())) == crashed


def test_an_unsigned_entry_shows_the_value_of_its_own_stage_and_subject() -> None:
    shadow = "physical_accuracy.shadow"
    decoys = [
        stage("other", metrics=[metric(shadow, 0.7)]),
        physical().model_copy(update={"subject": "int8", "metrics": [metric(shadow, 0.6)]}),
    ]
    decided = decide([CLEAN, *decoys, physical(0.9)], [GATE], TODAY, accepted=[accept(shadow, owner="")])
    [one] = [found for found in decided.ungated if found.accepted is not None]
    assert (one.state, one.title) == (UNSIGNED, "Accuracy under threat: shadow")
    assert one.value.replace("\u202f", " ") == "20.0 %"
    assert one.message.startswith("Accuracy under threat: shadow: 20.0")


def test_a_reason_beside_a_value_does_not_replace_it() -> None:
    made = physical(0.9)
    partly = [made.metrics[0].model_copy(update={"reason": "of half the images"}), *made.metrics[1:]]
    shown = entry(verdict(made.model_copy(update={"metrics": partly})), WORST)
    assert shown.value.replace("\u202f", " ") == "90.0 %"
    absent = entry(verdict(physical(None)), WORST)
    assert absent.value == "not measured (there is no image of this class)"


@pytest.mark.parametrize(
    ("entries", "state", "code"),
    [
        ((), ALARM, 3),
        ((accept("saliency_lift", owner="", stage="explainability"),), UNSIGNED, 3),
        ((accept("saliency_lift", stage="explainability"),), SIGNED, 0),
        ((accept("background_swap_loss", stage="explainability"),), ALARM, 3),
    ],
)
def test_an_owner_of_an_undefined_metric_accepts_the_alarm_that_says_why(
    entries: tuple[Accepted, ...], state: str, code: int
) -> None:
    """Who accepts that the lift is unknown need not accept again that no method is admissible."""
    row = next(row for row in STAGES if row.name == "explainability")
    metrics = [metric("admissible_methods", 0.0, unit="ratio"), metric("saliency_lift", None)]
    result = StageResult(stage=row.name, title=row.title, metrics=metrics)
    decided = verdict(with_alarms(result, row.alarms(row.settings())), *entries)
    assert (entry(decided, "admissible_methods").state, decided.exit_code) == (state, code)


@pytest.mark.parametrize(
    ("entries", "state", "code"),
    [
        ((), ALARM, 3),
        ((accept("residual_hazard", owner="", stage="monitors"),), UNSIGNED, 3),
        ((accept("residual_hazard", stage="monitors"),), SIGNED, 0),
        ((accept("availability", stage="monitors"),), ALARM, 3),
    ],
)
def test_an_owner_of_an_undefined_metric_accepts_the_finding_that_says_why(
    entries: tuple[Accepted, ...], state: str, code: int
) -> None:
    reason = Finding(
        code="no-threshold",
        severity="serious",
        message="No monitor has a threshold.",
        evidence={"metric": "residual_hazard"},
    )
    result = StageResult(
        stage="monitors",
        title="Run-time monitors",
        metrics=[metric("residual_hazard", None)],
        findings=[reason],
    )
    decided = verdict(result, *entries)
    [one] = [one for one in decided.ungated if "No monitor has a threshold" in one.message]
    assert (one.state, decided.exit_code) == (state, code)


@pytest.mark.parametrize(
    ("profile", "accepted", "code"),
    [
        ("full", False, 0),
        ("standard", False, 0),
        ("quick", False, 3),
        ("quick", True, 0),
        ("later", False, 3),
    ],
)
def test_a_quick_run_passes_only_where_the_user_accepts_it(
    profile: str, accepted: bool, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of([CLEAN], [GATE], profile=profile, accept_quick=accepted)
    assert run.verdict.exit_code == code
    for view, text in views(run, tmp_path, capsys).items():
        if view not in ("sentence", "sarif", "github") or code:  # a pass has no entry there
            if view == "sentence":
                continue
            assert f"(exit code {code}), {profile} profile" in text.replace("%2C", ","), view
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert (root.get("failures") != "0") == (code != 0)
    assert ("--accept-quick" in run.verdict.sentence) == (code == 3)
    cases = {case.get("name") for case in root.iter("testcase")}
    assert ("profile" in cases) == (
        profile != "full"
    )  # also a standard pass names its profile in the pipeline
    failing = run_of([CLEAN], [gate("clean", "clean_accuracy", threshold=0.99)], profile=profile)
    assert failing.verdict.exit_code == 1


def undefined(name: str, reason: str) -> Metric:
    return Metric.undefined(name, name, reason)


def test_an_unmeasured_metric_with_an_alarm_says_that_it_is_not_measured() -> None:
    found = StageResult(
        stage="physical", title="P", metrics=[undefined(PATCH, "the model gives no gradient")]
    )
    made = verdict(with_alarms(found, PHYSICAL.alarms(PhysicalSettings())))
    assert made.exit_code == 0
    assert f"Not gated: {PATCH} not measured (the model gives no gradient)." in made.detail


@pytest.mark.parametrize(
    ("flags", "complete", "raised"), [(0.0, True, False), (0.0, False, True), (1.0, True, True)]
)
def test_without_its_gate_a_failed_or_unproven_masking_check_is_an_alarm(
    flags: float, complete: bool, raised: bool
) -> None:
    """A user who removes the gate on masking does not turn a check without power into a clean one."""
    ends = (flags, flags) if complete else (None, None)
    checks = Metric.count("masking_flags", "Failed gradient-masking checks", flags, 13).model_copy(
        update={"low": ends[0], "high": ends[1]}
    )
    [alarm] = [
        alarm for alarm in ADVERSARIAL.alarms(ADVERSARIAL.settings()) if alarm.metric == "masking_flags"
    ]
    assert alarm.is_raised_by(checks) is raised
    findings = with_alarms(stage("adversarial", metrics=[checks]), [alarm]).findings
    assert len(findings) == raised
    assert not findings or ("not a complete count" in findings[0].message) is not complete
