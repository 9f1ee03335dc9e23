"""The explainability stage on models of known answers, in numpy alone. Legend: N images, H W pixels, K classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from pydantic import ValidationError

from safeml.audits.base import AuditInputs
from safeml.audits.explainability.run import run
from safeml.audits.explainability.swap import changed_surroundings, donors
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.explainers.rows import ROWS
from safeml.gates import decide
from safeml.stages.alarms import with_alarms
from safeml.stages.explainability import EXPLAINABILITY, ExplainabilitySettings
from tests.explainability_cases import BOX, COUNT, SIDE, scenes
from tests.records import codes, metric, table_rows, value

pytestmark = pytest.mark.slow

INSIDE = np.zeros((SIDE, SIDE), bool)


INSIDE[4:12, 4:12] = True


CORNER = np.zeros((SIDE, SIDE), bool)


CORNER[:3, :3] = True


@dataclass(frozen=True, eq=False)
class Reader:
    """The logit of class 1 is the mean brightness under `weights`, and that of class 0 its opposite; 0 for a constant model."""

    weights: np.ndarray
    name: str = "reader"
    classes: int = 2
    parameters: int = 0
    fingerprint: str = "a" * 64
    notes: tuple[str, ...] = ()
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=SIDE, width=SIDE, channels="grey"))
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        pixels = images.astype(np.float64) / (255 if images.dtype == np.uint8 else 1)
        score = 10 * ((pixels[..., 0] - 0.5) * self.weights).sum(axis=(1, 2))
        return np.stack([-score, score], axis=1).astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)


def reads(region: np.ndarray) -> Reader:
    return Reader(region / region.sum())


def settings(**changes: object) -> ExplainabilitySettings:
    few = {
        "images": COUNT, "probe_images": 12, "methods_without_gradient": ("occlusion", "rise"), "masks": 200, "corruptions": ("contrast",),
        "bootstrap": 200, "curve_points": 5,
    }  # fmt: skip
    return ExplainabilitySettings(**{**few, **changes})


def audit(model: Reader, data: ImageDataset | None = None, **changes: object):
    return run(AuditInputs(model, scenes() if data is None else data), settings(**changes))


def test_a_model_that_reads_the_sign_keeps_its_accuracy_and_its_lift_is_the_largest_possible() -> None:
    result = audit(reads(INSIDE))
    lift = metric(result, "saliency_lift")
    assert value(result, "admissible_methods") == 2
    assert value(result, "saliency_lift", "occlusion") > 2
    assert 1.5 < lift.low < lift.value <= 1 / INSIDE.mean()
    assert value(result, "pointing_game", "occlusion") == 1.0
    assert value(result, "background_swap_loss") == value(result, "background_grey_loss") == 0.0
    assert (
        value(result, "sign_removed_accuracy") == 0.5
    )  # grey everywhere that is read: one class, for every image
    assert not {"reads-the-surroundings", "attribution-off-the-sign"} & codes(result)
    [gate] = decide([result], EXPLAINABILITY.gates, "2026-06-15").gates
    assert gate.status == "pass"


def test_a_model_that_reads_the_surroundings_fails() -> None:
    result = audit(reads(~INSIDE))
    assert metric(result, "saliency_lift").high < 1
    assert value(result, "background_swap_loss") == 1.0  # the other image is of the other class
    assert value(result, "sign_removed_accuracy") == 1.0
    assert {"reads-the-surroundings", "attribution-off-the-sign", "knows-without-the-sign"} <= codes(result)
    [gate] = decide([result], EXPLAINABILITY.gates, "2026-06-15").gates
    assert gate.status == "fail"
    alarmed = with_alarms(result, EXPLAINABILITY.alarms(settings()))
    assert "alarm" in codes(alarmed)


def test_a_model_that_reads_one_corner_points_there() -> None:
    result = audit(reads(CORNER))
    assert metric(result, "saliency_lift").high < 0.6
    assert value(result, "pointing_game", "occlusion") == 0.0
    assert value(result, "background_swap_loss") == 1.0


def test_a_random_model_has_no_lift() -> None:
    weights = np.random.default_rng(5).normal(size=(SIDE, SIDE)) / SIDE
    result = audit(Reader(weights), scenes(200, seed=3), images=200)
    lift = metric(result, "saliency_lift")
    assert lift.low < 1
    assert 0.5 < lift.value < 1.3
    [gate] = decide([result], EXPLAINABILITY.gates, "2026-06-15").gates
    assert gate.status != "pass"


def test_a_constant_model_has_no_map_and_no_number() -> None:
    result = audit(Reader(np.zeros((SIDE, SIDE))))
    assert value(result, "admissible_methods") == 0
    lift = metric(result, "saliency_lift")
    assert (lift.status, lift.value) == ("undefined", None)
    assert "no attribution method is admissible" in lift.reason
    assert metric(result, "saliency_lift", "occlusion").status == "undefined"
    [gate] = decide([result], EXPLAINABILITY.gates, "2026-06-15").gates
    assert gate.status == "error"
    assert "alarm" in codes(with_alarms(result, EXPLAINABILITY.alarms(settings())))


def test_without_boxes_nothing_is_known_of_the_sign() -> None:
    result = audit(reads(INSIDE), scenes(boxes=None))
    for name in ("saliency_lift", "background_swap_loss", "background_grey_loss", "sign_removed_accuracy"):
        found = metric(result, name)
        assert (found.status, found.reason) == ("undefined", "the data have no boxes of the signs")
    assert "no-boxes" in codes(result)
    assert value(result, "insertion_auc", "rise") is not None


def test_boxes_that_cover_the_whole_image_prove_nothing() -> None:
    """Every map would have a lift of exactly 1, and a limit of 1 would pass."""
    whole = np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (COUNT, 1))
    result = audit(reads(~INSIDE), scenes(boxes=whole))
    assert metric(result, "saliency_lift").status == "undefined"
    assert "no surroundings" in metric(result, "saliency_lift").reason


@pytest.mark.parametrize("box", [(4, 4, 4, 9), (4, 4, 20, 9), (0, 0, np.nan, 5)])
def test_a_box_that_is_none_stops_the_stage_with_its_row(box: tuple[float, ...]) -> None:
    boxes = np.tile(np.array(BOX, np.float32), (COUNT, 1))
    boxes[3] = box
    with pytest.raises(StageError, match="image 3 is empty or leaves its image"):
        audit(reads(INSIDE), scenes(boxes=boxes))


def test_images_of_one_class_have_no_donor() -> None:
    data = scenes()
    result = audit(reads(INSIDE), replace(data, labels=np.ones(COUNT, np.int64)))
    assert metric(result, "background_swap_loss").status == "undefined"
    assert "one class" in metric(result, "background_swap_loss").reason
    assert value(result, "background_grey_loss") is not None


def test_undeclared_clustering_gives_no_interval_and_no_pass() -> None:
    result = audit(reads(INSIDE), scenes(frames_per_sign=None))
    assert metric(result, "saliency_lift").low is None
    [gate] = decide([result], EXPLAINABILITY.gates, "2026-06-15").gates
    assert gate.status == "not_proven"


def test_logits_that_are_not_finite_have_no_map() -> None:
    class Broken(Reader):
        def predict_logits(self, images: np.ndarray) -> np.ndarray:
            return np.full((len(images), 2), np.nan, np.float32)

    result = audit(Broken(INSIDE / INSIDE.sum()))
    assert value(result, "admissible_methods") == 0
    assert "non-finite-logits" in codes(result)
    assert metric(result, "saliency_lift").status == "undefined"


def test_a_method_that_ignores_the_model_is_not_admissible(monkeypatch: pytest.MonkeyPatch) -> None:
    from safeml.audits.explainability import explained

    def edges(classifier, images, classes, ids, effort):
        return np.abs(np.gradient(images[..., 0], axis=2)).astype(np.float32)

    monkeypatch.setattr(explained, "explainer", lambda name: edges)
    result = audit(reads(INSIDE))
    assert value(result, "admissible_methods") == 0
    assert value(result, "class_similarity", "occlusion") == pytest.approx(1.0)
    [row, _] = table_rows(result, "admissibility")
    assert row["admissible"] == "no"
    assert "hardly change for another class" in row["reason"]
    assert metric(result, "saliency_lift", "occlusion").status == "undefined"
    assert "method-not-admissible" in codes(result)


def test_what_is_recorded_is_declared() -> None:
    chosen = settings()
    declared = {(row.name, part) for row in EXPLAINABILITY.records(chosen) for part in row.slices}
    for found in audit(reads(INSIDE)).metrics:
        part = "class:" if found.slice.startswith("class:") else found.slice
        assert (found.name, part) in declared, found


def test_the_donor_has_another_class_and_hides_its_sign() -> None:
    data = scenes(60)
    inside = np.tile(INSIDE, (60, 1, 1))
    inside[::3] = False
    inside[::3, 2:14, 2:14] = True  # a third has larger signs, which the box of the others cannot hide
    ids = np.arange(60) + 500
    rows = donors(data, ids, inside, 7)
    assert (data.labels[rows] != data.labels).all()
    assert not (inside[rows] & ~inside).any()
    order = np.random.default_rng(0).permutation(60)
    again = donors(data.take(order), ids[order], inside[order], 7)
    assert (ids[order][again] == ids[rows][order]).all()  # the order of the images changes nothing


def test_surroundings_are_replaced_outside_the_box_alone() -> None:
    image, other = np.full((1, SIDE, SIDE, 1), 10, np.uint8), np.full((1, SIDE, SIDE, 1), 200, np.uint8)
    for form, sign, rest in (("swapped", 10, 200), ("grey", 10, 128), ("removed", 128, 10)):
        made = changed_surroundings(image, INSIDE[None], other, form)[0, :, :, 0]
        assert set(made[INSIDE]) == {sign}
        assert set(made[~INSIDE]) == {rest}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": ("gradcam",)}, 'names "gradcam", which is no attribution method'),
        ({"methods_without_gradient": ("grad_cam",)}, "needs more than predictions"),
        ({"methods": ("rise", "rise")}, "repeats a method"),
        ({"corruptions": ("fogg",)}, "which is no corruption"),
        ({"images": 10, "probe_images": 20}, "more than images"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExplainabilitySettings(**change)


def test_every_method_names_its_source() -> None:
    assert all(row.source[-4:].isdigit() or row.source.endswith(")") for row in ROWS.values())


def test_an_interrupted_run_resumes_with_the_same_numbers(tmp_path) -> None:
    """Every slice is stored: a second run asks the model for nothing but the pictures of the gallery."""
    from safeml.sealed import Arrays

    kept: dict[str, Arrays] = {}

    def work(item, parts, form, measure, cost=None):
        import json

        key = item + json.dumps(parts, sort_keys=True)
        if key not in kept:
            kept[key] = measure()
        return kept[key]

    class Counted(Reader):
        asked = 0

        def predict_logits(self, images: np.ndarray) -> np.ndarray:
            Counted.asked += len(images)
            return super().predict_logits(images)

    inputs = AuditInputs(Counted(INSIDE / INSIDE.sum()), scenes(), work=work)
    first = run(inputs, settings())
    asked = Counted.asked
    again = run(inputs, settings())
    assert again.model_dump() == first.model_dump()
    assert Counted.asked - asked < asked / 5


def test_a_method_that_the_model_cannot_have_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from safeml.audits.explainability import explained
    from safeml.explainers.base import NotApplicable

    real = explained.explainer

    def chosen(name: str):
        def refused(*_: object):
            raise NotApplicable("the model has no feature maps of a convolution")

        return refused if name == "rise" else real(name)

    monkeypatch.setattr(explained, "explainer", chosen)
    result = audit(reads(INSIDE))
    assert metric(result, "saliency_lift", "rise").reason == "the model has no feature maps of a convolution"
    assert value(result, "admissible_methods") == 1
    assert value(result, "saliency_lift") == value(result, "saliency_lift", "occlusion")
    assert "method-not-applicable" in codes(result)
    assert "RISE" in {fact.label for fact in result.not_tested}


def test_the_page_has_pictures_of_correct_and_incorrect_predictions() -> None:
    data = scenes()
    labels = data.labels.copy()
    labels[:6] = 1 - labels[:6]  # mislabelled, so that the predictions count as overconfident errors
    result = audit(reads(INSIDE), replace(data, labels=labels))
    gallery = result.worst_cases
    assert {item.note for item in gallery.items} == {"classified correctly", "overconfident error"}
    assert all(
        [panel.label for panel in item.panels] == ["image", "Occlusion", "RISE"] for item in gallery.items
    )
    rows = {row["prediction"]: row for row in table_rows(result, "lift-by-outcome")}
    assert rows["overconfident error"]["images"] == 6


def test_maps_of_two_models_agree_as_much_as_they_read_the_same_pixels() -> None:
    from safeml.audits.base import Reference
    from safeml.audits.explainability.agreement import map_agreement

    data = scenes()

    def agreement(other: Reader):
        return map_agreement(AuditInputs(reads(INSIDE), data), Reference(other), data, 7, 100)

    same, apart = agreement(reads(INSIDE)), agreement(reads(~INSIDE))
    assert same.value == pytest.approx(1.0)
    assert apart.value < 0.1
    assert apart.high < same.value
    opposite = agreement(Reader(-1.0 * INSIDE / INSIDE.sum()))
    assert opposite.status == "undefined"  # no image has one predicted class in both
    assert opposite.reason


def test_preference_of_a_method_lowers_its_lift() -> None:
    """A method that gives a lift of 2 on models that know nothing must give more on a model that reads the sign."""
    from safeml.audits.explainability.lift import lift_metric, preference
    from safeml.audits.explainability.measured import Maps, Measured

    count, area = 40, np.full(40, 0.25)
    data = scenes(count)
    maps = Maps(
        "occlusion",
        mapped=np.ones(count, bool),
        inside=np.linspace(0.5, 0.7, count),
        alone=np.tile([[0.1, 0.5]], (count, 1)),
    )
    fields = {
        "answers": data.labels,
        "confidence": np.ones(count),
        "methods": [maps],
        "controls": {},
        "surroundings": None,
    }
    fields |= {"donated": None, "corruptions": (), "levels": (), "layers": 0, "slices": None}
    measured = Measured(sample=data, probe=data, area=area, probe_area=area, **fields)
    own = preference(measured, maps, settings(), 7)
    assert own.value == pytest.approx(2.0)
    lift = lift_metric(measured, maps, own, settings(), 7, "all")
    assert lift.value == pytest.approx(0.6 / 0.25 / 2.0)
    unlike = replace(maps, alone=np.tile([[0.1, 0.2]], (count, 1)))
    plain = lift_metric(measured, unlike, preference(measured, unlike, settings(), 7), settings(), 7, "all")
    assert plain.value == pytest.approx(0.6 / 0.25)  # a preference for the surroundings excuses nothing
