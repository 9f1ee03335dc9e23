"""Each gate that is dropped, lowered or waived since an earlier run is named, in the run and in every view of it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from safeml.cli.show import show_verdict
from safeml.errors import ConfigError
from safeml.loosening import limits_of, loosened, same_limits
from safeml.report.write import write_report
from safeml.results import Gate, Waiver
from safeml.store.files import to_json
from safeml.store.run_folder import refuse_other_limits
from tests.sample_run import metric, run_of, stage


def gate(threshold: float = 0.9, op: str = ">=", **fields: object) -> Gate:
    given = {"id": "g", "stage": "performance", "metric": "acc", "op": op, "threshold": threshold, **fields}
    return Gate.model_validate(given)


def waiver(until: str = "2027-01-01") -> Waiver:
    return Waiver(owner="A. Owner", reason="Known", until=until)


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        (gate(), [gate()], []),
        (gate(), [gate(id="renamed", title="New", rationale="r")], []),
        (gate(), [gate(0.95)], []),
        (gate(), [gate(0.85)], ["lowered"]),
        (gate(), [gate(0.85), gate(0.9, id="h")], []),
        (gate(), [], ["dropped"]),
        (gate(), [gate(slice="night")], ["dropped"]),
        (gate(), [gate(subject="int8")], ["dropped"]),
        (gate(), [gate(waiver=waiver())], ["waived"]),
        (gate(), [gate(0.95, waiver=waiver())], ["waived"]),
        (gate(), [gate(waiver=waiver()), gate(0.95, id="h")], []),
        (gate(waiver=waiver()), [gate(waiver=waiver())], []),
        (gate(waiver=waiver()), [gate()], []),
        (gate(waiver=waiver()), [gate(waiver=waiver("2027-06-01"))], ["waived"]),
        (gate(min_n=100), [gate(min_n=10)], ["lowered"]),
        (gate(0.02, "<="), [gate(0.01, "<=")], []),
        (gate(0.02, "<="), [gate(0.03, "<=")], ["lowered"]),
        (gate(0, "=="), [gate(0, "==")], []),
        (gate(0, "=="), [gate(3, "==")], ["lowered"]),
        (gate(0, "=="), [gate(3, "<=")], ["lowered"]),
        (gate(3, "<="), [gate(0, "==")], []),
    ],
)
def test_what_passes_more_models_is_looser(old: Gate, new: list[Gate], kinds: list[str]) -> None:
    changes = loosened([old], new)
    assert [change.kind for change in changes] == kinds
    assert all(change.old == old for change in changes)


def test_the_sentence_has_the_old_and_the_new_limit() -> None:
    [change] = loosened([gate(min_n=100)], [gate(0.5, min_n=100, waiver=waiver())])
    assert change.message == (
        "Gate g (acc) was lowered: >= 0.9 on at least 100 images before, >= 0.5 on at least 100 images, waived by A. Owner "
        "until 2027-01-01 now."
    )
    [gone] = loosened([gate(slice="night")], [])
    assert gone.message == "Gate g (acc for night) was dropped: >= 0.9 before, no limit now."


def test_a_second_run_with_the_looser_limit_is_still_compared_with_the_first() -> None:
    stages = [stage("performance", metrics=[metric("acc")])]
    first = run_of(stages, [gate(0.9)])
    second = run_of(stages, [gate(0.8)], loosened=loosened(limits_of(first), [gate(0.8)]))
    for limit, old in ((0.8, 0.9), (0.7, 0.9)):
        [change] = loosened(limits_of(second), [gate(limit)])
        assert change.old.threshold == old
    third = run_of(stages, [gate(0.95)], loosened=loosened(limits_of(second), [gate(0.95)]))
    assert third.loosened == []
    assert [found.threshold for found in limits_of(third)] == [0.95]


def test_every_view_names_old_and_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = [stage("performance", metrics=[metric("acc", 0.97)])]
    changes = loosened([gate(0.95), gate(0.5, id="gone", metric="other")], [gate(0.9)])
    run = run_of(stages, [gate(0.9)], loosened=changes)
    assert run.verdict.exit_code == 0
    write_report(run, tmp_path, None)
    show_verdict(run, None)
    views = {name: (tmp_path / name).read_text() for name in ("index.html", "junit.xml", "summary.md")}
    views["terminal"] = capsys.readouterr().out
    for view, text in views.items():
        plain = text.replace("&gt;", ">").replace("&#62;", ">").replace("\\", "")
        assert "was lowered: >= 0.95 before, >= 0.9 now." in plain, view
        assert "was dropped: >= 0.5 before, no limit now." in plain, view
    root = ET.fromstring(views["junit.xml"])
    assert [case.get("name") for case in root.iter("testcase")] == ["g", "looser: g", "looser: gone"]
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


@pytest.mark.parametrize(
    ("now", "refused"),
    [
        ([gate(0.9, title="Another title", rationale="r", owner="o", id="h")], False),
        ([gate(0.8)], True),
        ([gate(0.95)], True),
        ([gate(0.9, waiver=waiver())], True),
        ([gate(0.9), gate(0.1, id="h", metric="other")], True),
    ],
)
def test_a_folder_with_the_verdict_of_other_limits_is_refused(
    now: list[Gate], refused: bool, tmp_path: Path
) -> None:
    refuse_other_limits(tmp_path, now)  # an empty folder
    run = run_of([stage("performance", metrics=[metric("acc")])], [gate(0.9)])
    (tmp_path / "results.json").write_text(to_json(run))
    assert same_limits(run.gates, now) == (not refused)
    if not refused:
        refuse_other_limits(tmp_path, now)
        return
    with pytest.raises(ConfigError, match=r"holds the verdict of other limits.*--force") as caught:
        refuse_other_limits(tmp_path, now)
    assert ("0.9 before, >= 0.8 now" in str(caught.value)) == (now[0].threshold == 0.8)


def test_an_old_run_folder_without_the_new_fields_is_read(tmp_path: Path) -> None:
    from safeml.store.files import read_run

    run = run_of([stage("performance", metrics=[metric("acc")])], [gate(0.9)])
    values = json.loads(to_json(run))
    for name in ("accepted", "loosened", "accept_quick"):
        del values[name]
    for name in ("ungated", "rules"):
        del values["verdict"][name]
    for found in values["stages"]:
        del found["alarms"]
    (tmp_path / "results.json").write_text(json.dumps(values))
    old = read_run(tmp_path)
    assert (old.verdict.rules, old.verdict.ungated, old.loosened, old.accepted) == (1, [], [], [])
