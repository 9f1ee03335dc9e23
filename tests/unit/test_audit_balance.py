"""The balance audit on planted copies, planted tracks, and the real data's known copies."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safeml.audits.balance.near import PICTURED

from safeml.audits.balance.run import run
from safeml.audits.base import AuditInputs
from safeml.audits.gallery import panel
from safeml.data.dataset import ImageDataset
from safeml.results import Bars, StageResult
from safeml.stages.balance import BalanceSettings
from tests.fakes import dataset, oracle
from tests.records import metric, severities, table

LABELS = np.arange(40) % 4
MODEL = oracle(LABELS, 4)
SHARED = Path(os.environ.get("SAFEML_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "gtsrb"


def audit(
    test: ImageDataset, train: ImageDataset | None = None, valid: ImageDataset | None = None
) -> StageResult:
    return run(AuditInputs(MODEL, test, train, valid), BalanceSettings())


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
    assert set(severities(result)) == {"small-classes-test", "small-classes-train"}


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


def test_a_slightly_changed_copy_is_a_candidate_and_no_copy(
    test_set: ImageDataset, train_set: ImageDataset
) -> None:
    images = train_set.images.copy()
    images[4] = test_set.images[8]
    images[4, 15, 15] ^= 1
    result = audit(test_set, replace(train_set, images=images))
    assert metric(result, "shared_duplicates").value == 0
    assert table(result, "near-copies").rows == [["test", "train", 1, 1]]
    assert result.worst_cases is not None
    [pair] = result.worst_cases.items
    assert [picture.label for picture in pair.panels] == ["test #8", "train #4"]
    assert pair.panels[0].png == panel("", test_set.images[8]).png
    assert pair.note == "mean difference 0.0 of 255"


def test_without_candidates_there_is_no_picture(test_set: ImageDataset, train_set: ImageDataset) -> None:
    assert audit(test_set, train_set).worst_cases is None


def test_the_most_similar_candidates_are_pictured_first(
    test_set: ImageDataset, train_set: ImageDataset
) -> None:
    images = train_set.images.copy()
    images[:20] = np.clip(
        test_set.images[:20].astype(int) + np.arange(20, 0, -1)[:, None, None, None], 0, 255
    )
    result = audit(test_set, replace(train_set, images=images))
    assert result.worst_cases is not None
    shown = [picture.panels[1].label for picture in result.worst_cases.items]
    assert shown == [f"train #{k}" for k in range(19, 19 - PICTURED, -1)]
    assert "12 of 20 candidates" in result.worst_cases.caption


@pytest.mark.slow
def test_the_four_copies_in_the_real_data() -> None:
    files = {split: SHARED / f"{split}.npz" for split in ("valid", "test")}
    if not all(file.is_file() for file in files.values()):
        pytest.skip(
            f"the GTSRB sample is not there: {SHARED.name}/valid.npz and test.npz (set SAFEML_SHARED)"
        )
    from safeml.data.npz import load

    test, valid = load(files["test"]), load(files["valid"])
    result = run(AuditInputs(MODEL, test, valid=valid), BalanceSettings())
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
