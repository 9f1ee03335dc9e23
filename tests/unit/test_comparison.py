"""Two recorded runs on the same images: differences against the statistics called directly, and doubt that stays visible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from safeml.audits.base import AuditInputs
from safeml.audits.performance.run import run as performance
from safeml.cli.main import app
from safeml.comparison.compare import compare_runs
from safeml.comparison.images import MASKED, image_records
from safeml.comparison.limits import limit_changes
from safeml.comparison.page import comparison_page
from safeml.comparison.records import Comparison
from safeml.errors import InputRefused
from safeml.results import Column, Gate, Metric, Provenance, Run, StageResult, Table
from safeml.stages.performance import PerformanceSettings
from safeml.statistics import Clustering, paired_difference_metric, proportion_metric
from safeml.store.files import atomic_write, to_json
from tests import fakes
from tests.sample_run import HOSTILE, TIMES, gate, run_of, waiver

N, FRAMES = 120, 6
TRACKS = np.arange(N) // FRAMES
EPSILON = 4.0  # in 1/255


def outcomes(seed: int, share: float = 0.8) -> np.ndarray:
    return np.random.default_rng(seed).random(N) < share


def adversarial(
    clean: np.ndarray,
    sizes: np.ndarray,
    *,
    tracks: np.ndarray | None = TRACKS,
    frames: float | None = None,
    ids: np.ndarray | None = None,
    flags: float = 0.0,
    steps: int = 20,
    names: tuple[str, str] = ("Stop", "Yield"),
) -> StageResult:
    """A stage of attacks; sizes: float [N], of the nearest adversarial example in 1/255, infinite where there is none."""
    numbers = np.arange(len(clean)) if ids is None else ids
    clustering = Clustering(tracks, frames)
    robust = clean & (sizes > EPSILON)
    rows: list[list[Any]] = [
        [int(n), names[int(n) % 2], *([] if tracks is None else [int(tracks[k])]), "right" if clean[k] else "wrong",
         None if np.isinf(sizes[k]) else float(sizes[k])]
        for k, n in enumerate(numbers)
    ]  # fmt: skip
    keys = ["image", "class", *([] if tracks is None else ["track"]), "clean", "linf_size"]
    settings = {"threats": [{"norm": "linf", "epsilon": EPSILON / 255}], "full_ensemble": [], "steps": steps}
    return StageResult(
        stage="adversarial",
        title="Adversarial robustness",
        metrics=[
            proportion_metric("clean_accuracy_attacked_sample", "Clean", clean, clustering=clustering),
            proportion_metric("robust_accuracy.linf_4", "Robust", robust, clustering=clustering),
            Metric.count("masking_flags", "Failed checks", flags, 11),
        ],
        ledger=Table(id="ledger", title="Ledger", columns=[Column(key=k, label=k) for k in keys], rows=rows),
        provenance=Provenance(model="", data="", settings=settings, seed=7),
    )


def run(stage: StageResult, gates: list[Gate] | None = None, **fields: Any) -> Run:
    return run_of([stage], gates or [gate("robust", "robust_accuracy.linf_4", stage="adversarial", threshold=0.6)], **fields)  # fmt: skip


def far(seed: int) -> np.ndarray:
    """Distances on both sides of epsilon, one exactly on it."""
    sizes = np.random.default_rng(seed).uniform(1, 8, N)
    sizes[::10], sizes[5] = np.inf, EPSILON
    return sizes


def pair(comparison: Comparison, name: str) -> Any:
    [entry] = [entry for entry in comparison.paired if entry.name == name]
    return entry


@pytest.mark.parametrize(("tracks", "frames"), [(TRACKS, None), (None, 6.0), (None, 1.0)])
def test_differences_are_those_of_the_statistics_on_the_recorded_images(
    tracks: np.ndarray | None, frames: float | None
) -> None:
    clean, sizes = (outcomes(1), outcomes(2)), (far(3), far(4))
    runs = [run(adversarial(clean[k], sizes[k], tracks=tracks, frames=frames)) for k in (0, 1)]
    comparison = compare_runs(*runs)
    before, after = (clean[k] & (sizes[k] > EPSILON) for k in (0, 1))
    expected = paired_difference_metric("x", "x", before, after, clustering=Clustering(tracks, frames))
    entry = pair(comparison, "robust_accuracy.linf_4")
    assert (entry.difference.value, entry.difference.low, entry.difference.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert (entry.lost, entry.won) == (int((before & ~after).sum()), int((~before & after).sum()))
    assert entry.first - entry.second == pytest.approx(entry.difference.value)
    assert pair(comparison, "clean_accuracy_attacked_sample").first == pytest.approx(clean[0].mean())


def test_images_are_matched_by_their_number_and_not_by_their_place() -> None:
    clean, sizes = outcomes(1), far(3)
    order = np.random.default_rng(0).permutation(N)[: N - 20]
    sample = adversarial(clean[order], sizes[order], ids=order, tracks=TRACKS[order])
    entry = pair(compare_runs(run(adversarial(clean, sizes)), run(sample)), "robust_accuracy.linf_4")
    assert (entry.lost, entry.won, entry.difference.n) == (0, 0, N - 20)
    assert entry.side == "no difference shown"
    assert entry.difference.low < 0 < entry.difference.high  # agreement on a sample is no proof of equality


def test_a_wholly_worse_model_is_lower_and_the_order_of_the_runs_turns_the_sign() -> None:
    good, bad = (run(adversarial(np.full(N, answer), np.full(N, np.inf))) for answer in (True, False))
    assert pair(compare_runs(good, bad), "robust_accuracy.linf_4").side == "lower"
    assert pair(compare_runs(bad, good), "robust_accuracy.linf_4").side == "higher"


def test_unknown_sign_tracks_give_a_difference_without_an_interval() -> None:
    runs = [run(adversarial(outcomes(k), far(k), tracks=None)) for k in (1, 2)]
    comparison = compare_runs(*runs)
    assert {entry.side for entry in comparison.paired} == {"no interval"}
    assert any("set frames_per_sign" in note for note in comparison.notes)


def test_tracks_that_the_ledger_does_not_hold_are_not_replaced_by_independence() -> None:
    stage = adversarial(outcomes(1), far(1))
    assert stage.ledger is not None
    old = stage.model_copy(update={"ledger": stage.ledger.model_copy(update={
        "columns": [c for c in stage.ledger.columns if c.key != "track"],
        "rows": [[*row[:2], *row[3:]] for row in stage.ledger.rows]})})  # fmt: skip
    assert {entry.side for entry in compare_runs(run(old), run(old)).paired} == {"no interval"}


def reasons(comparison: Comparison) -> dict[str, str]:
    return {(entry.second or entry.first).name: entry.reason for entry in comparison.unpaired}  # type: ignore[union-attr]


@pytest.mark.parametrize("masked", [0, 1])
def test_masked_robust_accuracy_is_not_compared(masked: int) -> None:
    runs = [run(adversarial(outcomes(k), far(k), flags=float(k == masked))) for k in (0, 1)]
    comparison = compare_runs(*runs)
    assert reasons(comparison)["robust_accuracy.linf_4"] == MASKED
    assert [entry.name for entry in comparison.paired] == ["clean_accuracy_attacked_sample"]


def test_attacks_of_different_strength_are_not_compared() -> None:
    comparison = compare_runs(*(run(adversarial(outcomes(k), far(k), steps=10 * k)) for k in (1, 2)))
    assert reasons(comparison)["robust_accuracy.linf_4"] == "the attacks differ between the runs: steps"


def test_a_ledger_that_contradicts_its_metric_is_no_evidence() -> None:
    stage = adversarial(outcomes(1), far(1))
    assert stage.ledger is not None
    edited = [[*row[:3], "right", None] for row in stage.ledger.rows]
    forged = stage.model_copy(update={"ledger": stage.ledger.model_copy(update={"rows": edited})})
    records = image_records(forged)
    assert records is not None
    assert records.correct == {}
    assert set(records.missing.values()) == {"the ledger of the stage contradicts the metric"}
    assert compare_runs(run(stage), run(forged)).sentence.startswith("No accuracy could be compared")


def test_other_test_data_and_other_labels_are_refused() -> None:
    one = run(adversarial(outcomes(1), far(1)))
    test = one.data[0].model_copy(update={"fingerprint": "cd" * 32})
    with pytest.raises(InputRefused, match=r"different test data .* Audit both models on the same data"):
        compare_runs(one, one.model_copy(update={"data": [test]}))
    with pytest.raises(InputRefused, match="has no test data"):
        compare_runs(one, one.model_copy(update={"data": []}))
    with pytest.raises(InputRefused, match="image 0 has another class in each run"):
        compare_runs(one, run(adversarial(outcomes(1), far(1), names=("Yield", "Stop"))))


def test_the_notes_warn_of_the_best_of_several_and_of_the_same_model() -> None:
    one, other = (run(adversarial(outcomes(k), far(k))) for k in (1, 2))
    same = compare_runs(one, other).notes
    assert any("same model" in note for note in same)
    model = other.model.model_copy(update={"fingerprint": "1" * 64})
    notes = " ".join(compare_runs(one, other.model_copy(update={"model": model})).notes)
    assert f"the best of 20 such models with up to {round(100 * (1 - 0.975**20))}" in notes
    assert "A comparison is no verdict" in notes


def limit(threshold: float, **fields: Any) -> Gate:
    return gate("robust", "robust_accuracy.linf_4", stage="adversarial", threshold=threshold, **fields)


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [
        ([limit(0.6)], [limit(0.6)], []),
        ([limit(0.6)], [limit(0.6, title="Renamed").model_copy(update={"id": "other"})], []),
        ([limit(0.6)], [], ["dropped"]),
        ([limit(0.6)], [limit(0.5)], ["lowered"]),
        ([limit(0.6, min_n=100)], [limit(0.6)], ["lowered"]),
        ([limit(0.6)], [limit(0.6, waiver=waiver())], ["waived"]),
        ([limit(0.5)], [limit(0.6)], ["tightened"]),
        ([], [limit(0.6)], ["added"]),
        ([limit(0.6, waiver=waiver())], [limit(0.6)], ["waiver removed"]),
        ([limit(0.6, min_n=100)], [limit(0.7)], ["lowered", "tightened"]),
    ],
)
def test_limits_that_changed_are_named(first: list[Gate], second: list[Gate], kinds: list[str]) -> None:
    assert [str(change.kind) for change in limit_changes(first, second)] == kinds


def write(folder: Path, recorded: Run) -> Path:
    folder.mkdir(parents=True)
    atomic_write(folder / "results.json", to_json(recorded))
    atomic_write(folder / "run.json", to_json(TIMES))
    return folder


def safeml(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    loose = [limit(0.1)]
    return (
        write(tmp_path / "a", run(adversarial(np.full(N, True), np.full(N, np.inf)))),
        write(tmp_path / "b", run(adversarial(outcomes(1, 0.5), far(1)), loose)),
    )


def test_the_command_prints_losses_and_loosened_limits_and_writes_a_page(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    done = safeml("compare", *folders, "--out", tmp_path / "c.html")
    assert done.exit_code == 0, done.output
    assert "lower" in done.stdout
    assert "LOWERED" in done.stdout
    assert ">= 0.6 -> >= 0.1" in done.stdout
    page = (tmp_path / "c.html").read_text()
    assert "lowered" in page
    assert str(tmp_path) not in page  # folders reveal user and machine
    again = safeml("compare", *folders, "--out", tmp_path / "c.html")
    assert "exists already" in str(again.exception)


def test_json_is_the_record_and_nothing_else(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = safeml("compare", *folders, "--json")
    record = Comparison.model_validate(json.loads(done.stdout))
    assert [change.kind for change in record.loosened] == ["lowered"]
    assert not list(tmp_path.glob("*.html"))


def test_a_page_escapes_every_name(folders: tuple[Path, Path]) -> None:
    names = run(adversarial(outcomes(1), far(1)), title=HOSTILE[0], configuration={HOSTILE[1]: HOSTILE[0]})
    model = names.model.model_copy(update={"name": HOSTILE[0], "fingerprint": "2" * 64})
    other = run(adversarial(outcomes(2), far(2)), [limit(0.7, title=HOSTILE[3])], model=model)
    page = comparison_page(compare_runs(names, other, HOSTILE[0], HOSTILE[11]))
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[3], HOSTILE[11]):
        assert text not in page
    assert "<script" not in page


@pytest.mark.parametrize("frames", [None, 6.0])
def test_the_performance_stage_records_every_image(frames: float | None) -> None:
    """Two models with known answers, audited by the stage itself; the second one loses every image of class 1."""
    labels = np.arange(N) // FRAMES % 3
    data = fakes.dataset(
        labels, ("a", "b", "c"), **({"tracks": TRACKS} if frames is None else {"frames_per_sign": frames})
    )
    wrong = np.where(labels == 1, 2, labels)
    runs = []
    for answers in (labels, wrong):
        inputs = AuditInputs(fakes.oracle(answers, 3), data)
        stage = performance(inputs, PerformanceSettings(bootstrap=100))
        runs.append(run_of([stage], [gate("clean", "clean_accuracy")]))
    assert runs[1].stages[0].ledger is not None
    assert len(runs[1].stages[0].ledger.rows) == N
    entry = pair(compare_runs(*runs), "clean_accuracy")
    assert (entry.lost, entry.won) == (int((labels == 1).sum()), 0)
    assert entry.difference.signs == N / FRAMES
    assert entry.side == "lower"
