"""Observers against closed forms, brute force and a literal transcription of the published algorithm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from safeml.config.quantization import CalibrationSettings
from safeml.quantization.observers import BINS, CODES, OBSERVERS, Histogram, observed


def settings(observer: str, percentile: float = 99.99) -> CalibrationSettings:
    return CalibrationSettings.model_validate({"observer": observer, "percentile": percentile})


def histogram(values: np.ndarray, bins: int = BINS) -> Histogram:
    magnitudes = np.abs(values)
    largest = float(magnitudes.max())
    return Histogram(np.histogram(magnitudes, bins, (0, largest or 1))[0], largest)


def normal(outliers: int = 0) -> np.ndarray:
    """100,000 numbers of N(0, 1) at the quantiles, so without chance, and outliers of 100."""
    values = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    return np.concatenate([values, np.full(outliers, 100.0)])


def squared_error(values: np.ndarray, threshold: float) -> float:
    scale = threshold / CODES
    rounded = np.clip(np.rint(values / scale), -CODES, CODES) * scale
    return float(np.mean(np.square(values - rounded)))


@pytest.mark.parametrize("observer", OBSERVERS)
def test_a_tensor_of_zeros_has_no_threshold_and_a_constant_one_has_its_value(observer: str) -> None:
    assert observed(histogram(np.zeros(100)), settings(observer)) == 0
    assert observed(histogram(np.full(100, 3.0)), settings(observer)) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_the_threshold_scales_with_the_values_and_ignores_their_sign(observer: str) -> None:
    rng = np.random.default_rng(3)
    values = rng.standard_normal(20_000)
    one = observed(histogram(values), settings(observer))
    assert observed(histogram(values * 64), settings(observer)) == pytest.approx(64 * one, rel=1e-9)
    assert observed(histogram(-values), settings(observer)) == one
    assert 0 < one <= np.abs(values).max()


def test_the_percentile_is_that_of_numpy_within_a_bin() -> None:
    values = np.abs(normal(outliers=1))
    for share in (90.0, 99.0, 99.99):
        width = 100 / BINS
        expected = np.percentile(values, share)
        assert abs(observed(histogram(values), settings("percentile", share)) - expected) <= width
    assert observed(histogram(values), settings("percentile", 100)) == 100


def test_the_squared_error_is_smallest_at_the_known_threshold_of_a_normal_tensor() -> None:
    """R. Banner et al., "Post training 4-bit quantization of convolutional networks", 2019: 3.92 deviations for 8 bits."""
    assert observed(histogram(normal()), settings("mse")) == pytest.approx(3.92, abs=0.1)


@pytest.mark.parametrize("outliers", [1, 30])
def test_the_squared_error_is_that_of_the_best_threshold_by_brute_force(outliers: int) -> None:
    values = normal(outliers)
    chosen = squared_error(values, observed(histogram(values), settings("mse")))
    best = min(squared_error(values, threshold) for threshold in np.geomspace(2, 100, 300))
    assert chosen <= best * 1.02


def test_one_outlier_of_100_is_clipped_by_every_observer_but_the_maximum() -> None:
    """With 128 bins for 128 codes, which is ONNX Runtime's default, entropy is the maximum."""
    thresholds = {name: observed(histogram(normal(1)), settings(name)) for name in OBSERVERS}
    assert thresholds["max"] == 100
    assert 3 < thresholds["entropy"] < 8
    assert 3 < thresholds["percentile"] < 8
    # (100 - t)^2 / n of the outlier, and t^2 / (12 CODES^2) of rounding, are smallest together at:
    rounding, clipping = 1 / (12 * CODES**2), 1 / 100_001
    assert thresholds["mse"] == pytest.approx(100 * clipping / (clipping + rounding), rel=0.01)
    assert observed(histogram(normal(1), bins=128), settings("entropy")) == 100


def literal_divergence(bins: np.ndarray, length: int) -> float:
    """The loop of the published algorithm, bin by bin."""
    reference = bins[:length].astype(float).copy()
    outliers = bins[length:].sum()
    coarse = np.zeros(length)
    for level in range(CODES + 1):
        members = [k for k in range(length) if k * (CODES + 1) // length == level]
        filled = [k for k in members if reference[k] > 0]
        for k in filled:
            coarse[k] = sum(reference[m] for m in members) / len(filled)
    reference[-1] += outliers
    return float(stats.entropy(reference / reference.sum(), coarse / coarse.sum()))


def test_the_divergence_is_that_of_a_literal_loop() -> None:
    from safeml.quantization.observers import _divergence

    bins = np.random.default_rng(1).poisson(2.0, 400)
    bins[[130, 299]] = 3
    for length in (131, 200, 300, 400):
        assert bins[length - 1] > 0 or length in (200, 400)
        bins[length - 1] = max(bins[length - 1], 1)
        assert _divergence(bins.astype(float), length) == pytest.approx(literal_divergence(bins, length))
