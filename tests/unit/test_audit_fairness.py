"""The fairness stage on models of known gaps, and on groups of every awkward form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.fairness.conditions import (
    FIXED,
    FIXED_SOURCE,
    MOST_GROUPS,
    columns_of,
    edges_of,
    measures,
    with_conditions,
)
from safeml.audits.fairness.run import run
from safeml.config.audit import parse_config
from safeml.data.dataset import ImageDataset
from safeml.data.group_table import MISSING
from safeml.errors import StageError
from safeml.gates import decide
from safeml.planning.best_case import BestCase, PlanData
from safeml.planning.provable import plan_gates
from safeml.report.figures import figure_view
from safeml.results import Finding, Metric, StageResult
from safeml.stages.alarms import with_alarms
from safeml.stages.fairness import FAIRNESS, GATES, FairnessSettings
from tests.fakes import Answers, numbered_images

pytestmark = pytest.mark.slow

K, SIGNS, FRAMES = 4, 240, 5
N = SIGNS * FRAMES
TODAY = "2026-11-29"


def shades(count: int, seed: int) -> np.ndarray:
    """Numbered noise of every brightness, contrast and sharpness; uint8 [N, 16, 16, 1]."""
    rng = np.random.default_rng(seed)
    noise = numbered_images(count, seed).astype(float)
    coarse = np.repeat(np.repeat(rng.random((count, 4, 4, 1)), 4, axis=1), 4, axis=2) * 255
    share = rng.random((count, 1, 1, 1))
    images = (share * noise + (1 - share) * coarse) * rng.uniform(0.1, 1, (count, 1, 1, 1))
    images = images.astype(np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(count) // 256, np.arange(count) % 256
    return images


def images(count: int = N, seed: int = 0, **columns: Any) -> ImageDataset:
    rng = np.random.default_rng(seed + 100)
    height = rng.integers(20, 120, count)
    sizes = np.stack([height, (height * rng.uniform(0.8, 1.2, count)).astype(int)], axis=1)
    made: dict[str, Any] = {"frames_per_sign": float(FRAMES), "original_size": sizes, **columns}
    labels = rng.integers(0, K, count)
    return ImageDataset("fake", shades(count, seed), labels, tuple(f"class {k}" for k in range(K)), **made)


TEST, TRAIN = images(), images(600, seed=1)


def answered(test: ImageDataset, wrong: np.ndarray) -> Answers:
    """A model that misclassifies the images in `wrong`."""
    return Answers(np.eye(K)[np.where(wrong, (test.labels + 1) % K, test.labels)] * 5.0)


def audited(test: ImageDataset, wrong: np.ndarray, **fields: Any) -> StageResult:
    inputs = AuditInputs(answered(test, wrong), test, **{"train": TRAIN, **fields})
    return with_alarms(run(inputs, FairnessSettings()), FAIRNESS.alarms(FairnessSettings()))


def metric(result: StageResult, name: str, where: str = "all") -> Metric:
    [one] = [one for one in result.metrics if (one.name, one.slice) == (name, where)]
    return one


def finding(result: StageResult, code: str) -> Finding:
    return next(one for one in result.findings if one.code == code)


def verdict(result: StageResult) -> str:
    return decide([result], GATES, TODAY).gates[0].status


def none() -> np.ndarray:
    return np.zeros(N, bool)


def dark(test: ImageDataset = TEST) -> np.ndarray:
    return (
        with_conditions(AuditInputs(answered(test, none()), test, TRAIN)).test.groups["brightness"] == "dark"
    )


def test_edges_are_the_thirds_of_the_training_images_and_never_of_the_test_images() -> None:
    inputs = AuditInputs(answered(TEST, none()), TEST, TRAIN)
    edges = edges_of(inputs)
    assert list(edges) == ["brightness", "contrast", "blur", "size", "aspect"]
    for name, values in measures(TRAIN).items():
        assert (edges[name].low, edges[name].high) == pytest.approx(
            tuple(np.quantile(values, [1 / 3, 2 / 3]))
        )
        assert edges[name].source == "the thirds of 600 training images"
    other = replace(TEST, images=TEST.images // 2)
    assert edges_of(replace(inputs, test=other)) == edges
    assert set(with_conditions(replace(inputs, test=other)).test.groups["brightness"]) < {
        "dark",
        "normal",
    } | {"bright"}
    own = edges_of(replace(inputs, train=None, valid=TRAIN))
    assert own["size"].source == "the thirds of 600 validation images"


def test_without_other_images_edges_are_fixed_and_blur_needs_their_size() -> None:
    inputs = AuditInputs(answered(TEST, none()), TEST)
    edges = edges_of(inputs)
    assert "blur" not in edges  # the images are 16 x 16
    assert {(name, edge.low, edge.high) for name, edge in edges.items()} == {
        (name, *FIXED[name]) for name in ("brightness", "contrast", "size", "aspect")
    }
    assert {edge.source for edge in edges.values()} == {FIXED_SOURCE}
    wide = replace(TEST, images=np.repeat(np.repeat(TEST.images, 2, axis=1), 2, axis=2))
    assert edges_of(replace(inputs, test=wide))["blur"].low == FIXED["blur"][0]
    of_other_size = edges_of(replace(inputs, test=wide, train=TRAIN))
    assert of_other_size["brightness"].source == FIXED_SOURCE
    assert of_other_size["size"].source == "the thirds of 600 training images"
    result = audited(TEST, none(), train=None)
    assert "blur" in finding(result, "condition-not-measured").message
    assert "blur" not in metric(result, "accuracy_gap_conditions").title
    assert "brightness, size" in metric(result, "accuracy_gap_conditions").title


def test_fixed_edges_name_their_reason_and_a_remedy_only_where_it_helps() -> None:
    alone = finding(audited(TEST, none(), train=None), "fixed-edges")
    assert "because" not in alone.message
    assert "[data.train]" in alone.remedy
    assert TRAIN.original_size is not None
    squares = replace(TRAIN, original_size=TRAIN.original_size[:, :1].repeat(2, axis=1))
    tied = finding(audited(TEST, none(), train=squares), "fixed-edges")
    assert tied.message.startswith("The groups by aspect are cut at")
    assert "both edges of the thirds of your training images have the same value" in tied.message
    assert tied.remedy == ""
    wide = replace(TRAIN, images=np.repeat(np.repeat(TRAIN.images, 2, axis=1), 2, axis=2))
    other = finding(audited(TEST, none(), train=wide), "fixed-edges")
    assert "because the training images have another size" in other.message
    assert "aspect" not in other.message


def test_no_column_depends_on_a_prediction() -> None:
    one, other = (AuditInputs(answered(TEST, wrong), TEST, TRAIN) for wrong in (none(), ~none()))
    for first, second in zip(
        columns_of(with_conditions(one).test), columns_of(with_conditions(other).test), strict=True
    ):
        np.testing.assert_array_equal(first.groups.codes, second.groups.codes)


def test_a_known_gap_on_dark_images_lies_in_its_interval_and_fails_the_gate() -> None:
    """100 models that misclassify 30 % of the dark images and 2 % of the others: the gap of 28 points is in the interval."""
    rng, member, missed = np.random.default_rng(3), dark(), 0
    tracks = np.repeat(np.arange(SIGNS), FRAMES)
    test = with_conditions(AuditInputs(answered(TEST, none()), replace(TEST, tracks=tracks), TRAIN)).test
    from safeml.audits.fairness.metrics import accuracies
    from safeml.statistics.between import largest_difference

    [column] = [column for column in columns_of(test) if column.name == "brightness"]
    for _ in range(100):
        hits = rng.random(N) > np.where(member, 0.3, 0.02)
        [by] = accuracies([column], hits)
        gap = largest_difference("gap", "Gap", [by.compared])
        missed += not gap.low <= 0.28 <= gap.high
    assert missed <= 5
    result = audited(TEST, rng.random(N) < np.where(member, 0.3, 0.02))
    assert verdict(result) == "fail"
    assert "dark" in finding(result, "widest-gap").message
    assert result.figures[0].rows[0][:2] == ["brightness", "dark"]
    assert finding(result, "weak-slice").evidence["slice"] == "dark"
    assert "dark" in result.meaning[-1]


def test_a_perfect_model_passes_and_names_no_slice() -> None:
    tracks = np.arange(N)  # enough sign tracks
    result = audited(replace(TEST, tracks=tracks), none())
    gap = metric(result, "accuracy_gap_conditions")
    assert (gap.value, gap.low) == (0, 0)
    smallest = min(
        m.signs
        for m in result.metrics
        if m.slice.startswith(("condition:brightness", "condition:blur", "condition:size"))
    )
    assert gap.high == pytest.approx(1 - 0.025 ** (1 / smallest))
    assert verdict(result) == "pass"
    assert [f.code for f in result.findings if f.severity != "info"] == []


@pytest.mark.parametrize("kind", ["random", "constant", "undefined"])
def test_a_model_that_knows_nothing_raises_the_alarm_and_is_not_unfair(kind: str) -> None:
    """An equal accuracy of a quarter is a small gap: the alarm of the weakest group prevents a pass."""
    rng = np.random.default_rng(0)
    table = {
        "random": rng.random((N, K)),
        "constant": np.tile([1.0, 0, 0, 0], (N, 1)),
        "undefined": np.full((N, K), np.nan),
    }[kind]
    result = with_alarms(
        run(AuditInputs(Answers(table), TEST, TRAIN), FairnessSettings()), FAIRNESS.alarms(FairnessSettings())
    )
    assert metric(result, "group_accuracy_worst").value < 0.5
    assert "Accuracy of the weakest condition or group" in finding(result, "alarm").message
    assert verdict(result) != "pass" or kind == "undefined"
    decided = decide([result], GATES, TODAY)
    assert decided.exit_code != 0
    assert any(entry.state == "alarm" for entry in decided.ungated)
    if kind == "undefined":
        assert metric(result, "accuracy_ratio", "column:size").value is None
    for figure in result.figures:
        figure_view(figure)


def test_the_worst_end_counts_signs_and_not_frames() -> None:
    """Ten copies of every frame, declared as such, change no interval; undeclared, they would narrow it."""
    few = replace(TEST, frames_per_sign=1.0)
    many = few.take(np.repeat(np.arange(N), 10))
    wrong = np.random.default_rng(2).random(N) < 0.05
    from safeml.audits.fairness.metrics import accuracies, conditions_gap

    ends = []
    for data, missed in ((few, wrong), (replace(many, frames_per_sign=10.0), np.repeat(wrong, 10))):
        inputs = with_conditions(AuditInputs(answered(few, none()), data, TRAIN))
        gap = conditions_gap(accuracies(columns_of(inputs.test), ~missed))
        ends.append((gap.value, gap.low, gap.high))
    assert ends[0] == pytest.approx(ends[1])


def test_all_images_of_one_condition_leave_the_gap_undefined_and_never_small() -> None:
    black = replace(
        TEST, images=np.where(np.arange(16)[None, None, :, None] < 2, TEST.images, 0).astype(np.uint8)
    )
    result = audited(black, none())
    gap = metric(result, "accuracy_gap_conditions")
    assert gap.value is None
    assert "all images are dark" in gap.reason
    assert metric(result, "accuracy_gap", "column:brightness").value is None
    assert "All images are dark" in finding(result, "one-group").message
    assert verdict(result) == "error"


def test_without_original_sizes_and_with_flat_images() -> None:
    flat = replace(TEST, original_size=None)
    result = audited(flat, none())
    assert "size (the data have no original sizes)" in finding(result, "condition-not-measured").message
    assert finding(result, "condition-not-measured").severity == "warning"
    assert "size" not in metric(result, "accuracy_gap_conditions").title


SITES = np.array(["north", "south", "west"])


@pytest.mark.parametrize(
    ("column", "code", "words"),
    [
        (np.full(N, "north"), "one-group", "All images are site north"),
        (np.where(np.arange(N) == 7, "alone", SITES[np.arange(N) % 3]), "group-untested", "site alone (1 sign track)"),
        (np.where(np.arange(N) % 4 == 0, MISSING, SITES[np.arange(N) % 3]), "missing-values", "300 images without a value of site"),
        (np.array([f"c{k}" for k in TEST.labels]), "column-of-classes", "each class is in one group"),
    ],
)  # fmt: skip
def test_an_awkward_column_is_named(column: np.ndarray, code: str, words: str) -> None:
    result = audited(replace(TEST, groups={"site": column}), none())
    assert words in finding(result, code).message
    for figure in result.figures:
        figure_view(figure)
    odds = metric(result, "equalized_odds_difference", "column:site")
    gap = metric(result, "accuracy_gap", "column:site")
    if code in ("one-group", "column-of-classes"):
        assert odds.value is None
    if code == "one-group":
        assert gap.value is None
        assert metric(result, "accuracy_gap_groups").value is None
    if code == "group-untested":
        assert gap.n == N - 1
        assert metric(result, "group_accuracy", "group:site=alone").low == pytest.approx(0.025)
    if code == "missing-values":
        assert metric(result, "group_accuracy", f"group:site={MISSING}").n == 300


def test_a_group_of_one_image_that_fails_is_named_and_is_no_proof() -> None:
    column = np.where(np.arange(N) == 7, "alone", SITES[np.arange(N) % 3])
    result = audited(replace(TEST, groups={"site": column}), np.arange(N) == 7)
    alone = metric(result, "group_accuracy", "group:site=alone")
    assert (alone.value, alone.low, alone.high) == (0, 0, pytest.approx(0.975))
    assert metric(result, "accuracy_gap", "column:site").value == 0
    assert metric(result, "group_accuracy_worst").value > 0.9


def test_ten_thousand_groups_are_refused() -> None:
    column = np.arange(N).astype(str)
    with pytest.raises(StageError, match=rf"has 1,200 groups; expected at most {MOST_GROUPS}"):
        audited(replace(TEST, groups={"frame": column}), none())


def test_a_column_with_the_name_of_a_condition_is_the_condition() -> None:
    result = audited(replace(TEST, groups={"aspect": SITES[np.arange(N) % 3]}), none())
    assert {m.slice for m in result.metrics if m.slice.startswith("condition:aspect")} == {
        f"condition:aspect={name}" for name in ("narrow", "square", "wide")
    }


def test_without_a_group_file_parity_is_not_recorded_and_said_to_be_untested() -> None:
    result = audited(TEST, none())
    assert not [
        m for m in result.metrics if "parity" in m.name or "odds" in m.name or m.name == "accuracy_gap_groups"
    ]
    assert result.not_tested[0].value == "not tested"


def test_a_gap_between_the_users_groups_raises_an_alarm() -> None:
    sites = SITES[np.arange(N) % 3]
    wrong = (sites == "west") & (np.arange(N) % 4 == 0)
    result = audited(replace(TEST, groups={"site": sites}), wrong)
    assert metric(result, "accuracy_gap_groups").value == pytest.approx(wrong.sum() / (N / 3))
    assert "Largest accuracy gap between your groups" in finding(result, "alarm").message
    assert decide([result], GATES, TODAY).exit_code != 0
    assert finding(result, "weak-slice").message.startswith("Site west: 75.0")


def test_without_sign_tracks_nothing_is_proven() -> None:
    result = audited(replace(TEST, frames_per_sign=None), none())
    gap = metric(result, "accuracy_gap_conditions")
    assert (gap.value, gap.low) == (0, None)
    assert verdict(result) == "not_proven"
    assert result.figures[2].rows == []


def test_every_recorded_metric_is_declared_and_every_declared_one_recorded() -> None:
    result = audited(replace(TEST, groups={"site": SITES[np.arange(N) % 3]}), dark())
    declared = {row.name: row for row in FAIRNESS.records(FairnessSettings())}
    assert {m.name for m in result.metrics} == set(declared)
    for m in result.metrics:
        row = declared[m.name]
        assert m.direction == row.direction
        assert any(
            m.slice == where or (where.endswith(":") and m.slice.startswith(where)) for where in row.slices
        )


GATE = GATES[0].model_dump(exclude_defaults=True, exclude={"rationale"})


def planned(test: ImageDataset, train: ImageDataset | None, gate: dict[str, Any]) -> Any:
    config = parse_config(
        {"model": {"path": "m.keras"}, "data": {"test": {"kind": "npz", "path": "t.npz"}}, "gates": [gate]},
        "safeml.toml",
    )
    known = PlanData(config, test, train, None, "m.keras")
    [plan], _ = plan_gates(BestCase(known), config.gates, TODAY)
    return plan


def test_a_plan_concentrates_the_errors_in_the_smallest_group() -> None:
    """421 signs, as many as in the test half of GTSRB, can prove the default gate."""
    test = replace(TEST, frames_per_sign=N / 421)
    plan = planned(test, TRAIN, GATE)
    assert plan.state == "provable"
    assert plan.allowed.group.startswith("condition:")
    assert 100 < plan.allowed.of < 140
    of_size = planned(test, TRAIN, {**GATE, "metric": "accuracy_gap", "slice": "column:size"})
    assert of_size.allowed.group.startswith("condition:size=")


def test_a_plan_says_when_the_images_are_too_few() -> None:
    plan = planned(TEST, TRAIN, GATE)  # 240 signs: groups of about 70
    assert plan.state == "not_provable"
    assert plan.needs_signs > SIGNS


def test_planning_loads_neither_pandas_nor_fairlearn() -> None:
    import subprocess
    import sys

    code = (
        "import sys, safeml.audits.fairness.perfect, safeml.audits.fairness.run; "
        "print([m for m in ('pandas', 'fairlearn', 'sklearn', 'tensorflow') if m in sys.modules])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert child.stdout.strip() == "[]"
