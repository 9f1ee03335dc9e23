"""The balance audit on planted copies, planted tracks, and the real data's known copies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.balance.run import run
from safeml.audits.base import AuditInputs
from safeml.data.dataset import RECOVERED, ImageDataset
from safeml.results import Bars, StageResult
from safeml.stages.balance import BalanceSettings
from tests.fakes import Answers, dataset, oracle
from tests.records import metric, severities, table

LABELS = np.arange(40) % 4
MODEL = oracle(LABELS, 4)
CLASSES = 43
SHARED = Path(os.environ.get("SAFEML_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "gtsrb"


@dataclass(frozen=True)
class Constant(Answers):
    """Predicts one class for images of any size."""

    table: np.ndarray = field(default_factory=lambda: np.zeros((1, CLASSES)))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        return np.zeros((len(images), CLASSES), np.float32)


def audit(
    test: ImageDataset, train: ImageDataset | None = None, valid: ImageDataset | None = None
) -> StageResult:
    return run(AuditInputs(oracle(test.labels, test.classes), test, train, valid), BalanceSettings())


@pytest.fixture
def test_set() -> ImageDataset:
    return dataset(LABELS, seed=1, tracks=np.arange(40) // 4 * 10 + LABELS)


@pytest.fixture
def train_set() -> ImageDataset:
    return dataset(LABELS, seed=2, tracks=1000 + np.arange(40) // 4 * 10 + LABELS)


def test_separate_splits_share_nothing(test_set: ImageDataset, train_set: ImageDataset) -> None:
    result = audit(test_set, train_set)
    for name in ("shared_duplicates", "shared_tracks", "test_duplicates"):
        found = metric(result, name)
        assert (found.value, found.low, found.high, found.clustering) == (0, 0, 0, "census")
    assert table(result, "copies").rows == []
    assert set(severities(result)) == {
        "small-classes-test",
        "small-classes-train",
    }  # ten signs a class are enough


def test_a_split_against_itself_shares_everything(test_set: ImageDataset) -> None:
    result = audit(test_set, test_set)
    assert metric(result, "shared_duplicates").value == 40
    assert metric(result, "shared_tracks").value == 40
    assert (
        severities(result)["shared-duplicates-train"]
        == severities(result)["shared-tracks-train"]
        == "serious"
    )


def test_planted_copies_are_counted_once_and_named(test_set: ImageDataset, train_set: ImageDataset) -> None:
    images = train_set.images.copy()
    images[[7, 9]] = test_set.images[3]
    images[11] = test_set.images[5]
    result = audit(replace(test_set, ids=np.arange(40) + 500), replace(train_set, images=images))
    assert metric(result, "shared_duplicates").value == 2
    assert metric(result, "shared_duplicates", "split:train").value == 2
    assert table(result, "copies").rows == [
        ["test", 503, "class 3", "train", 7, "class 3", "agree"],
        ["test", 505, "class 1", "train", 11, "class 3", "differ"],
    ]
    # pixels of image 3 stand at 7 (class 3) and 9 (class 1) of train, those of image 5 (class 1) at 11 (class 3)
    (conflict,) = [f for f in result.findings if f.code == "contradicting-labels"]
    assert conflict.evidence["images"] == 5


def test_copies_within_the_test_set(test_set: ImageDataset) -> None:
    images = test_set.images.copy()
    images[30] = images[2]
    result = audit(replace(test_set, images=images))
    assert metric(result, "test_duplicates").value == 1
    assert table(result, "copies").rows == [["test", 30, "class 2", "test", 2, "class 2", "agree"]]


def test_without_training_data_nothing_is_claimed(test_set: ImageDataset, train_set: ImageDataset) -> None:
    for result in (audit(test_set), audit(test_set, valid=train_set)):
        for name in ("shared_duplicates", "shared_tracks"):
            found = metric(result, name)
            assert (found.status, found.value) == ("undefined", None)
            assert "training data" in found.reason


@pytest.mark.parametrize("unknown", ["test", "train", "valid"])
def test_unknown_tracks_leave_the_track_count_undefined(
    test_set: ImageDataset, train_set: ImageDataset, unknown: str
) -> None:
    splits = {
        "test": test_set,
        "train": train_set,
        "valid": dataset(LABELS, seed=3, tracks=np.arange(40) + 5000),
    }
    splits[unknown] = replace(splits[unknown], tracks=None)
    result = audit(**splits)
    found = metric(result, "shared_tracks")
    assert (found.status, found.value) == ("undefined", None)
    assert unknown in found.reason
    assert metric(result, "shared_duplicates").value == 0


def test_tracks_numbered_apart_are_not_compared(test_set: ImageDataset) -> None:
    train = dataset(LABELS[::-1].copy(), seed=2, tracks=test_set.tracks)
    found = metric(audit(test_set, train), "shared_tracks")
    assert found.status == "undefined"
    assert "different classes" in found.reason


def test_balance_numbers_by_split(test_set: ImageDataset) -> None:
    train = dataset(np.repeat([0, 1, 2, 3], [300, 150, 149, 1]), seed=4)
    result = audit(test_set, train)
    assert metric(result, "imbalance_ratio", "split:train").value == 300
    assert metric(result, "small_classes", "split:train").value == 2
    assert metric(result, "imbalance_ratio", "split:test").value == 1
    assert metric(result, "effective_classes", "split:test").value == pytest.approx(4)
    (bars,) = [figure for figure in result.figures if isinstance(figure, Bars)]
    assert bars.values == [300, 150, 149, 1]
    assert sum(bars.compare) == pytest.approx(600)


def test_a_class_without_images_has_no_imbalance_ratio() -> None:
    result = audit(dataset(np.array([0, 0, 1]), ("a", "b", "c")))
    assert metric(result, "imbalance_ratio", "split:test").status == "undefined"


@pytest.mark.slow
def test_the_four_copies_in_the_real_data() -> None:
    files = {split: SHARED / f"{split}.npz" for split in ("valid", "test")}
    if not all(file.is_file() for file in files.values()):
        pytest.skip(
            f"the GTSRB sample is not there: {SHARED.name}/valid.npz and test.npz (set SAFEML_SHARED)"
        )
    from safeml.data.npz import load

    test, valid = load(files["test"]), load(files["valid"])
    result = run(AuditInputs(Constant(), test, valid=valid), BalanceSettings())
    assert metric(result, "shared_duplicates", "split:valid").value == 4
    assert metric(result, "shared_duplicates").status == "undefined"
    assert metric(result, "shared_duplicates", "split:train").status == "undefined"
    rows = table(result, "copies").rows
    assert len(rows) == 4
    assert {row[-1] for row in rows} == {"agree"}
    assert {(row[2], row[5]) for row in rows} == {("Stop", "Stop")}
    assert {row[1] for row in rows} == {3594, 4548, 9384, 11906}  # numbers of the official test files
    places = {int(valid.ids[place]): place for place in range(len(valid))}
    for row in rows:
        here = test.images[int(np.flatnonzero(test.ids == row[1])[0])]
        np.testing.assert_array_equal(here, valid.images[places[row[4]]])
    # all four are frames of one sign of the validation set
    assert len({int(valid.tracks[places[row[4]]]) for row in rows}) == 1


SIZES = np.array([400, 200, 100, 50])


def by_size(answers: np.ndarray, labels: np.ndarray, **columns: object) -> StageResult:
    """Audit a model with these answers; the training split has SIZES images of the classes."""
    test = dataset(labels, ("a", "b", "c", "d"), seed=1, **columns)
    train = dataset(np.repeat(np.arange(4), SIZES), ("a", "b", "c", "d"), seed=2)
    table_of_answers = np.eye(4)[answers] * 5.0
    return run(AuditInputs(Answers(table_of_answers), test, train), BalanceSettings(bootstrap=100))


def test_recall_that_falls_with_class_size_has_rank_correlation_one() -> None:
    labels = np.repeat(np.arange(4), 50)
    errors = np.isin(np.arange(200) % 50, np.arange(50)) & ((np.arange(200) % 50) < 12 * labels)
    answers = np.where(errors, (labels + 1) % 4, labels)
    found = metric(
        by_size(answers, labels, tracks=np.arange(200) // 2), "recall_by_class_size"
    )  # recalls 1, 0.76, 0.52, 0.28 for sizes 400, 200, 100, 50
    assert found.value == pytest.approx(1.0)
    assert found.low is not None
    assert found.low > 0
    result = by_size(answers, labels, tracks=np.arange(200) // 2)
    assert severities(result)["small-classes-recall"] == "warning"
    rows = table(result, "recall-of-classes").rows
    assert [row[:2] for row in rows] == [["d", 50], ["c", 100], ["b", 200], ["a", 400]]
    assert [row[3] for row in rows] == pytest.approx([0.28, 0.52, 0.76, 1.0])


def test_a_perfect_model_has_no_rank_correlation_and_no_warning() -> None:
    labels = np.arange(80) % 4
    result = by_size(labels, labels, frames_per_sign=1.0)
    found = metric(result, "recall_by_class_size")
    assert (found.status, found.reason) == ("undefined", "all classes have the same recall")
    assert "small-classes-recall" not in severities(result)


def test_the_training_sizes_are_matched_by_the_names_of_the_classes(test_set: ImageDataset) -> None:
    train = dataset(np.repeat(np.arange(4), SIZES), ("class 3", "class 2", "class 1", "other"), seed=2)
    found = metric(audit(test_set, train), "recall_by_class_size")
    assert (found.status, found.reason) == ("undefined", "the training data have no class called class 0")


def test_classes_of_few_signs_are_counted_by_tracks_or_declared_frames() -> None:
    labels = np.repeat([0, 1], [60, 60])
    tracks = np.where(labels == 0, np.arange(120) // 3, 1000 + np.arange(120) // 30)  # 20 signs, and 2 signs
    known = audit(dataset(labels, tracks=tracks))
    assert metric(known, "classes_of_few_signs", "split:test").value == 1
    assert severities(known)["few-signs-test"] == "warning"
    declared = audit(dataset(labels, frames_per_sign=10.0))  # 6 signs each
    assert metric(declared, "classes_of_few_signs", "split:test").value == 2
    unknown = metric(audit(dataset(labels)), "classes_of_few_signs", "split:test")
    assert (unknown.status, unknown.value) == ("undefined", None)


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [
        ({"recipe": {"balance": "sampling"}}, "balanced sampling"),
        ({"recipe": {"balance": "class_weights"}}, "class weights"),
        ({"recipe": {"balance": "none"}}, "none"),
        ({"recipe": {"balance": ["x"]}}, "not known"),
        ({"recipe": 3}, "not known"),
        (None, "not known"),
    ],
)
def test_the_page_says_how_training_balanced_the_classes(
    test_set: ImageDataset, recipe: dict | None, shown: str
) -> None:
    result = run(AuditInputs(MODEL, test_set, manifest=recipe), BalanceSettings())
    [fact] = [fact for fact in result.facts if fact.label == "Balancing in training"]
    assert fact.value == shown


def test_recovered_tracks_are_compared_with_no_other_split(test_set: ImageDataset) -> None:
    found = metric(
        audit(replace(test_set, tracks_origin=RECOVERED), test_set.take(np.arange(20))), "shared_tracks"
    )
    assert found.status == "undefined"
    assert "recovered from pixels" in found.reason
