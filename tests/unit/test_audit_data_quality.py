"""The data quality audit on planted copies, label errors, generated images and tracks; clean synthetic data give none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.data_quality.perfect import PERFECT
from safeml.audits.data_quality.run import run
from safeml.audits.data_quality.tracks import measured_sample, proposal
from safeml.data.dataset import RECOVERED, ImageDataset
from safeml.data.image_tables import with_generated, with_tracks
from safeml.data.rendered import render
from safeml.errors import InputRefused
from safeml.results import StageResult
from safeml.stages.alarms import with_alarms
from safeml.stages.data_quality import DATA_QUALITY, DataQualitySettings
from tests.fakes import Answers
from tests.records import codes, metric, severities, table_rows

pytestmark = pytest.mark.slow

N, K = 60, 43


@dataclass(frozen=True)
class ByImage(Answers):
    """Predicts of each known image its class, by its pixels."""

    known: tuple[ImageDataset, ...] = ()

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        by_pixels = {
            image.tobytes(): label
            for data in self.known
            for image, label in zip(data.images, data.labels, strict=True)
        }
        return np.eye(K, dtype=np.float32)[[by_pixels.get(image.tobytes(), 0) for image in images]] * 8


def signs(seed: int) -> ImageDataset:
    return replace(
        render(N, seed=seed, size=32, frames_per_sign=1), tracks=None, frames_per_sign=1.0, groups={}
    )


@pytest.fixture(scope="module")
def splits() -> tuple[ImageDataset, ImageDataset, ImageDataset]:
    """Return test, train and valid without a common image."""
    return signs(1), signs(2), signs(3)


def audit(
    test: ImageDataset,
    train: ImageDataset | None = None,
    valid: ImageDataset | None = None,
    truth: tuple[ImageDataset, ...] = (),
    **settings: object,
) -> StageResult:
    known = truth or tuple(data for data in (test, train, valid) if data is not None)
    model = ByImage(np.eye(K), known=known)
    made = DataQualitySettings(bootstrap=100, **settings)
    return with_alarms(run(AuditInputs(model, test, train, valid), made), DATA_QUALITY.alarms(made))


def shifted(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")[2:, :-2]


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 3, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def put(data: ImageDataset, place: int, image: np.ndarray) -> ImageDataset:
    images = data.images.copy()
    images[place] = image
    return replace(data, images=images)


def vivid(data: ImageDataset) -> int:
    """Return the row of the image with the highest contrast."""
    return int(data.images.std(axis=(1, 2, 3)).argmax())


def test_clean_data_give_no_finding(splits) -> None:
    result = audit(*splits)
    for role in ("train", "valid", "test"):
        found = metric(result, "near_duplicates", f"split:{role}")
        assert (found.value, found.low, found.high, found.clustering) == (0, 0, 0, "census")
    assert metric(result, "label_error_candidates", "split:test").value == 0
    assert metric(result, "generated_images", "split:test").status == "undefined"
    assert not [code for code, severity in severities(result).items() if severity == "serious"]
    assert result.worst_cases is None


@pytest.mark.parametrize(
    "change", [shifted, noisy, lambda image: image], ids=["shifted", "noisy", "identical"]
)
def test_a_planted_copy_raises_a_serious_finding_and_an_alarm(splits, change) -> None:
    test, train, valid = splits
    place = vivid(test)
    result = audit(test, put(train, 5, change(test.images[place])), valid, truth=splits)
    assert metric(result, "near_duplicates", "split:train").value == pytest.approx(1 / N)
    assert metric(result, "near_duplicates", "split:valid").value == 0
    assert severities(result)["near-duplicates-train"] == "serious"
    assert "alarm" in codes(result)
    [item] = result.worst_cases.items
    assert [panel.label for panel in item.panels] == [
        f"test #{int(test.ids[place])}",
        f"train #{int(train.ids[5])}",
    ]


def test_a_copy_with_another_label_is_reported(splits) -> None:
    test, train, valid = splits
    place = vivid(test)
    other = int(np.flatnonzero(train.labels != test.labels[place])[0])
    result = audit(test, put(train, other, shifted(test.images[place])), valid, truth=splits)
    rows = {(row["split"], row["other"]): row for row in table_rows(result, "near-copies")}
    assert (rows["test", "train"]["near"], rows["test", "train"]["class"]) == (1, 1)
    assert "near-duplicates-of-another-class" in codes(result)


def test_a_planted_label_error_is_found(splits) -> None:
    test, train, valid = splits
    labels = test.labels.copy()
    counts = np.bincount(labels, minlength=K)
    place = int(np.flatnonzero(counts[labels] > 1)[0])
    labels[place] = next(label for label in np.unique(labels) if label != labels[place])
    result = audit(replace(test, labels=labels), train, valid, truth=splits)
    assert metric(result, "label_error_candidates", "split:test").value == 1
    [row] = table_rows(result, "label-candidates-list")
    assert row["image"] == int(test.ids[place])


def test_generated_images_that_judge_the_model_are_found(splits, tmp_path: Path) -> None:
    test, train, valid = splits
    (tmp_path / "generated.csv").write_text(f"image\n{int(test.ids[4])}\n999999\n")
    marked = with_generated(test, tmp_path / "generated.csv")
    assert np.flatnonzero(marked.generated).tolist() == [4]
    assert marked.fingerprint != test.fingerprint
    result = audit(marked, train, valid)
    assert metric(result, "generated_images", "split:test").value == 1
    assert severities(result)["generated-test"] == "serious"
    assert [f for f in result.findings if f.code == "alarm" and f.evidence["metric"] == "generated_images"]


def test_a_test_image_near_a_generated_training_image_is_found(splits) -> None:
    test, train, valid = splits
    place = vivid(test)
    made = np.arange(N) < 10
    generated = replace(put(train, 5, shifted(test.images[place])), generated=made)
    result = audit(test, generated, valid, truth=splits)
    assert metric(result, "generated_copies").value == 1
    assert severities(result)["generated-copies"] == "serious"
    photographed = audit(test, replace(generated, generated=~made), valid, truth=splits)
    assert metric(photographed, "generated_copies").value == 0


def test_without_training_data_nothing_is_claimed(splits) -> None:
    result = audit(splits[0])
    for name, where in (("near_duplicates", "split:train"), ("generated_copies", "all")):
        found = metric(result, name, where)
        assert (found.status, found.value) == ("undefined", None)
        assert "data.train" in found.reason


def test_small_images_and_large_splits_are_said_and_never_zero(splits) -> None:
    test, train, _ = splits
    small = replace(train, images=np.ascontiguousarray(train.images[:, ::4, ::4]))
    found = metric(audit(test, small), "near_duplicates", "split:train")
    assert found.status == "undefined"
    assert "8 x 8 pixels" in found.reason
    many = replace(train.take(np.arange(120) % N), ids=None)
    result = audit(test, many, most_images=100)
    assert metric(result, "near_duplicates", "split:train").status == "undefined"
    assert severities(result)["near-duplicates-skipped"] == "warning"


def test_splits_of_two_sizes_are_compared(splits) -> None:
    test, train, _ = splits
    place = vivid(test)
    large = replace(train, images=np.repeat(np.repeat(train.images, 2, axis=1), 2, axis=2))
    planted = put(large, 5, np.repeat(np.repeat(test.images[place], 2, axis=0), 2, axis=1))
    result = audit(test, planted)
    assert metric(result, "near_duplicates", "split:train").value == pytest.approx(1 / N)
    assert any("2 sizes" in limit for limit in result.limits)


def test_equal_images_two_classes_and_other_class_names(splits) -> None:
    test, train, _ = splits
    same = replace(test, images=np.repeat(test.images[:1], N, axis=0))
    assert metric(audit(same), "near_duplicates", "split:test").value == 1
    other = replace(train, class_names=tuple(f"other {k}" for k in range(K)))
    found = metric(audit(test, valid=other), "label_error_candidates", "split:valid")
    assert (found.status, found.reason) == (
        "undefined",
        "the valid split has other classes than the test set",
    )


def approaches(seed: int) -> ImageDataset:
    """Return 12 signs of 6 frames each, with recorded tracks and growing sizes."""
    base = signs(seed).take(np.arange(12))
    rng = np.random.default_rng(seed)
    images = np.repeat(base.images, 6, axis=0).astype(float) + rng.normal(0, 1.5, (72, 32, 32, 3))
    sides = np.tile(20 + 5 * np.arange(6), 12)
    return replace(
        base,
        images=np.clip(np.rint(images), 0, 255).astype(np.uint8),
        labels=np.repeat(base.labels, 6),
        ids=np.arange(72),
        files=None,
        boxes=None,
        frames=None,
        original_size=np.stack([sides, sides], axis=1).astype(np.int32),
        tracks=np.repeat(np.arange(12), 6),
        quantities={},
        frames_per_sign=None,
    )


def test_proposed_tracks_are_measured_on_training_tracks_and_used_nowhere() -> None:
    test, train = replace(approaches(4), tracks=None, frames_per_sign=6.0), approaches(5)
    result = audit(test, train)
    assert metric(result, "recovered_tracks").value >= 12
    assert metric(result, "track_recovery_precision").value > 0.9
    assert metric(result, "track_recovery_recall").value > 0.9
    assert severities(result)["tracks-proposed"] == "info"
    known = audit(approaches(4), train)
    assert metric(known, "recovered_tracks").reason == "the test images have recorded tracks"


def test_accepted_tracks_say_so_everywhere(tmp_path: Path) -> None:
    from safeml.audits.predictions import clustering_statement
    from safeml.data.identity import data_identity

    test, train = replace(approaches(4), tracks=None, frames_per_sign=6.0), approaches(5)
    text, count, precision, recall = proposal(test, train, 7)
    (tmp_path / "tracks.csv").write_text(text)
    accepted = with_tracks(test, tmp_path / "tracks.csv")
    assert len(np.unique(accepted.tracks)) == count
    assert min(precision, recall) > 0.9
    assert accepted.tracks_origin == RECOVERED
    assert data_identity("test", accepted).clustering == "recovered from pixels, not recorded"
    assert "recovered from pixels" in clustering_statement(accepted)
    assert any("recovered from pixels" in note for note in accepted.notes)
    assert severities(audit(accepted, train))["recovered-tracks-used"] == "warning"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,track\n0,1\n", "has no row"),
        ("image,track\n0,1\n0,2\n", "occurs twice"),
        ("image\n0\n", "has no column track"),
    ],
)
def test_a_table_of_tracks_that_does_not_fit_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "tracks.csv").write_text(text)
    with pytest.raises(InputRefused, match=words):
        with_tracks(replace(approaches(4), tracks=None), tmp_path / "tracks.csv")


def test_data_with_tracks_take_no_table(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").write_text("image,track\n0,1\n")
    with pytest.raises(InputRefused, match="has track ids already"):
        with_tracks(approaches(4), tmp_path / "tracks.csv")


def test_the_measured_sample_has_whole_tracks_of_the_declared_frames() -> None:
    test, train = replace(approaches(4), tracks=None, frames_per_sign=3.0), approaches(5)
    sample = measured_sample(train, test, 30, 7)
    assert sample is not None
    counts = np.unique(sample.tracks, return_counts=True)[1]
    assert set(counts.tolist()) == {3}
    assert len(sample) <= 30


def test_the_plan_has_the_best_case_without_a_model(splits) -> None:
    test, train, valid = splits
    made = PERFECT.run(AuditInputs(None, test, train, valid), DataQualitySettings())
    assert metric(made, "near_duplicates", "split:train").value == 0
