"""Distances of samples against scipy, closed forms and definitions written out by hand, on distinct and on tied values."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeml.monitors.distances import DISTANCES, distance, permutation_p
from safeml.monitors.errors import MonitorRefused
from safeml.monitors.reference import Reference

pytestmark = pytest.mark.slow

stats = pytest.importorskip("scipy.stats")
SCALE_FREE = ("kolmogorov_smirnov", "kuiper", "cramer_von_mises", "anderson_darling")
IN_UNITS = ("wasserstein", "dts")


def of(name: str, x, y) -> float:
    return float(distance(name, np.asarray(x, float), np.asarray(y, float))[0])


def shares(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.array([(x <= a).mean() for a in at]), np.array([(y <= a).mean() for a in at])


def by_hand(name: str, x: np.ndarray, y: np.ndarray) -> float:
    """The definitions, without sorting tricks."""
    both = np.concatenate([x, y])
    at = np.unique(both)
    F, G = shares(x, y, at)
    n, m = len(x), len(y)
    if name == "kolmogorov_smirnov":
        return float(np.abs(F - G).max())
    if name == "kuiper":
        return float(max((F - G).max(), 0) + max((G - F).max(), 0))
    if name == "cramer_von_mises":
        f, g = shares(x, y, both)
        return float(n * m / (n + m) ** 2 * ((f - g) ** 2).sum())
    H = np.array([(both <= a).mean() for a in at])
    gap, width = (F - G)[:-1], np.diff(at)
    if name == "wasserstein":
        return float((np.abs(gap) * width).sum())
    if name == "energy":
        return float(np.sqrt(2 * (gap**2 * width).sum()))
    return float((np.abs(gap) / np.sqrt(H * (1 - H))[:-1] * width).sum())


def unnormalised_anderson(x: np.ndarray, y: np.ndarray) -> float:
    """A^2 with midranks, from the standardised statistic of scipy and the variance of Scholz and Stephens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        standard = float(stats.anderson_ksamp([x, y], variant="midrank").statistic)
    N, k = len(x) + len(y), 2
    H, h = 1 / len(x) + 1 / len(y), float((1 / np.arange(1, N)).sum())
    g = sum(1 / ((N - i) * j) for i in range(1, N - 1) for j in range(i + 1, N))
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * H
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * H - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * H + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    return standard * float(np.sqrt((a * N**3 + b * N**2 + c * N + d) / ((N - 1) * (N - 2) * (N - 3)))) + 1


samples = st.lists(st.one_of(st.integers(-4, 4).map(float), st.floats(-50, 50)), min_size=1, max_size=14)


@settings(max_examples=60, deadline=None)
@given(samples, samples)
def test_every_distance_is_its_definition_with_and_without_ties(x, y) -> None:
    one, two = np.array(x), np.array(y)
    for name in DISTANCES:
        if name != "anderson_darling":
            assert of(name, one, two) == pytest.approx(by_hand(name, one, two), abs=1e-9), name
    assert of("kolmogorov_smirnov", one, two) == pytest.approx(
        stats.ks_2samp(one, two, method="asymp").statistic
    )
    assert of("wasserstein", one, two) == pytest.approx(stats.wasserstein_distance(one, two), abs=1e-9)
    assert of("energy", one, two) == pytest.approx(stats.energy_distance(one, two), abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.integers(1, 12), st.integers(1, 14), st.integers(1, 3))
def test_a_sorted_reference_gives_the_same_distances_with_and_without_ties(data, n, m, width) -> None:
    value = st.one_of(st.integers(-3, 3).map(float), st.floats(-50, 50), st.just(-0.0))
    x, y = (
        np.array(data.draw(st.lists(value, min_size=rows * width, max_size=rows * width))).reshape(
            rows, width
        )
        for rows in (m, n)
    )
    reference = Reference(x)
    for name in DISTANCES:
        own, expected = reference.distance(name, y), distance(name, x, y)
        if name == "energy":  # the root of a rounding error
            own, expected = own**2, expected**2
        np.testing.assert_allclose(own, expected, rtol=1e-12, atol=1e-10, err_msg=name)
        if name in ("kolmogorov_smirnov", "kuiper"):
            np.testing.assert_allclose(own, expected, rtol=0, atol=2e-16 * 4, err_msg=name)


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("name", DISTANCES)
def test_a_large_sorted_reference_gives_the_same_distances(name, rounded) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(1410, 9)), rng.normal(0.3, 1.5, (15, 9))
    if rounded:
        x, y = np.round(x, 1), np.round(y, 1)
    np.testing.assert_allclose(Reference(x).distance(name, y), distance(name, x, y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("values", "sample", "words"),
    [
        (np.zeros((0, 2)), None, "the reference is"),
        (np.array([[1.0], [np.nan]]), None, "the reference is"),
        (np.zeros((3, 2)), np.zeros((2, 3)), "of 2 columns"),
        (np.zeros((3, 2)), np.zeros((0, 2)), "of 2 columns"),
        (np.zeros((3, 1)), np.array([[np.nan], [1.0]]), "not finite"),
        (np.zeros((3, 1)), np.array([[1.0], [-np.inf]]), "not finite"),
    ],
)
def test_a_reference_refuses_what_has_no_distance(values, sample, words) -> None:
    with pytest.raises(MonitorRefused, match=words):
        Reference(values).distance("wasserstein", sample)
    with pytest.raises(MonitorRefused, match="the distance is"):
        Reference(np.zeros(2)).distance("manhattan", np.zeros(2))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "m"), [(3, 4), (15, 40), (50, 50)])
def test_anderson_darling_is_that_of_scipy_with_midranks(n, m, tied) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.normal(0.5, 2, m)
    if tied:
        x, y = np.round(x), np.round(y)
    assert of("anderson_darling", x, y) == pytest.approx(unnormalised_anderson(x, y))


@pytest.mark.parametrize(("n", "m"), [(5, 7), (50, 50), (15, 200)])
def test_cramer_von_mises_is_that_of_scipy_where_no_value_repeats(n, m) -> None:
    rng = np.random.default_rng(m)
    x, y = rng.normal(size=n), rng.normal(0.4, 1, m)
    assert of("cramer_von_mises", x, y) == pytest.approx(stats.cramervonmises_2samp(x, y).statistic)


def test_cramer_von_mises_of_ties_is_not_that_of_scipy() -> None:
    """scipy takes midranks, which its formula does not allow for: two samples of one value are far apart."""
    x, y = np.zeros(5), np.zeros(40)
    assert of("cramer_von_mises", x, y) == 0
    assert stats.cramervonmises_2samp(x, y).statistic > 1


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_samples_have_no_distance_and_the_two_sides_are_alike(name) -> None:
    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=20), 1), np.round(rng.normal(1, 1, 30), 1)
    assert of(name, x, np.repeat(x, 3)) == pytest.approx(0, abs=1e-12)
    assert of(name, x, y) == pytest.approx(of(name, y, x))
    assert of(name, x, y) > 0
    assert of(name, np.full(4, 7.0), np.full(9, 7.0)) == 0


@pytest.mark.parametrize("name", DISTANCES)
def test_the_largest_value_counts(name) -> None:
    """The published SafeML 0.3 never visits the last gap: it gives 0 for both pairs."""
    assert of(name, [0, 1, 2, 3], [0, 1, 2, 1000]) > 0
    assert of(name, [0], [1]) > 0
    assert of("wasserstein", [0, 1, 2, 3], [0, 1, 2, 1000]) == 249.25
    assert of("kolmogorov_smirnov", [0], [1]) == 1


@pytest.mark.parametrize("name", DISTANCES)
def test_a_change_of_unit_changes_only_distances_in_units(name) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=11), rng.normal(1, 1, 17)
    factor = 1 if name in SCALE_FREE else 8 if name in IN_UNITS else np.sqrt(8)
    assert of(name, 8 * x + 3, 8 * y + 3) == pytest.approx(factor * of(name, x, y))


def test_columns_are_independent() -> None:
    rng = np.random.default_rng(2)
    x, y = np.round(rng.normal(size=(9, 5)), 1), np.round(rng.normal(size=(14, 5)), 1)
    for name in DISTANCES:
        assert distance(name, x, y) == pytest.approx([of(name, x[:, d], y[:, d]) for d in range(5)])


def test_the_p_value_is_never_zero_and_has_its_level() -> None:
    rng = np.random.default_rng(3)
    far = permutation_p("wasserstein", rng.normal(size=30), rng.normal(9, 1, 30), 99, 0)
    assert far == 1 / 100
    values = np.array(
        [
            permutation_p("kolmogorov_smirnov", *rng.integers(0, 3, (2, 12)).astype(float), 39, s)
            for s in range(200)
        ]
    )
    assert values.min() > 0
    assert (values <= 0.1).mean() <= 0.1 + 2.6 * np.sqrt(0.09 / 200)
    assert permutation_p("dts", np.ones(5), np.ones(6), 50, 0) == 1


def test_whole_tracks_keep_the_level_that_single_frames_lose() -> None:
    """Frames of one sign are equal up to little noise; each sample has four tracks of ten frames from one distribution."""
    rng = np.random.default_rng(4)
    tracks = np.repeat(np.arange(4), 10), np.repeat(np.arange(4, 8), 10)
    single, whole = [], []
    for seed in range(40):
        x, y = (np.repeat(rng.normal(size=4), 10) + rng.normal(0, 0.05, 40) for _ in range(2))
        single.append(permutation_p("wasserstein", x, y, 59, seed))
        whole.append(permutation_p("wasserstein", x, y, 59, seed, tracks))
    assert np.mean(np.array(single) <= 0.05) > 0.3
    assert np.mean(np.array(whole) <= 0.05) <= 0.15


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([], [1.0], "at least one row"),
        ([1.0, np.nan], [1.0], "not finite"),
        (np.zeros((3, 2)), np.zeros((3, 3)), "same columns"),
    ],
)
def test_bad_samples_are_refused(x, y, words) -> None:
    with pytest.raises(MonitorRefused, match=words):
        distance("kuiper", np.asarray(x), np.asarray(y))
    with pytest.raises(MonitorRefused, match="expected one of"):
        distance("euclid", np.zeros(2), np.zeros(2))


def test_tracks_on_both_sides_are_refused() -> None:
    with pytest.raises(MonitorRefused, match="none on both sides"):
        permutation_p("kuiper", np.zeros(2), np.ones(2), 9, 0, (np.array([1, 1]), np.array([1, 2])))
