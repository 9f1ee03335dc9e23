"""Intervals against scipy, closed forms, and simulated models exactly at a limit."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from safeml.statistics import (
    Clustering,
    bootstrap_metric,
    further_signs,
    holm,
    mean_metric,
    paired_difference_metric,
    paired_noninferiority,
    proportion_metric,
    signs_for_identical_models,
)
from safeml.statistics.clusters import clusters_of, design_effect
from safeml.statistics.exact import clopper_pearson
from safeml.statistics.mean_bounds import upper_bound

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def hits_of(wrong: int, n: int) -> np.ndarray:
    return np.arange(n) >= wrong


@pytest.mark.parametrize(("wrong", "n"), [(0, 50), (1, 50), (7, 120), (120, 120), (3, 12630)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_independent_images_get_scipys_exact_interval(wrong, n, level):
    expected = stats.binomtest(n - wrong, n).proportion_ci(level, method="exact")
    for knowledge in ({"frames_per_sign": 1}, {"tracks": np.arange(n)}):
        metric = proportion_metric(
            "a", "A", hits_of(wrong, n), level=level, clustering=Clustering(**knowledge)
        )
        assert (metric.low, metric.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert metric.design_effect == pytest.approx(1)
        assert metric.signs == n


@pytest.mark.parametrize("knowledge", [{"tracks": np.repeat(np.arange(421), 30)}, {"frames_per_sign": 30}])
def test_without_errors_the_bound_is_the_closed_form_of_the_number_of_signs(knowledge):
    metric = proportion_metric("a", "A", np.ones(421 * 30, bool), clustering=Clustering(**knowledge))
    assert metric.low == pytest.approx(0.025 ** (1 / 421))
    assert (metric.value, metric.high) == (1, 1)
    nothing = proportion_metric("a", "A", np.zeros(421 * 30, bool), clustering=Clustering(**knowledge))
    assert nothing.high == pytest.approx(1 - 0.025 ** (1 / 421))


@pytest.mark.parametrize("wrong_signs", [0, 1, 4, 30, 60])
def test_signs_that_are_wholly_right_or_wrong_count_once_each(wrong_signs):
    hits = np.repeat(hits_of(wrong_signs, 60), 30)
    expected = stats.binomtest(60 - wrong_signs, 60).proportion_ci(0.95, method="exact")
    metric = proportion_metric("a", "A", hits, clustering=Clustering(np.repeat(np.arange(60), 30)))
    assert (metric.low, metric.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert metric.design_effect == pytest.approx(30)


def test_a_mean_of_two_values_is_a_proportion():
    values = 0.4 * hits_of(9, 200)
    expected = stats.binomtest(191, 200).proportion_ci(0.95, method="exact")
    metric = mean_metric(
        "c", "C", values, upper=0.4, clustering=Clustering(frames_per_sign=1), direction="down", unit="cost"
    )
    assert (metric.value, metric.low, metric.high) == pytest.approx(
        (0.382, 0.4 * expected.low, 0.4 * expected.high)
    )


@pytest.mark.parametrize(
    ("model", "rho"), [("beta", 0.0), ("beta", 0.5), ("mixture", 0.5), ("mixture", 0.9), ("beta", 1.0)]
)
@pytest.mark.parametrize(("signs", "rate"), [(50, 0.05), (100, 0.01), (150, 0.1)])
def test_a_model_at_the_limit_rarely_passes(model, rho, signs, rate):
    benchmark = load_benchmark()
    sizes = benchmark.sizes_of("equal", signs)
    counts = benchmark.errors(np.random.default_rng(3), model, rho, rate, sizes, 400).astype(int)
    clusters = clusters_of("a", int(sizes.sum()), Clustering(np.repeat(np.arange(signs), 30)))
    passes = 0
    for row in counts:
        wrong = (np.arange(30) < row[:, None]).ravel().astype(float)
        passes += clopper_pearson(wrong.mean(), len(wrong) / design_effect(wrong, clusters))[1] <= rate
    assert passes / len(counts) <= 0.05


def test_the_plain_estimate_that_the_guard_replaces_passes_far_too_often():
    case = load_benchmark().one_case("equal", 50, 0.01, "mixture", 0.5, 500)
    assert case["pass_plain"] > 0.3
    assert case["pass_ours"] <= 0.05


FRAMES = 30
# The most, in points of accuracy, that the interval may prove beyond a bound without assumptions, by number of signs.
EXCESS = {100: 0.4, 421: 0.2, 2000: 0.05}


def bound_without_assumptions(errors: np.ndarray, draws: int = 100_000) -> float:
    """Return the 97.5 % lower bound of the accuracy of equal sign tracks with `errors` (int [C]) wrong frames each.

    The bound of E. Learned-Miller and P. S. Thomas, "A new confidence interval for the mean of a bounded random
    variable" (2019): with the sorted error rates x_(i) and x_(C+1) = 1, the error is at most the quantile of
    1 - sum_i U_(i) (x_(i+1) - x_(i)) over ordered uniforms U. Only the U_(i) where x rises are drawn, as sums of spacings.
    """
    rates, counts = np.unique(errors / FRAMES, return_counts=True)
    spacings = np.random.default_rng(7).gamma([*counts, 1.0], size=(draws, len(counts) + 1))
    uniforms = np.cumsum(spacings, axis=1)[:, :-1] / spacings.sum(axis=1, keepdims=True)
    error = 1 - uniforms @ np.diff([*rates, 1.0])
    return 1 - float(np.quantile(error, 0.975))


def errors_of_signs(signs: int, rate: float, share: float) -> np.ndarray:
    """Wrong frames int [C]: a `share` of the error rate on wholly wrong signs, the rest scattered."""
    rng = np.random.default_rng([signs, round(1000 * rate), round(100 * share)])
    whole = rng.random(signs) < rate * share
    return np.where(whole, FRAMES, rng.binomial(FRAMES, rate * (1 - share), signs))


def excess(errors: np.ndarray) -> float:
    """Return by how many points the lower end lies above the bound without assumptions."""
    hits = (np.arange(FRAMES) >= errors[:, None]).ravel()
    metric = proportion_metric(
        "a", "A", hits, clustering=Clustering(np.repeat(np.arange(len(errors)), FRAMES))
    )
    return 100 * (metric.low - bound_without_assumptions(errors))


@pytest.mark.parametrize(("wrong", "signs"), [(0, 100), (4, 100), (9, 421)])
def test_the_bound_without_assumptions_is_exact_for_whole_signs(wrong, signs):
    expected = stats.binomtest(signs - wrong, signs).proportion_ci(0.95, method="exact").low
    errors = FRAMES * (np.arange(signs) < wrong)
    assert bound_without_assumptions(errors) == pytest.approx(expected, abs=0.0005)


@pytest.mark.parametrize("signs", list(EXCESS))
@pytest.mark.parametrize("rate", [0.005, 0.03, 0.1])
def test_the_lower_end_proves_no_more_than_a_bound_without_assumptions(signs, rate):
    for share in (0.0, 0.3, 0.55, 0.8, 1.0):
        assert excess(errors_of_signs(signs, rate, share)) <= EXCESS[signs]


@pytest.mark.parametrize("signs", list(EXCESS))
def test_a_single_pseudo_sign_would_prove_more(signs, monkeypatch):
    monkeypatch.setattr("safeml.statistics.clusters.PSEUDO_SIGNS", 1)
    assert max(excess(errors_of_signs(signs, rate, 0.0)) for rate in (0.005, 0.03)) > EXCESS[signs]


def test_the_benchmark_simulates_the_design_effect_that_is_used():
    benchmark = load_benchmark()
    sizes = benchmark.sizes_of("5 to 55", 60)
    counts = benchmark.errors(np.random.default_rng(5), "beta", 0.3, 0.06, sizes, 20)
    tracks = np.repeat(np.arange(60), sizes.astype(int))
    clusters = clusters_of("a", len(tracks), Clustering(tracks))
    first = np.concatenate([np.arange(size) for size in sizes])
    for row, size in zip(counts, benchmark.effective_size(counts, sizes, True), strict=True):
        wrong = (first < row[tracks]).astype(float)
        assert len(tracks) / design_effect(wrong, clusters) == pytest.approx(size)


def test_the_bootstrap_of_a_mean_is_the_t_interval_of_the_signs():
    values = np.random.default_rng(0).normal(size=300)
    tracks = np.repeat(np.arange(300), 4)
    metric = bootstrap_metric(
        "m", "M", lambda rows: np.repeat(values, 4)[rows].mean(), 1200, clustering=Clustering(tracks),
        direction="up", unit="ratio", seed=1, resamples=4000,
    )  # fmt: skip
    t = stats.t.interval(0.95, 299, values.mean(), stats.sem(values))
    assert metric.value == pytest.approx(values.mean())
    assert (metric.low, metric.high) == pytest.approx(t, abs=0.012)


def test_declared_frames_give_the_width_of_as_many_independent_signs():
    values = np.random.default_rng(0).normal(size=1200)
    metric = bootstrap_metric(
        "m", "M", lambda rows: values[rows].mean(), 1200, clustering=Clustering(frames_per_sign=12),
        direction="up", unit="ratio", seed=1, resamples=4000,
    )  # fmt: skip
    half = stats.t.ppf(0.975, 99) * values.std(ddof=1) / np.sqrt(99)
    assert metric.high - metric.low == pytest.approx(2 * half, rel=0.05)
    assert metric.low < values.mean() < metric.high


def test_a_paired_drop_covers_the_truth_at_its_level():
    rng = np.random.default_rng(2)
    lost_rate, won_rate, misses = 0.04, 0.01, 0
    for _ in range(400):
        draw = np.repeat(rng.random(200), 5)  # 200 signs, of which each is lost or won as a whole
        lost, won = draw < lost_rate, draw > 1 - won_rate
        metric = paired_difference_metric(
            "d", "D", ~won, ~lost, clustering=Clustering(np.repeat(np.arange(200), 5))
        )
        misses += not metric.low <= lost_rate - won_rate <= metric.high
    assert misses / 400 <= 0.05


def test_further_signs_are_the_fewest_that_settle():
    metric = proportion_metric("a", "A", hits_of(4, 100), clustering=Clustering(frames_per_sign=1))
    further = further_signs(metric, 0.95, ">=", 0.95)
    assert clopper_pearson(0.96, 100 + further)[0] >= 0.95 > clopper_pearson(0.96, 99 + further)[0]


# whole sign tracks lost and won, single frames of other tracks lost and won, sign tracks, limit
PAIRED = {
    "no difference": (0, 0, 0, 0, 421, 0.005),
    "few tracks": (0, 0, 0, 0, 100, 0.01),
    "one track lost": (1, 0, 0, 0, 421, 0.005),
    "lost and won": (2, 2, 0, 0, 421, 0.005),
    "single frames": (0, 0, 20, 20, 421, 0.005),
    "single frames lost": (0, 0, 20, 0, 421, 0.005),
    "both": (1, 0, 30, 30, 421, 0.01),
}


@pytest.mark.parametrize("case", PAIRED.values(), ids=PAIRED)
def test_further_signs_of_a_paired_loss_are_about_the_fewest_whose_bound_is_below_the_limit(case):
    """The bound itself, of the same losses on more sign tracks, is the oracle; the square root alone asked for 6 times as many."""
    lost, won, single_lost, single_won, signs, limit = case
    before, after = np.ones((2, signs, 15), bool)
    after[:lost] = False
    before[lost : lost + won] = False
    singles = lost + won + np.arange(single_lost + single_won)
    after[singles[:single_lost], 0] = False
    before[singles[single_lost:], 0] = False
    tracks = np.repeat(np.arange(signs), 15)
    metric = paired_noninferiority(
        "loss", "Loss", before.ravel(), after.ravel(), clustering=Clustering(tracks)
    )
    net, counts = np.unique((before.sum(1) - after.sum(1)) / 15, return_counts=True)
    fewest, most = 0, 10_000
    while most - fewest > 1:
        middle = (fewest + most) // 2
        proven = upper_bound(net, counts * (1 + middle / signs), 1.0, 0.05) <= limit
        fewest, most = (fewest, middle) if proven else (middle, most)
    assert further_signs(metric, limit, "<=") == pytest.approx(most, rel=0.12)
    if not (lost or won or single_lost or single_won):
        assert most + signs == signs_for_identical_models(limit)


def test_holm_rejects_what_its_paper_says():
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.01, float("nan")], 0.05) == [True, False]
    assert holm([0.03, float("nan")], 0.05) == [False, False]
    assert holm([], 0.05) == []


def load_benchmark(name: str = "gate_error_rates"):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bound_of_a_mean_is_the_definition_by_ordered_uniforms():
    """The product weights observations by a Dirichlet draw; here uniforms are sorted, as the authors define the bound."""
    rng = np.random.default_rng(9)
    losses = np.sort(np.where(rng.random(60) < 0.7, 0.0, rng.choice([-0.3, 0.1, 0.4, 1.0], 60)))
    uniforms = np.sort(rng.random((40_000, 60)), axis=1)
    expected = np.quantile(1 - uniforms @ np.diff([*losses, 1.0]), 0.95)
    values, counts = np.unique(losses, return_counts=True)
    assert upper_bound(values, counts.astype(float), 1.0, 0.05) == pytest.approx(expected, abs=0.002)


def test_a_model_that_loses_the_margin_passes_rarely_where_the_sandwich_passes_often():
    """421 signs, 30 % of the loss on wholly lost signs: the cluster-robust t test of Obuchowski and Durkalski, nominal 2.5 %."""
    benchmark, margin = load_benchmark("paired_error_rates"), 0.005
    net = benchmark.net_losses(np.random.default_rng(1), "whole", 0.3, margin, 0.0, 421, 100)
    losses = net / benchmark.FRAMES
    deviation = losses.std(axis=1, ddof=1) / np.sqrt(421)
    sandwich = (losses.mean(axis=1) - margin) / deviation <= stats.t.ppf(0.025, 420)
    rates = benchmark.pass_rates(net, margin)
    assert sandwich.mean() > 0.25
    assert rates["pass_no_assumption"] <= 0.05
    assert rates["pass_pseudo_sign"] <= 0.05


def test_a_mean_cost_at_its_limit_rarely_passes_and_with_one_pseudo_sign_too_often():
    case = load_benchmark().hazard_case(421, 0.02, 0.3, 0.1, 2000)
    assert case["pass_ours"] <= 0.05 < case["pass_one_pseudo_sign"]


def test_long_tracks_that_are_wrong_more_often_rarely_pass():
    case = load_benchmark().long_case(420, 0.05, 1.1, 1000)
    assert case["pass_ours"] <= 0.05 < case["pass_one_pseudo_sign"]
