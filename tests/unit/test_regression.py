"""Regression: targets in the data, errors with their intervals, the stage on models of known errors. Legend: N images, T targets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.audits.base import AuditInputs
from safeml.audits.judged import judged_data
from safeml.audits.regression.run import run
from safeml.classifiers.base import InputSpec
from safeml.classifiers.batches import BatchSize
from safeml.classifiers.judged import Judged, outcomes, predict
from safeml.config.audit import parse_config
from safeml.config.quantization import QuantizeSettings
from safeml.config.recipe import Recipe
from safeml.data.npz import load
from safeml.data.place import Place
from safeml.data.rendered import render
from safeml.data.rendered.approach import Approach, homographies, project, tilt
from safeml.data.targets import Targets, targets_of
from safeml.errors import ConfigError, InputRefused
from safeml.gates import decide
from safeml.metrics.regression import bias_error, mean_absolute_error, r2_score, root_mean_squared_error
from safeml.results import Gate
from safeml.settings.base import validated
from safeml.settings.data import DataSettings
from safeml.settings.targets import TargetSettings
from safeml.stages.perturbation import PerturbationSettings
from safeml.stages.regression import RegressionSettings
from safeml.statistics import quantile_metric
from safeml.statistics.clusters import Clustering
from tests.fakes import numbered_images
from tests.records import codes, metric, value

DEGREES = TargetSettings(name="tilt", unit="degrees", range=(-20.0, 20.0), tolerance=2.0)
FEW = RegressionSettings(bootstrap=100)


@dataclass(frozen=True, eq=False)
class Values:
    """A regression model with any predictions: float [N, T] by the number of the image (`tests.fakes.numbered_images`)."""

    table: np.ndarray
    name: str = "values"
    spec: InputSpec = field(default_factory=lambda: InputSpec(height=16, width=16, outputs="values"))
    parameters: int = 1
    fingerprint: str = "e" * 64
    notes: tuple[str, ...] = ()
    batch: BatchSize = field(default_factory=lambda: BatchSize(64))

    @property
    def classes(self) -> int:
        return self.table.shape[1]

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        place = images[:, 0, 0, 0].astype(np.int64) * 256 + images[:, 0, 1, 0]
        return self.table[place].astype(np.float32)

    def features(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float32)


def images_of(values: np.ndarray, *targets: TargetSettings, frames: int = 4) -> Any:
    """Return numbered images of these targets (float [N, T]), `frames` of each sign track."""
    from safeml.data.dataset import ImageDataset

    count = len(values)
    tracks = np.arange(count, dtype=np.int64) // frames
    return ImageDataset(
        "numbered",
        numbered_images(count),
        np.zeros(count, np.int64),
        ("image",),
        tracks=tracks,
        targets=Targets(np.asarray(values, float).reshape(count, -1), targets or (DEGREES,)),
    )


def spread(count: int = 400) -> np.ndarray:
    return np.linspace(-19, 19, count)


def gate(name: str, op: str, threshold: float) -> Gate:
    return Gate(id="g", title="g", stage="regression", metric=name, op=op, threshold=threshold, rationale="r")


# What the settings and the data refuse


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": ""}, "unit"),
        ({"unit": " "}, "unit is blank"),
        ({"range": (3.0, 3.0)}, "smallest value"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 40.0}, "cannot fail"),
        ({"name": "Tilt!"}, "name"),
    ],
)
def test_a_target_that_means_nothing_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        validated(TargetSettings, {**DEGREES.model_dump(), **changes}, "safeml.toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([0.0, np.nan, 1.0]), "tilt is nan for image 1"),
        (np.array([0.0, np.inf, 1.0]), "finite"),
        (np.array([0.0, 21.0, 1.0]), "outside its range"),
        (np.array([3.0, 3.0, 3.0]), "constant"),
    ],
)
def test_targets_that_no_model_could_learn_are_refused(values: np.ndarray, words: str) -> None:
    with pytest.raises(InputRefused, match=words):
        targets_of({"tilt": values}, (DEGREES,), "data")


def test_class_ids_are_never_taken_as_targets(tmp_path: Path) -> None:
    images = numbered_images(6)
    np.savez(tmp_path / "labels.npz", images=images, labels=np.arange(6) % 2)
    np.savez(tmp_path / "integers.npz", images=images, targets=np.arange(6))
    np.savez(tmp_path / "cube.npz", images=images, targets=np.zeros((6, 2, 2)))
    place = Place(tmp_path)
    with pytest.raises(ConfigError, match="class ids are never taken as targets"):
        place.targeted(DataSettings(kind="npz", path="labels.npz"), (DEGREES,))
    with pytest.raises(InputRefused, match=r"targets are int64; expected floats"):
        load(tmp_path / "integers.npz")
    with pytest.raises(InputRefused, match=r"targets are \[6, 2, 2\]"):
        load(tmp_path / "cube.npz")


def test_targets_come_by_name_by_order_or_from_a_table(tmp_path: Path) -> None:
    images, columns = numbered_images(6), np.stack([np.arange(6.0), -np.arange(6.0)], axis=1)
    other = DEGREES.model_copy(update={"name": "roll"})
    np.savez(tmp_path / "named.npz", images=images, targets=columns, target_names=np.array(["roll", "tilt"]))
    np.savez(tmp_path / "plain.npz", images=images, targets=columns)
    np.savez(tmp_path / "labels.npz", images=images, labels=np.arange(6) % 2)
    rows = "".join(f"{number},{number / 2}\n" for number in range(6))
    (tmp_path / "targets.csv").write_text(f"image,tilt\n{rows}")
    place = Place(tmp_path)

    def read(name: str, *targets: TargetSettings, table: str = "") -> np.ndarray:
        found = place.targeted(DataSettings(kind="npz", path=name, targets=table), targets).targets
        assert found is not None
        return found.values

    assert np.array_equal(read("named.npz", DEGREES, other), columns[:, ::-1])
    assert np.array_equal(read("named.npz", DEGREES), columns[:, 1:])
    assert np.array_equal(read("plain.npz", DEGREES, other), columns)
    assert np.array_equal(read("labels.npz", DEGREES, table="targets.csv")[:, 0], np.arange(6) / 2)
    with pytest.raises(ConfigError, match="2 target columns"):
        read("plain.npz", DEGREES)
    (tmp_path / "targets.csv").write_text("image,tilt\n" + "".join(f"{number},fast\n" for number in range(6)))
    with pytest.raises(InputRefused, match=r"targets.csv:2: tilt is fast; expected a finite number"):
        read("labels.npz", DEGREES, table="targets.csv")


def test_targets_and_tolerance_are_part_of_the_fingerprint() -> None:
    data = images_of(spread(8))
    assert data.targets is not None
    moved = replace(data, targets=replace(data.targets, values=data.targets.values + 1e-9))
    looser = replace(
        data, targets=Targets(data.targets.values, (DEGREES.model_copy(update={"tolerance": 3.0}),))
    )
    assert len({data.fingerprint, moved.fingerprint, looser.fingerprint}) == 3
    part = data.take(np.array([3, 1]))
    assert part.targets is not None
    assert np.array_equal(part.targets.values, data.targets.values[[3, 1]])


BASE = {
    "model": {"path": "m.keras"},
    "data": {"test": {"kind": "rendered"}, "targets": [DEGREES.model_dump()]},
    "gates": [gate("within_tolerance", ">=", 0.9).model_dump(exclude={"waiver"})],
}


def test_declared_targets_make_the_outputs_values() -> None:
    assert parse_config(BASE, "safeml.toml").model.input.outputs == "values"
    assert parse_config(BASE, "safeml.toml").head == "regression"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"path": "m.keras", "input": {"outputs": "logits"}}}, "declare targets"),
        ({"model": {"path": "m.keras", "input": {"class_order": (1, 0)}}}, "class_order"),
        ({"hazard": {"costs": "c.csv"}}, "costs"),
        ({"stages": {"adversarial": {"surrogate": {"path": "s.keras"}}}}, "surrogate"),
        (
            {"data": {"test": {"kind": "rendered"}}, "model": {"path": "m", "input": {"outputs": "values"}}},
            "no targets",
        ),
        ({"data": {"test": {"kind": "npz", "path": "d.npz", "targets": "t.csv"}}}, "none is declared"),
    ],
)
def test_settings_that_contradict_a_regression_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({**BASE, **changes}, "safeml.toml")


STILL = {"shift": 0.0, "rotation_degrees": 0.0, "zoom": 0.0}
RECIPE = {
    "name": "r",
    "architecture": "lenet",
    "head": "regression",
    "epochs": 1,
    "augment": STILL,
    "data": {
        "train": {"kind": "rendered", "seed": 1},
        "valid": {"kind": "rendered"},
        "targets": [DEGREES.model_dump()],
    },
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": {**STILL, "rotation_degrees": 5.0}}, "moving pixels may change the target"),
        ({"augment": {}}, "moving pixels may change the target"),
        ({"monitor": "val_accuracy"}, "which a regression has not"),
        ({"label_smoothing": 0.1}, "label_smoothing is for classifiers"),
        ({"balance": "sampling"}, "balance is for classifiers"),
        ({"adversarial": {"epsilon": "4/255"}}, "adversarial"),
        ({"inflation": True}, "inflation"),
        ({"head": "classification"}, "requires"),
    ],
)
def test_a_recipe_of_a_regression_refuses_what_only_a_classifier_has(
    changes: dict[str, Any], words: str
) -> None:
    assert validated(Recipe, RECIPE, "recipe.toml").monitor == "val_mae"
    with pytest.raises(ConfigError, match=words):
        validated(Recipe, {**RECIPE, **changes}, "recipe.toml")


def test_a_classifier_has_no_mean_absolute_error() -> None:
    plain = {
        **RECIPE,
        "head": "classification",
        "data": {key: RECIPE["data"][key] for key in ("train", "valid")},
    }  # type: ignore[index]
    with pytest.raises(ConfigError, match="a classifier has not"):
        validated(Recipe, {**plain, "monitor": "val_mae"}, "recipe.toml")


def test_quantization_of_a_regression_is_selected_by_its_error() -> None:
    given = {"name": "q", "model": {"path": "m.keras"}, "data": RECIPE["data"]}
    settings = validated(QuantizeSettings, given, "quantize.toml")
    assert (settings.monitor, settings.model.input.outputs) == ("val_mae", "values")
    for changes, words in (
        ({"prune": {}}, "prune"),
        ({"backend": "tfmot"}, "tfmot"),
        ({"epochs": 1}, "moving pixels"),
    ):
        with pytest.raises(ConfigError, match=words):
            validated(QuantizeSettings, {**given, **changes}, "quantize.toml")


# The renderer's target


def test_the_tilt_is_the_angle_of_the_signs_axis_in_the_image() -> None:
    rng, one = np.random.default_rng(5), np.ones(6)
    approach = Approach(
        size=np.full(6, 32),
        roll=rng.normal(0, 0.3, 6),
        yaw=rng.normal(0, 0.4, 6),
        pitch=rng.normal(0, 0.2, 6),
        x=0.1 * one,
        y=-0.1 * one,
        fill=0.8 * one,
        depth=8 * one,
    )
    matrices = homographies(approach)
    # The same by finite differences: where the sign's centre and a point just above it are drawn. y points down.
    drawn = project(matrices, np.array([[0.0, 0.0], [0.0, -1e-6]]))
    right, up = drawn[:, 1, 0] - drawn[:, 0, 0], drawn[:, 0, 1] - drawn[:, 1, 1]
    assert tilt(matrices) == pytest.approx(np.rad2deg(np.arctan2(right, up)), abs=1e-3)
    straight = replace(approach, yaw=0 * one, pitch=0 * one, x=0 * one, y=0 * one)
    assert tilt(homographies(straight)) == pytest.approx(np.rad2deg(approach.roll), abs=1e-9)


def test_rendered_signs_know_their_tilt() -> None:
    data = render(86, seed=4)
    assert data.quantities["tilt"].shape == (86,)
    assert np.abs(data.quantities["tilt"]).max() < 45
    assert data.targets is None  # a classifier's data are unchanged


# Errors and their intervals


def test_errors_are_those_of_numpy_and_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error as sk_mae
    from sklearn.metrics import r2_score as sk_r2
    from sklearn.metrics import root_mean_squared_error as sk_rmse

    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=(2, 200))
    errors = predicted - true
    assert root_mean_squared_error(errors) == pytest.approx(sk_rmse(true, predicted))
    assert mean_absolute_error(errors) == pytest.approx(sk_mae(true, predicted))
    assert r2_score(errors, true) == pytest.approx(sk_r2(true, predicted))
    assert bias_error(errors) == pytest.approx(errors.mean())
    assert np.isnan(r2_score(errors, np.ones(200)))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_a_quantile_is_numpys_and_its_interval_of_independent_values_is_the_exact_one(share: float) -> None:
    from scipy.stats import binom

    values = np.random.default_rng(1).exponential(size=400)
    made = quantile_metric("q", "q", values, share, clustering=Clustering(frames_per_sign=1.0))
    assert made.value == np.quantile(values, share, method="inverted_cdf")
    # Order statistics: P(x_(k) >= quantile) = P(Binomial(n, share) < k), W. J. Conover, "Practical nonparametric statistics", 1999.
    ordered = np.sort(values)
    first = next(k for k in range(1, 401) if binom.cdf(k - 1, 400, share) >= 0.975)
    assert made.high is not None
    assert made.low is not None
    # The tested order statistics are a grid, so an end may lie outside the exact one, never inside.
    assert made.high >= ordered[first - 1]
    assert binom.cdf(np.searchsorted(ordered, made.high), 400, share) < 0.9995
    assert made.low <= made.value <= made.high


def test_a_quantile_beyond_the_data_has_no_interval() -> None:
    values = np.random.default_rng(2).random(200)
    tracks = np.arange(200) // 10
    few = quantile_metric("q", "q", values, 0.99, clustering=Clustering(tracks))
    assert few.value is not None
    assert (few.low, few.high) == (None, None)
    assert "too few" in few.method
    unknown = quantile_metric("q", "q", values, 0.5)
    assert (unknown.low, unknown.high) == (None, None)


def test_the_upper_ends_of_clustered_quantiles_cover() -> None:
    """60 signs of 5 frames whose errors share a factor: the true quantile is above the upper end in at most 5 % of 400 samples."""
    rng = np.random.default_rng(3)
    signs, frames, share, missed = 60, 5, 0.9, 0

    def draw(count: int) -> np.ndarray:
        return np.abs(rng.normal(size=(count, 1)) + 0.5 * rng.normal(size=(count, frames))).ravel()

    true = float(np.quantile(draw(200_000), share))
    tracks = Clustering(np.arange(signs * frames) // frames)
    for _ in range(400):
        high = quantile_metric("q", "q", draw(signs), share, clustering=tracks).high
        missed += high is not None and high < true
    assert missed / 400 <= 0.05


# The stage on models of known errors


def audited(errors: np.ndarray, *targets: TargetSettings, settings: RegressionSettings = FEW) -> Any:
    own = targets or (DEGREES,)
    values = np.stack([spread(len(errors))] * len(own), axis=1)
    data = images_of(values, *own)
    return run(AuditInputs(Values(values + errors.reshape(len(errors), -1)), data), settings)


def test_a_perfect_model_passes_and_a_biased_one_fails() -> None:
    noise = 1e-3 * np.random.default_rng(0).normal(size=400)
    perfect, biased = audited(noise), audited(noise + 3.0)
    gates = [gate("within_tolerance", ">=", 0.9)]
    assert decide([perfect], gates, today="2030-01-01").status == "passed"
    assert decide([biased], gates, today="2030-01-01").status == "failed"
    for name, limit in (("error_p95", 2.5), ("bias_magnitude", 2.5), ("mae", 2.5), ("rmse", 2.5)):
        wanted = [gate(name, "<=", limit)]
        assert decide([perfect], wanted, today="2030-01-01").status == "passed", name
        assert decide([biased], wanted, today="2030-01-01").status == "failed", name
    assert value(biased, "bias") == pytest.approx(3.0, abs=1e-3)
    assert value(biased, "within_tolerance") == 0.0
    assert value(perfect, "r2") == pytest.approx(1.0, abs=1e-6)


def test_the_sign_of_a_bias_does_not_hide_it() -> None:
    low = audited(-3.0 + 1e-3 * np.random.default_rng(0).normal(size=400))
    made = metric(low, "bias_magnitude")
    assert made.value == pytest.approx(3.0, abs=1e-3)
    assert made.high is not None
    assert made.high >= 3.0 - 1e-3
    straddling = metric(audited(np.random.default_rng(0).normal(size=400)), "bias_magnitude")
    assert straddling.low == 0.0


def test_one_part_of_the_range_cannot_hide_behind_the_others() -> None:
    errors = np.where(spread(1200) > 13.4, 4.0, 0.01)
    result = audited(errors)
    worst = metric(result, "within_tolerance_worst_part")
    assert worst.value is not None
    assert worst.value < 0.05
    assert value(result, "within_tolerance") > 0.8


def test_a_constant_model_is_named_and_its_r2_is_zero() -> None:
    values = spread()
    result = audited(-values)
    assert "constant-answer" in codes(result)
    assert value(result, "r2") == pytest.approx(0.0, abs=1e-9)


def test_predictions_that_are_not_finite_are_misses_and_leave_errors_undefined() -> None:
    errors = np.full(400, 0.01)
    errors[7] = np.nan
    result = audited(errors)
    assert "non-finite-values" in codes(result)
    assert value(result, "within_tolerance") == pytest.approx(399 / 400)
    for name in ("mae", "rmse", "bias", "error_p95", "error_max", "r2"):
        assert metric(result, name).status == "undefined", name
    assert decide([result], [gate("mae", "<=", 10)], today="2030-01-01").status != "passed"


def test_without_a_tolerance_shares_are_undefined_and_no_gate_passes_on_them() -> None:
    result = audited(np.full(400, 0.01), DEGREES.model_copy(update={"tolerance": None}))
    assert metric(result, "within_tolerance").status == "undefined"
    assert "no-tolerance" in codes(result)
    assert decide([result], [gate("within_tolerance", ">=", 0.5)], today="2030-01-01").status == "incomplete"
    assert value(result, "mae") == pytest.approx(0.01, abs=1e-6)


def test_targets_of_different_units_have_no_common_error() -> None:
    metres = TargetSettings(name="way", unit="m", range=(-20.0, 20.0), tolerance=0.5)
    errors = (
        np.stack([np.full(400, 0.1), np.full(400, 1.0)], axis=1)
        * np.where(np.arange(400) % 2, 1, -1)[:, None]
    )
    result = audited(errors, DEGREES, metres)
    assert metric(result, "mae").status == "undefined"
    assert value(result, "mae", "target:tilt") == pytest.approx(0.1, abs=1e-5)
    assert value(result, "mae", "target:way") == pytest.approx(1.0, abs=1e-5)
    assert value(result, "within_tolerance") == 0.0  # the second target misses always


def test_the_largest_error_bounds_no_other_image() -> None:
    largest = metric(audited(np.random.default_rng(0).normal(size=400)), "error_max")
    assert (largest.low, largest.high) == (None, None)


# The classifier of errors


def test_the_classes_of_errors_say_which_side_missed() -> None:
    data = images_of(np.zeros(5) + np.arange(5))
    errors = np.array([[0.0], [2.0], [2.1], [-2.5], [np.nan]])
    judged = Judged(Values(data.targets.values + errors), ("tilt",), np.float32([2.0]))
    logits, labels = predict(judged, data.images, data.truths)
    assert judged.class_names == ("within the tolerance", "too high", "too low")
    assert logits[:4].argmax(axis=1).tolist() == [0, 0, 1, 2]
    assert not np.isfinite(logits[4]).any()
    assert labels.tolist() == [0] * 5
    assert outcomes(("a", "b")) == (
        "within the tolerance",
        "a too high",
        "b too high",
        "a too low",
        "b too low",
    )
    assert judged_data(data).class_names == judged.class_names


def test_corruptions_that_move_pixels_are_left_out_of_a_regression() -> None:
    from safeml.audits.perturbation.measure import applicable

    names = PerturbationSettings().corruptions
    left_out = set(names) - set(applicable(names, 3, regression=True))
    assert left_out == {"rotation", "perspective", "rolling_shutter", "elastic_transform"}
    assert applicable(names, 3) == names
