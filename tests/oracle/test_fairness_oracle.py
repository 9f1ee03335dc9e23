"""Group metrics against fairlearn, and two properties of fairlearn's bootstrap for which safeml does not use it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from safeml.audits.fairness.conditions import Column
from safeml.audits.fairness.metrics import accuracies, class_rates, parity_metrics
from safeml.audits.fairness.tables import by_group
from safeml.results import Metric
from safeml.statistics import Clustering
from safeml.statistics.between import Groups, largest_difference, smallest_ratio

pytestmark = pytest.mark.slow

pytest.importorskip("fairlearn")
K, SITES = 4, ("east", "north", "west")


def sample(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray, Column]:
    """Labels, predictions that are weaker in one site, and the sites of 100 and more images each."""
    rng = np.random.default_rng(seed)
    labels, codes = rng.integers(0, K, count), rng.integers(0, 3, count)
    wrong = rng.random(count) < np.array([0.1, 0.2, 0.35])[codes]
    predicted = np.where(wrong, rng.integers(0, K, count), labels)
    return labels, predicted, Column("site", "user", Groups(codes, SITES, Clustering(None, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_gap_and_ratio_are_those_of_metric_frame(seed: int) -> None:
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import accuracy_score

    labels, predicted, column = sample(seed)
    sites = np.array(SITES)[column.groups.codes]
    frame = MetricFrame(metrics=accuracy_score, y_true=labels, y_pred=predicted, sensitive_features=sites)
    [by] = accuracies([column], labels == predicted)
    assert by.rates.values == pytest.approx(frame.by_group.loc[list(SITES)].to_numpy())
    gap, ratio = largest_difference("d", "D", [by.rates]), smallest_ratio("r", "R", [by.rates])
    assert gap.value == pytest.approx(frame.difference())
    assert ratio.value == pytest.approx(frame.ratio())
    assert by_group([column], labels, predicted)["accuracy"].to_numpy() == pytest.approx(by.rates.values)


@pytest.mark.parametrize("seed", range(5))
def test_parity_and_odds_are_fairlearns_for_each_class_against_all_others(seed: int) -> None:
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    labels, predicted, column = sample(seed)
    sites = np.array(SITES)[column.groups.codes]
    parity, odds = [], []
    for of in class_rates(column, labels, predicted, K):
        pair = {"y_true": (labels == of.label).astype(int), "y_pred": (predicted == of.label).astype(int)}
        parity.append(demographic_parity_difference(**pair, sensitive_features=sites))
        odds.append(equalized_odds_difference(**pair, sensitive_features=sites))
        assert np.ptp(of.selected.values) == pytest.approx(parity[-1])
        both = max(np.ptp(of.true_positive.values), np.ptp(of.false_positive.values))
        assert both == pytest.approx(odds[-1])
    metrics = {metric.name: metric for metric in parity_metrics(column, labels, predicted, K)}
    assert metrics["demographic_parity_difference"].value == pytest.approx(max(parity))
    assert metrics["equalized_odds_difference"].value == pytest.approx(max(odds))
    assert all(metric.low <= metric.value <= metric.high for metric in metrics.values())


def test_two_columns_together_are_those_of_metric_frame_and_an_empty_cell_has_no_value() -> None:
    labels, predicted, site = sample(1)
    light = Column(
        "light", "user", Groups((site.groups.codes == 2).astype(int), ("day", "night"), Clustering(None, 1))
    )
    accuracy = by_group([site, light], labels, predicted)["accuracy"].unstack(0)
    for place, name in enumerate(SITES):
        rows = site.groups.codes == place
        where, other = ("night", "day") if place == 2 else ("day", "night")
        assert accuracy.loc[where, name] == pytest.approx((labels == predicted)[rows].mean())
        assert np.isnan(accuracy.loc[other, name])


def test_a_group_of_one_image_has_a_wide_interval_where_fairlearns_bootstrap_has_none() -> None:
    from fairlearn.metrics import MetricFrame

    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [60, 60, 1])
    hits = np.append(rng.random(120) < 0.75, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = MetricFrame(
            metrics=lambda y_true, y_pred: float(np.mean(y_true == y_pred)),
            y_true=np.ones(121, int),
            y_pred=hits.astype(int),
            sensitive_features=np.array(["a", "b", "one"])[codes],
            n_boot=50,
            ci_quantiles=[0.025, 0.975],
            random_state=0,
        )
    low, high = (float(one.loc["one"]) for one in frame.by_group_ci)
    assert low == high == 0  # zero width
    ours = Groups(codes, ("a", "b", "one"), Clustering(None, 1)).rates(hits).ends()
    assert (ours[0][2], ours[1][2]) == (0, pytest.approx(0.975))


def test_a_group_that_vanishes_from_resamples_stays_in_our_interval() -> None:
    """About 37 % of the resamples lack the group of one image. fairlearn skips them: the count of the group never is 0."""
    from fairlearn.metrics import MetricFrame, count

    codes = np.repeat([0, 1], [80, 1])
    hits = np.append(np.ones(80, bool), False)
    frame = MetricFrame(
        metrics=count,
        y_true=np.ones(81, int),
        y_pred=hits.astype(int),
        sensitive_features=np.array(["a", "one"])[codes],
        n_boot=50,
        ci_quantiles=[0.025, 0.975],
        random_state=0,
    )
    assert float(frame.by_group_ci[0].loc["one"]) >= 1
    gap = largest_difference("d", "D", [Groups(codes, ("a", "one"), Clustering(None, 1)).rates(hits)])
    assert gap.value == 1
    assert gap.low < 0.2  # one image proves little


def test_a_class_that_a_group_lacks_is_left_out_where_fairlearn_counts_a_rate_of_0() -> None:
    """A perfect model has the worst equalised odds difference in fairlearn, 1, without a warning."""
    from fairlearn.metrics import equalized_odds_difference

    labels = np.array([1, 1, 0, 2, 0, 2] * 20)
    codes = np.array([0, 0, 0, 0, 1, 1] * 20)  # the second site has no image of class 1
    sites = np.array(["east", "west"])[codes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair = {"y_true": (labels == 1).astype(int), "y_pred": (labels == 1).astype(int)}
        assert equalized_odds_difference(**pair, sensitive_features=sites) == 1
    column = Column("site", "user", Groups(codes, ("east", "west"), Clustering(None, 1)))
    metrics = {metric.name: metric for metric in parity_metrics(column, labels, labels, 3)}
    odds = metrics["equalized_odds_difference"]
    assert odds.value == 0
    assert "1 of 3 classes without images in two groups are left out" in odds.method


def test_fairlearn_refuses_missing_values() -> None:
    from fairlearn.metrics import MetricFrame, count

    with pytest.raises(ValueError, match="missing values"):
        MetricFrame(
            metrics=count,
            y_true=np.ones(2),
            y_pred=np.ones(2),
            sensitive_features=np.array(["a", None], dtype=object),
        )


def test_the_metric_of_a_column_that_sorts_by_class_is_undefined() -> None:
    labels, predicted, _ = sample(2)
    column = Column("kind", "user", Groups((labels >= 2).astype(int), ("low", "high"), Clustering(None, 1)))
    found: list[Metric] = parity_metrics(column, labels, predicted, K)
    assert [metric.value for metric in found] == [None, None]
    assert all("in one group" in metric.reason for metric in found)
