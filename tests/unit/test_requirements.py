"""Requirements: the state of each follows from its gates, one without evidence prevents a pass, and the page shows both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from safeml.comparison.limits import requirement_changes
from safeml.config.audit import parse_config
from safeml.errors import ConfigError
from safeml.gates import decide
from safeml.loosening import loosened_since
from safeml.recorded_verdict import follows
from safeml.report.card import card_markdown
from safeml.report.safety_case import render_safety_case
from safeml.report.standards import DEMANDS
from safeml.report.states import REQUIREMENT_STATES
from safeml.report.write import write_report
from safeml.requirements import traced, without_requirement
from safeml.results import Gate, GateResult, Requirement, Run, Verdict
from safeml.stages import STAGES
from safeml.store.files import to_json
from safeml.store.run_folder import refuse_other_limits
from tests.sample_run import HOSTILE, TODAY, gate, metric, run_of, stage, waiver

BETTER, WORSE, OPEN = 0.8, 0.99, 0.97
RECORDED = [stage("performance", metrics=[metric("clean_accuracy", 0.97)])]
GATES = {
    "good": gate("good", "clean_accuracy", threshold=BETTER),
    "bad": gate("bad", "clean_accuracy", threshold=WORSE),
    "open": gate("open", "clean_accuracy", threshold=OPEN),
    "absent": gate("absent", "recall", threshold=BETTER),
    "signed": gate("signed", "clean_accuracy", threshold=WORSE, waiver=waiver()),
}


def need(*gates: str, **fields: Any) -> Requirement:
    return Requirement(**{"id": "R1", "text": "The model reads signs.", "gates": list(gates), **fields})


def verdict(gates: list[str], requirements: list[Requirement], **fields: Any) -> Verdict:
    return decide(RECORDED, [GATES[name] for name in gates], TODAY, requirements=requirements, **fields)


@pytest.mark.parametrize(
    ("gates", "status"),
    [
        (("good",), "met"),
        (("good", "signed"), "waived"),
        (("good", "open", "signed"), "not_proven"),
        (("open", "absent"), "incomplete"),
        (("absent", "bad", "good"), "failed"),
    ],
)
def test_a_requirement_has_the_state_of_its_worst_gate(gates: tuple[str, ...], status: str) -> None:
    [entry] = verdict(list(gates), [need(*gates)]).requirements
    assert entry.status == status
    assert entry.message.startswith("Requirement R1: ")


def test_a_gate_outside_a_requirement_does_not_change_it() -> None:
    made = verdict(["good", "bad"], [need("good")])
    assert [entry.status for entry in made.requirements] == ["met"]
    assert made.status == "failed"


@pytest.mark.parametrize(
    ("requirement", "status", "code"),
    [
        (need("good"), "met", 0),
        (need(), "untested", 3),
        (need(owner="A. Engineer"), "untested", 3),
        (need(elsewhere="report 17 of the test track"), "unsigned", 3),
        (need(elsewhere="report 17 of the test track", owner="  "), "unsigned", 3),
        (need(elsewhere="report 17 of the test track", owner="A. Engineer"), "elsewhere", 0),
    ],
)
def test_a_requirement_without_evidence_is_no_pass(requirement: Requirement, status: str, code: int) -> None:
    made = verdict(["good"], [requirement])
    assert (made.requirements[0].status, made.exit_code) == (status, code)
    if code:
        assert made.sentence == made.requirements[0].message


def test_a_failure_is_named_before_a_requirement_without_evidence() -> None:
    made = verdict(["bad"], [need()])
    assert made.exit_code == 1
    assert "Requirements without evidence: R1." in made.detail


def test_the_quick_profile_meets_no_requirement() -> None:
    assert verdict(["good"], [need("good")], profile="quick").requirements[0].status == "not_proven"
    accepted = verdict(["good"], [need("good")], profile="quick", accept_quick=True)
    assert accepted.requirements[0].status == "met"


def test_a_recorded_state_that_does_not_follow_is_found() -> None:
    run = run_of(RECORDED, [GATES["open"]], requirements=[need("open")])
    run = run.model_copy(
        update={"verdict": decide(run.stages, run.gates, TODAY, requirements=run.requirements)}
    )
    assert follows(run, TODAY)
    edited = run.verdict.requirements[0].model_copy(update={"status": "met"})
    forged = run.model_copy(update={"verdict": run.verdict.model_copy(update={"requirements": [edited]})})
    assert not follows(forged, TODAY)


def settings(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": {"path": "model.keras"},
        "data": {"test": {"kind": "npz", "path": "test.npz"}},
        "gates": [
            {
                "id": "clean-accuracy",
                "stage": "performance",
                "metric": "clean_accuracy",
                "op": ">=",
                "threshold": 0.9,
            }
        ],
        "requirements": [{"id": "R1", "text": "The model reads signs.", **entry} for entry in requirements],
    }


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"gates": ["clean-acuracy"]}], 'did you mean "clean-accuracy"'),
        ([{"gates": ["clean-accuracy", "clean-accuracy"]}], "names a gate twice"),
        ([{}, {}], 'the requirement id "R1" is used 2 times'),
        ([{"gates": ["clean-accuracy"], "elsewhere": "a test track"}], "split it in two"),
        ([{"text": "  "}], "blank"),
        ([{"gate": ["clean-accuracy"]}], "gate"),
    ],
)
def test_an_entry_that_no_run_can_trace_is_refused(entries: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=r"safeml\.toml") as error:
        parse_config(settings(*entries), "safeml.toml")
    assert message in str(error.value)


def drawn(run: Run) -> str:
    made = decide(run.stages, run.gates, TODAY, requirements=run.requirements)
    return render_safety_case(run.model_copy(update={"verdict": made}), "ab" * 32, None)


def test_the_page_shows_both_directions() -> None:
    run = run_of(RECORDED, [GATES["good"], GATES["open"]], requirements=[need("good"), need(id="R2")])
    page = drawn(run)
    requirements, alone = page.split("Evidence without a requirement")
    assert "R1" in requirements
    assert ">good<" in requirements.replace(" ", "")
    assert "no gate verifies it" in requirements
    assert ">open<" in alone.replace(" ", "")
    assert ">good<" not in alone.replace(" ", "")


def test_the_page_without_requirements_says_so() -> None:
    page = drawn(run_of(RECORDED, [GATES["good"]]))
    assert "has no [[requirements]]" in page
    assert ">good<" in page.replace(" ", "")


def test_a_stage_that_did_not_run_is_missing_evidence_of_a_document() -> None:
    page = drawn(run_of(RECORDED, [GATES["good"]]))
    assert "missing: adversarial" in page
    assert "Performance (passed)" in page


def test_hostile_requirements_remain_text() -> None:
    for text in HOSTILE:
        run = run_of(
            RECORDED, [GATES["good"]], requirements=[need("good", text=text, rationale=text, owner=text)]
        )
        page = drawn(run)
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_every_state_can_be_drawn() -> None:
    named = {
        entry.status for case in ([need("good")], [need()]) for entry in verdict(["good"], case).requirements
    }
    assert named < set(REQUIREMENT_STATES)


def test_documents_name_stages_that_there_are_and_claim_nothing() -> None:
    names = {row.name for row in STAGES}
    for demand in DEMANDS:
        assert set(demand.stages) <= names
        assert demand.clause or demand.read != "text read"
        assert "compl" not in demand.asks
    assert len({(demand.document, demand.clause) for demand in DEMANDS}) == len(DEMANDS)


def test_a_gate_may_serve_several_requirements() -> None:
    made = verdict(["good", "open"], [need("good"), need("good", "open", id="R2")])
    assert [entry.status for entry in made.requirements] == ["met", "not_proven"]
    assert without_requirement([need("good", "open")], made.gates) == []


def test_the_card_names_requirements(tmp_path: Path) -> None:
    run = run_of(RECORDED, [GATES["good"]], requirements=[need("good")])
    made = decide(run.stages, run.gates, TODAY, requirements=run.requirements)
    text = card_markdown(run.model_copy(update={"verdict": made}))
    assert "- R1 (met): The model reads signs." in text
    head = text.split("---")[1].strip().splitlines()
    assert {line.split(":")[0]: json.loads(line.split(":", 1)[1]) for line in head}["library_name"] == "keras"


def test_the_sentence_of_a_met_requirement_counts_its_gates() -> None:
    gates = [GateResult(gate=GATES[name], status="pass", message="") for name in ("good", "open")]
    one, both = traced([need("good"), need("good", "open")], gates)  # of a full run, where nothing is said
    assert (one.status, one.message) == ("met", "Requirement R1: its gate passes.")
    assert (both.status, both.message) == ("met", "Requirement R1: all 2 gates pass.")
    [worst] = traced([need("good", "absent")], gates)
    assert (worst.status, worst.message) == (
        "incomplete",
        'Requirement R1: its gate "absent" has no usable evidence.',
    )


@pytest.mark.parametrize(
    ("now", "gates", "kinds"),
    [
        ([need("good", "open")], ["good", "open"], []),
        ([need("good", "open", "signed", text="In other words.")], ["good", "open", "signed"], []),
        ([need("good")], ["good", "open"], ["lowered"]),
        ([need(elsewhere="a test track", owner="A. Engineer")], ["good", "open"], ["lowered"]),
        ([need("good", "open", id="R2")], ["good", "open"], ["dropped"]),
        ([], ["good", "open"], ["dropped"]),
    ],
)
def test_a_requirement_that_asks_for_less_is_looser(
    now: list[Requirement], gates: list[str], kinds: list[str], tmp_path: Path
) -> None:
    recorded = {
        "good": GATES["good"],
        "open": gate("open", "recall", threshold=OPEN),
        "signed": GATES["signed"],
    }
    run = run_of(RECORDED, [recorded["good"], recorded["open"]], requirements=[need("good", "open")])
    limits = [recorded[name] for name in gates]
    changes = loosened_since(run, limits, now)
    assert [change.kind for change in changes if not isinstance(change.old, Gate)] == kinds
    after = run.model_copy(update={"loosened": changes, "gates": limits, "requirements": now})
    again = Run.model_validate_json(after.model_dump_json())
    assert again.loosened == changes
    # The run that loosened it hides nothing from the next one.
    later = loosened_since(again, limits, now)
    assert [change.kind for change in later if not isinstance(change.old, Gate)] == kinds
    write_report(again, tmp_path, None)
    for view in ("index.html", "junit.xml", "summary.md"):
        assert ("Requirement R1 was" in (tmp_path / view).read_text()) == bool(kinds)


def test_a_gate_with_another_id_verifies_the_same() -> None:
    run = run_of(RECORDED, [GATES["good"]], requirements=[need("good")])
    renamed = GATES["good"].model_copy(update={"id": "renamed"})
    assert loosened_since(run, [renamed], [need("renamed")]) == []


def test_other_requirements_need_force_in_the_same_folder(tmp_path: Path) -> None:
    run = run_of(RECORDED, [GATES["good"]], requirements=[need("good")])
    (tmp_path / "results.json").write_text(to_json(run))
    refuse_other_limits(tmp_path, run.gates, [need("good", rationale="Said better.")])
    with pytest.raises(ConfigError, match="Requirement R1 was dropped"):
        refuse_other_limits(tmp_path, run.gates, [])


def test_a_comparison_names_requirements_in_both_directions() -> None:
    more = run_of(RECORDED, [GATES["good"]], requirements=[need("good")])
    less = run_of(RECORDED, [GATES["good"]])
    assert [change.kind for change in requirement_changes(more, less)] == ["dropped"]
    assert [change.kind for change in requirement_changes(less, more)] == ["added"]
