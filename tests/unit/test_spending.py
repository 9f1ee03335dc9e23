"""Spending where a verdict can change: the draw, the bound of what is hidden, and when the full bill is paid after all.

Legend: N images.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml.attacks.rows import FIRST_TARGETS, ROWS
from safeml.audits.adversarial.accuracy import SPARED, robust_metric
from safeml.audits.adversarial.budget import budget_table, spending_table, spending_words
from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.evidence import _queries
from safeml.audits.adversarial.figures import attack_table
from safeml.audits.adversarial.measure import Measured
from safeml.audits.adversarial.metrics import metrics_of
from safeml.audits.adversarial.second_look import attack_again
from safeml.audits.adversarial.spending import (
    BROKE_BY_QUERIES,
    BROKE_DRAWN,
    DRAWN_SHARE,
    LEAST_DRAWN,
    MASKED,
    NEAR,
    SAMPLING_LEVEL,
    TAIL,
    Saving,
    credit,
    drawn_at_random,
    most_hidden,
    sample_size,
)
from safeml.audits.measured import CleanSample
from safeml.data.dataset import ImageDataset
from safeml.stages.adversarial import AdversarialSettings
from safeml.statistics.exact import clopper_pearson
from safeml.threats import Threat

pytestmark = pytest.mark.slow

N = 600
FOUR, EIGHT = Threat(norm="linf", epsilon=4 / 255), Threat(norm="linf", epsilon=8 / 255)
NEVER = 99


class TestMostHidden:
    @pytest.mark.parametrize(
        ("population", "drawn"), [(101, 100), (150, 100), (400, 100), (5000, 500), (100_000, 10_000)]
    )
    @pytest.mark.parametrize("tail", [TAIL, TAIL / 3, 0.2])
    def test_is_the_largest_number_that_a_draw_can_miss(self, population, drawn, tail):
        from scipy.stats import hypergeom

        hidden = most_hidden(population, drawn, tail)
        assert hypergeom.pmf(0, population, hidden, drawn) > tail
        rest = population - drawn
        assert hidden == rest or hypergeom.pmf(0, population, hidden + 1, drawn) <= tail * (1 + 1e-9)

    def test_is_below_the_binomial_bound_and_nears_it_in_large_populations(self):
        binomial = clopper_pearson(0.0, 100, 1 - 2 * TAIL)[1]
        shares = [most_hidden(population, 100, TAIL) / population for population in (200, 1000, 100_000)]
        assert shares == sorted(shares)
        assert shares[-1] <= binomial < shares[-1] + 0.001

    def test_of_a_population_that_was_drawn_whole_is_nothing(self):
        assert most_hidden(100, 100, TAIL) == 0


class TestDraw:
    def test_is_a_hundred_or_a_tenth(self):
        assert [sample_size(count) for count in (5, 100, 1000, 1001, 4000)] == [100, 100, 100, 101, 400]

    def test_depends_on_seed_and_id_and_not_on_the_order(self):
        ids = np.arange(N) + 5000
        rows = np.arange(0, N, 2)
        drawn = drawn_at_random(rows, ids, 7, 100)
        assert len(np.unique(drawn)) == 100
        assert set(drawn) <= set(rows)
        order = np.random.default_rng(0).permutation(N)
        places = np.flatnonzero(np.isin(order, rows))
        other = drawn_at_random(places, ids[order], 7, 100)
        assert set(ids[order][other]) == set(ids[drawn])
        assert set(drawn_at_random(rows, ids, 8, 100)) != set(drawn)

    def test_takes_every_image_equally_often(self):
        rows, ids = np.arange(40), np.arange(40)
        times = np.zeros(40)
        for seed in range(1000):
            times[drawn_at_random(rows, ids, seed, 10)] += 1
        # Mean 250, standard deviation 13.7; 4.5 of them for the largest of 40.
        assert np.abs(times - 250).max() < 62
        assert len(drawn_at_random(rows, ids, 0, 99)) == 40


class TestCredit:
    def test_takes_what_can_be_hidden_from_the_spared_survivors(self):
        survivors = np.arange(N) < 400
        spared = (np.arange(N) >= 100) & survivors
        saving = Saving(400, 0, 100, spared)
        values = credit(survivors, [saving])
        assert values.sum() == pytest.approx(400 - most_hidden(400, 100, TAIL))
        assert (values[:100] == 1).all()
        assert (values[400:] == 0).all()

    def test_of_two_savings_splits_the_error(self):
        survivors = np.ones(N, bool)
        both = [Saving(N, 0, 100, np.arange(N) >= 100), Saving(N, 0, 100, np.arange(N) < 500)]
        assert credit(survivors, both).sum() == pytest.approx(N - 2 * most_hidden(600, 100, TAIL / 2))

    def test_never_falls_below_zero(self):
        spared = np.arange(N) >= 100
        survivors = np.arange(N) < 102  # two spared images are left, and more than two can be hidden
        values = credit(survivors, [Saving(N, 0, 100, spared)])
        assert values.sum() == 100

    def test_is_whole_after_the_full_bill(self):
        saving = Saving(N, 0, 100, np.arange(N) >= 100).paid(MASKED)
        assert credit(np.ones(N, bool), [saving]).sum() == N


class TestFalsePasses:
    """A gate at the true robust accuracy under the full bill may pass in 2.5 % of the audits, with the saving as without it."""

    REPEATS = 40_000

    def rates(self, n: int, left: float, hidden: float) -> tuple[float, float, float]:
        """False passes with the full bill, with the saving, and with a saving that nothing is deducted for.

        left: share of the images that survive the short bill. hidden: share of these that the full bill breaks.
        """
        rng = np.random.default_rng([n, int(1000 * left), int(1e4 * hidden)])
        true = left * (1 - hidden)
        low = {
            level: np.array([clopper_pearson(count / n, n, level)[0] for count in range(n + 1)])
            for level in (0.95, SAMPLING_LEVEL)
        }
        bound = np.array([most_hidden(count, min(sample_size(count), count), TAIL) for count in range(n + 1)])
        survivors = rng.binomial(n, left, self.REPEATS)
        breakable = rng.binomial(survivors, hidden)
        drawn = np.minimum(np.maximum(LEAST_DRAWN, np.ceil(DRAWN_SHARE * survivors).astype(int)), survivors)
        broke = rng.hypergeometric(breakable, survivors - breakable, drawn) > 0
        robust = survivors - breakable
        full = low[0.95][robust] > true
        paid = low[SAMPLING_LEVEL][robust]
        saved = np.where(broke, paid, low[SAMPLING_LEVEL][np.maximum(survivors - bound[survivors], 0)]) > true
        naive = np.where(broke, low[0.95][robust], low[0.95][survivors]) > true
        return float(full.mean()), float(saved.mean()), float(naive.mean())

    @pytest.mark.parametrize("hidden", [0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1])
    @pytest.mark.parametrize(("n", "left"), [(300, 0.7), (1000, 0.65), (1000, 0.95), (5000, 0.65)])
    def test_are_at_most_the_nominal_rate(self, n, left, hidden):
        _, saved, _ = self.rates(n, left, hidden)
        # Three standard errors of a rate of 2.5 %.
        assert saved <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / self.REPEATS)

    def test_with_nothing_hidden_are_fewer_than_those_of_the_full_bill(self):
        full, saved, _ = self.rates(1000, 0.65, 0.0)
        assert 0.01 < full <= 0.026
        assert saved < full

    def test_would_be_many_more_without_the_bound(self):
        _, _, naive = self.rates(1000, 0.95, 0.015)
        assert naive > 0.05


@dataclass(eq=False)
class Attacks:
    """Items whose attacks break what a table says: by attack, the attempt at which each image breaks (int [N]).

    distances: float [N], of the adversarial examples of FMN.
    unconverged: float [N], of APGD-T.
    asked: (attack, epsilon, rows, first attempt, attempts) of every call.
    """

    breaks: dict[str, np.ndarray]
    distances: np.ndarray
    unconverged: np.ndarray
    order: np.ndarray
    seed: int = 7
    asked: list[tuple[str, float, np.ndarray, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.order)
        labels = np.zeros(count, np.int64)
        images = np.zeros((count, 2, 2, 1), np.uint8)
        ids = self.order.astype(np.int64)
        self.sample = ImageDataset("n", images, labels, tuple("abcdefghijk"), ids=ids, frames_per_sign=1)
        logits = np.tile(np.eye(11, dtype=np.float32)[0], (count, 1))
        self.clean = CleanSample(images.astype(np.float32), labels, logits, np.ones(count, bool))
        self.inputs = SimpleNamespace(seed=self.seed, surrogate=None, classifier=None)

    def attacked(
        self, name: str, threat: Threat, rows: np.ndarray, effort: tuple[int, int], view: str = "",
        pictures: bool = False, first: int = 0, nearest_first: bool = False,
    ) -> Measured:  # fmt: skip
        self.asked.append((name, threat.epsilon, self.order[rows], first, effort[1]))
        who = self.order[rows]
        at = self.breaks.get(name, np.full(N, NEVER))[who]
        broken = (at >= first) & (at < effort[1])
        size = np.where(broken, 3.9 / 255, np.inf)
        if name == "fmn":
            broken, size = np.isfinite(self.distances[who]), self.distances[who]
        nothing = np.zeros(len(rows), np.int64)
        return Measured(
            robust=~broken, size=size.astype(np.float32), claimed=broken, wrong=broken, step=nothing,
            attempt=nothing, evaluations=nothing + effort[0] * (effort[1] - first),
            unconverged=self.unconverged[who].astype(np.float32) if name == "apgd_t" else nothing.astype(np.float32),
            zero_gradients=np.zeros(len(rows), bool), faults=np.zeros(len(rows), np.uint8),
            attacked=np.zeros((0, 2, 2, 1), np.float32), logits=np.zeros((0, 11), np.float32),
        )  # fmt: skip


def campaign(
    breaks: dict[str, np.ndarray] | None = None,
    near: int = 0,
    moving: int = 0,
    order: np.ndarray | None = None,
    spend: str = "where_it_counts",
    threats: tuple[Threat, ...] = (FOUR,),
    blind: bool = False,
    far: float = 1.01 * NEAR * 4 / 255,
) -> Campaign:
    """A campaign in which FMN ends near the first `near` images and far from the others, and the loss of the last `moving` moves."""
    distances = np.where(np.arange(N) < near, 0.99 * NEAR * 4 / 255, far)
    unconverged = np.where(np.arange(N) >= N - moving, 0.5, 0.0)
    items: Any = Attacks(breaks or {}, distances, unconverged, np.arange(N) if order is None else order)
    settings = AdversarialSettings(threats=threats, targets=9, queries=1000, spend=spend)
    ran = Campaign(items, settings, threats[0], lambda *step: None, blind)
    ran.run(tuple(name for name in settings.attacks if not (blind and ROWS[name].gradient)))
    return ran


def asked(ran: Campaign, name: str, epsilon: float = FOUR.epsilon) -> set[int]:
    """The images that an attack got, beyond the attempts that every survivor gets."""
    items: Any = ran.items
    short = FIRST_TARGETS if name == "apgd_t" else 0
    return {
        int(image)
        for attack, at, rows, first, last in items.asked
        if attack == name and at == epsilon and last > short
        for image in rows
    }


def only(count: int, at: int, start: int = 0) -> np.ndarray:
    """The attempt at which each image breaks: `at` for `count` images from `start` on, never for the others."""
    return np.where((np.arange(N) >= start) & (np.arange(N) < start + count), at, NEVER)


class TestWhereItCounts:
    def test_every_survivor_gets_the_first_targets_and_the_draw_the_full_bill(self):
        ran = campaign()
        saving = ran.savings[FOUR]
        assert (saving.survivors, saving.near, saving.drawn, saving.count) == (N, 0, 100, N - 100)
        assert saving.why_full == ""
        spared = set(np.flatnonzero(saving.spared))
        for name in ("apgd_ce", "apgd_t", "square"):
            assert asked(ran, name) == set(range(N)) - spared
        items: Any = ran.items
        parts = [(first, last, len(rows)) for name, _, rows, first, last in items.asked if name == "apgd_t"]
        assert parts == [(0, FIRST_TARGETS, N), (FIRST_TARGETS, 9, 100)]
        assert [len(rows) for name, _, rows, _, _ in items.asked if name == "apgd_pm"] == [N]

    def test_images_whose_verdict_can_change_get_the_full_bill(self):
        ran = campaign(near=50, moving=30)
        assert ran.savings[FOUR].near == 80
        full = {*range(50), *range(N - 30, N)}
        assert full <= asked(ran, "square")
        assert len(asked(ran, "square")) == 180

    @pytest.mark.parametrize("left", [0, 1, 29, 30, 99, 100])
    def test_with_a_hundred_survivors_or_fewer_nothing_is_spared(self, left):
        ran = campaign({"apgd_pm": only(N - left, 0, start=left)})
        assert ran.savings[FOUR].count == 0
        assert ran.savings[FOUR].survivors == left
        for name in ("apgd_ce", "apgd_t", "square"):
            assert asked(ran, name) == set(range(left))

    def test_few_survivors_of_the_first_targets_get_all_that_was_skipped(self):
        ran = campaign({"apgd_t": only(N - 50, 0, start=50)})
        assert (ran.savings[FOUR].survivors, ran.savings[FOUR].count) == (50, 0)
        for name in ("apgd_ce", "apgd_t", "square"):
            assert asked(ran, name) == set(range(50))

    def test_one_drawn_image_that_breaks_costs_the_full_bill_for_all(self):
        drawn = int(np.flatnonzero(~campaign().savings[FOUR].spared)[0])
        for name, at in (("apgd_ce", 0), ("apgd_t", 5), ("square", 0)):
            ran = campaign({name: only(1, at, drawn)})
            assert ran.savings[FOUR].why_full == BROKE_DRAWN
            assert ran.savings[FOUR].count == 0
            assert asked(ran, "square") | {drawn} == set(range(N))
            assert ran.survivors(FOUR).sum() == N - 1

    def test_a_success_by_queries_anywhere_costs_the_full_bill_for_all(self):
        ran = campaign({"square": only(1, 0)}, near=1)
        assert ran.savings[FOUR].why_full == BROKE_BY_QUERIES
        assert asked(ran, "square") == set(range(N))
        # Further targets may break images that are near: that is what they get them for.
        assert campaign({"apgd_t": only(1, 5)}, near=1).savings[FOUR].count > 0

    def test_what_the_saving_hides_is_within_its_bound_or_found_by_the_draw(self):
        for seed in range(20):
            hidden = np.random.default_rng(seed).permutation(N)[: 5 * seed]
            ran = campaign({"square": np.where(np.isin(np.arange(N), hidden), 0, NEVER)})
            saving = ran.savings[FOUR]
            if saving.count:
                assert len(hidden) <= saving.most_hidden(TAIL)
            else:
                assert ran.survivors(FOUR).sum() == N - len(hidden)

    def test_the_order_of_the_images_changes_nothing(self):
        order = np.random.default_rng(4).permutation(N)
        whole, other = campaign(near=40), campaign(near=40, order=order)
        np.testing.assert_array_equal(other.savings[FOUR].spared, whole.savings[FOUR].spared[order])
        assert asked(whole, "square") == asked(other, "square")

    def test_full_spends_everything_and_so_does_an_audit_by_queries_alone(self):
        for ran in (campaign(spend="full"), campaign(blind=True)):
            assert not ran.savings
            assert asked(ran, "square") == set(range(N))

    def test_a_failed_masking_check_costs_the_full_bill_for_all(self):
        ran = campaign()
        failed = MaskingCheck("masking_noise", "", "", "", True, 1.0, 0.0, "", "")
        attack_again(ran, [replace(failed, failed=False)])
        assert ran.savings[FOUR].count == N - 100
        attack_again(ran, [failed])
        assert ran.savings[FOUR].why_full == MASKED
        assert asked(ran, "square") == set(range(N))

    def test_the_check_of_queries_reads_the_images_that_square_attacked(self):
        rival = _queries(campaign(near=20))
        assert (rival.survivors, rival.attacked, rival.broken, rival.total) == (N, 120, 0, N)
        paid = _queries(campaign({"square": only(5, 0)}, near=20))
        assert (paid.survivors, paid.attacked, paid.broken) == (N, N, 5)


class TestIntervals:
    def test_the_low_end_counts_what_can_be_hidden_and_the_rest_is_unchanged(self):
        saved, full = campaign(), campaign(spend="full")
        names = ("robust_accuracy.linf_4", "robust_accuracy.linf_4.square", "attack_success_rate.linf_4")
        own, other = ({m.name: m for m in metrics_of(ran, [])} for ran in (saved, full))
        hidden = most_hidden(N, 100, TAIL)
        assert hidden > 0
        low = clopper_pearson(1 - hidden / N, N, SAMPLING_LEVEL)[0]
        for name in names[:2]:
            assert own[name].value == other[name].value == 1
            assert own[name].low == pytest.approx(low)
            assert own[name].low < other[name].low - hidden / N
            assert own[name].high == other[name].high
            assert own[name].method == SPARED
        assert own[names[2]].high == pytest.approx(1 - low)
        assert own["robust_accuracy.linf_4.fgsm"] == other["robust_accuracy.linf_4.fgsm"]

    def test_a_smaller_epsilon_counts_at_a_larger_one_and_not_the_other_way_round(self):
        ran = campaign(threats=(FOUR, EIGHT), far=20 / 255)
        metrics = {metric.name: metric for metric in metrics_of(ran, [])}
        four, eight = (metrics[f"robust_accuracy.{threat.label}"] for threat in (FOUR, EIGHT))
        assert ran.savings_at(FOUR) == [ran.savings[FOUR]]
        assert ran.savings_at(EIGHT) == [ran.savings[FOUR], ran.savings[EIGHT]]
        both = 2 * most_hidden(N, 100, TAIL / 2)
        assert eight.low == pytest.approx(clopper_pearson(1 - both / N, N, SAMPLING_LEVEL)[0])
        assert eight.low < four.low

    def test_without_clustering_there_is_no_interval_to_widen(self):
        ran = campaign()
        ran.items.sample = replace(ran.items.sample, frames_per_sign=None)  # type: ignore[misc]
        metric = robust_metric(ran, "robust_accuracy.linf_4", "", ran.survivors(FOUR), FOUR)
        assert (metric.low, metric.high) == (None, None)

    def test_the_report_says_what_was_spared_and_what_that_can_hide(self):
        ran = campaign(near=20)
        [row] = spending_table(ran).rows
        hidden = most_hidden(N - 20, 100, TAIL)
        spared = N - 120
        gradients = spared * ((9 - FIRST_TARGETS) * 101 + 101)
        assert row[1:] == [N, 20, 100, spared, gradients, spared * 1001, hidden, ""]
        [sentence] = spending_words(ran)
        assert f"{spared} images of {N}" in sentence
        assert f"at most {hidden} spared images" in sentence
        assert not spending_words(campaign(spend="full"))
        titles = [row[0] for row in attack_table(ran).rows]
        assert titles == ["FGSM", "PGD", "FMN", "APGD-PM", "APGD-CE", "APGD-T", "Square", "worst case"]
        squares = [row for row in budget_table(ran).rows if row[0] == "Square"]
        assert squares[0][3] == 120
