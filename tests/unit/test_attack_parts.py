"""The parts of the attacks that need no model: schedules, targets, what the settings let an attack spend; and the losses."""

from __future__ import annotations

import numpy as np
import pytest

from safeml.attacks.apgd import CLEAN_MARGIN, checkpoints, equal_margins
from safeml.attacks.registry import ATTACKS
from safeml.attacks.rows import ATLAS, ATTACK_NAMES, NIST, ROWS, TRANSFER
from safeml.attacks.square import sides
from safeml.attacks.targets import runners_up
from safeml.stages.adversarial import AdversarialSettings


class TestCheckpoints:
    def test_of_a_hundred_steps_are_those_of_the_paper(self):
        """p1 = 0.22, then p + max(last gap - 0.03, 0.06) (Croce and Hein, 2020, section 3.1)."""
        assert np.flatnonzero(checkpoints(100)).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]

    @pytest.mark.parametrize("steps", [1, 2, 5, 17, 100, 1000])
    def test_hold_the_steps_since_the_one_before(self, steps):
        table = checkpoints(steps)
        at = np.flatnonzero(table)
        assert table.shape == (steps + 1,)
        assert len(at) >= 1
        assert table[at].tolist() == np.diff(at, prepend=0).tolist()


class TestSides:
    def test_follow_the_halvings_of_the_paper(self):
        """Share 0.8, halved after 10, 50, 200, 500, 1000, ... of ten thousand queries (Andriushchenko et al., 2020)."""
        side = sides(10_000, (32, 32, 3))
        expected = {
            0: 0.8,
            10: 0.8,
            11: 0.4,
            50: 0.4,
            51: 0.2,
            201: 0.1,
            501: 0.05,
            1001: 0.025,
            8001: 0.8 / 512,
        }
        assert {step: side[step] for step in expected} == {
            step: max(round(np.sqrt(share * 32 * 32)), 1) for step, share in expected.items()
        }

    @pytest.mark.parametrize("shape", [(1, 1, 3), (2, 9, 1), (32, 32, 3), (64, 3, 3)])
    @pytest.mark.parametrize("steps", [1, 7, 5000])
    def test_never_grow_and_always_leave_room_to_move(self, steps, shape):
        side = sides(steps, shape)
        assert side.shape == (steps + 1,)
        assert (np.diff(side) <= 0).all()
        assert side.min() >= 1
        assert side.max() <= max(min(shape[:2]) - 1, 1)

    def test_a_short_search_runs_through_the_same_shares(self):
        assert set(sides(1000, (32, 32, 3))[1::10]) <= set(sides(10_000, (32, 32, 3)))


class TestRunnersUp:
    def test_are_the_wrong_classes_by_falling_logit(self):
        logits = np.array([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
        assert runners_up(logits, np.array([0, 2]), 3).tolist() == [[2, 1, 3], [0, 1, 3]]

    def test_take_undefined_logits_last(self):
        logits = np.array([[np.nan, 1.0, np.inf, 0.0, 5.0]])
        assert runners_up(logits, np.array([4]), 4).tolist() == [[1, 3, 0, 2]]

    def test_of_no_image_are_none(self):
        assert runners_up(np.zeros((0, 4)), np.zeros(0, int), 2).shape == (0, 2)


class TestEqualMargins:
    def test_give_every_image_the_same_margin_at_every_scale(self):
        rng = np.random.default_rng(0)
        logits, rows = rng.normal(0, 3, (50, 7)).astype(np.float32), np.arange(50)
        labels = logits.argmax(1)
        for scale in (1e-4, 1, 30, 1e4):
            scaled = logits * np.float32(scale)
            scaled = scaled * equal_margins(scaled, labels)[:, None]
            true = scaled[rows, labels].copy()
            scaled[rows, labels] = -np.inf
            np.testing.assert_allclose(true - scaled.max(axis=1), CLEAN_MARGIN, rtol=1e-4)

    def test_leave_images_without_a_margin_as_they_are(self):
        logits = np.array([[1.0, 2.0], [1.0, 1.0], [np.nan, 0.0], [np.inf, 0.0]])
        assert equal_margins(logits, np.zeros(4, int)).tolist() == [1, 1, 1, 1]


class TestEffort:
    def test_every_attack_has_one_row_everywhere(self):
        assert set(ROWS) == set(ATTACKS) == {*ATTACK_NAMES, TRANSFER}

    def test_attacks_spend_what_the_settings_say(self):
        settings = AdversarialSettings(
            steps=11, restarts=2, apgd_steps=31, targets=4, fmn_steps=51, ddn_steps=61, queries=777
        )
        assert {name: row.effort(settings) for name, row in ROWS.items()} == {
            "fgsm": (1, 1),
            "pgd": (11, 2),
            "fmn": (51, 1),
            "ddn": (61, 1),
            "apgd_pm": (31, 2),
            "apgd_ce": (31, 2),
            "apgd_t": (31, 4),
            "square": (777, 1),
            "transfer": (11, 1),
        }

    def test_knowledge_is_known_to_both_taxonomies(self):
        knowledge = {name: effort.knowledge for name, effort in ROWS.items()}
        assert set(knowledge.values()) <= set(ATLAS)
        assert set(ATLAS) == set(NIST)
        assert [name for name, effort in ROWS.items() if not effort.gradient] == ["square"]
        assert [name for name, effort in ROWS.items() if effort.minimal] == ["fmn", "ddn"]


@pytest.mark.slow
class TestLosses:
    def losses(self, logits, labels, targets=None):
        import tensorflow as tf

        from safeml.attacks import losses

        targets = labels if targets is None else targets
        given = [tf.constant(logits, tf.float32), *(tf.constant(a, tf.int32) for a in (labels, targets))]
        names = ("margin", "difference_of_logits_ratio", "targeted_difference_of_logits_ratio")
        return [getattr(losses, name)(*given).numpy() for name in names]

    def drawn(self, classes, count=50):
        rng = np.random.default_rng(classes)
        labels = rng.integers(0, classes, count)
        return rng.normal(0, 3, (count, classes)), labels, (labels + 1) % classes

    @pytest.mark.parametrize("classes", [4, 5, 43])
    def test_are_their_definitions(self, classes):
        """With z sorted as z1 >= z2 >= ..: margin / (z1 - z3), and (zt - zy) / (z1 - (z3 + z4) / 2)."""
        logits, labels, targets = self.drawn(classes)
        margin, ratio, targeted = self.losses(logits, labels, targets)
        for row, (z, y, t) in enumerate(zip(logits, labels, targets, strict=True)):
            best = max(z[k] for k in range(classes) if k != y) - z[y]
            top = sorted(z, reverse=True)
            assert margin[row] == pytest.approx(best, rel=1e-4, abs=1e-5)
            assert ratio[row] == pytest.approx(best / (top[0] - top[2]), rel=1e-4)
            assert targeted[row] == pytest.approx((z[t] - z[y]) / (top[0] - (top[2] + top[3]) / 2), rel=1e-4)

    def log_odds(self, logits, labels):
        """The loss, and its gradient by the logits: float64 [N] and [N, K]."""
        import tensorflow as tf

        from safeml.attacks.losses import log_odds

        values, classes = tf.constant(logits, tf.float32), tf.constant(labels, tf.int32)
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = log_odds(values, classes, classes)
        return loss.numpy().astype(float), tape.gradient(loss, values).numpy().astype(float)

    def probability_margin(self, logits, labels):
        """The loss, and its gradient by the logits: float64 [N] and [N, K]."""
        import tensorflow as tf

        from safeml.attacks.losses import probability_margin

        values, classes = tf.constant(logits, tf.float32), tf.constant(labels, tf.int32)
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss = probability_margin(values, classes, classes)
        return loss.numpy().astype(float), tape.gradient(loss, values).numpy().astype(float)

    @pytest.mark.parametrize("classes", [2, 3, 7])
    def test_the_margin_of_probabilities_is_its_definition_with_a_gradient_of_the_same_direction(
        self, classes
    ):
        """d(p_w - p_y) / dz_k = p_w (1[k = w] - p_k) - p_y (1[k = y] - p_k), in float64."""
        from scipy.special import softmax

        logits, labels, _ = self.drawn(classes)
        loss, gradient = self.probability_margin(logits, labels)
        p, rows, unit = softmax(logits, axis=1), np.arange(len(labels)), np.eye(classes)
        others = np.where(unit[labels] == 1, -1, p)
        wrong = others.argmax(axis=1)
        margin = p[rows, wrong] - p[rows, labels]
        np.testing.assert_allclose(loss, np.log1p(margin), rtol=1e-3, atol=1e-5)
        expected = p[rows, wrong, None] * (unit[wrong] - p) - p[rows, labels, None] * (unit[labels] - p)
        np.testing.assert_allclose(gradient * (1 + margin)[:, None], expected, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("scale", [30, 1e4, 1e6])
    def test_no_scale_of_the_logits_takes_the_gradient_of_the_margin_of_probabilities(self, scale):
        logits, _, _ = self.drawn(7)
        labels = logits.argmax(1)  # where the softmax saturates and the margin of float32 rounds to -1
        loss, gradient = self.probability_margin(scale * logits, labels)
        assert np.isfinite(loss).all()
        assert (np.abs(gradient).sum(axis=1) > 1).all()

    def test_the_cross_entropy_is_softplus_of_the_log_odds_and_its_gradient_has_the_same_direction(self):
        from scipy.special import softmax

        logits, labels, _ = self.drawn(7)
        loss, gradient = self.log_odds(logits, labels)
        rows, probabilities = np.arange(len(labels)), softmax(logits, axis=1)
        np.testing.assert_allclose(
            np.logaddexp(0, loss), -np.log(probabilities[rows, labels]), rtol=1e-4, atol=1e-6
        )
        expected = probabilities - np.eye(7)[labels]
        wrong = 1 - probabilities[rows, labels]
        np.testing.assert_allclose(gradient * wrong[:, None], expected, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("scale", [1, 30, 1e4, 1e6])
    def test_no_scale_of_the_logits_takes_the_gradient_of_the_log_odds(self, scale):
        """One for the true logit, and one in all for the others, where float32 has no gradient of the cross entropy."""
        logits, labels, _ = self.drawn(7)
        loss, gradient = self.log_odds(scale * logits, labels)
        assert np.isfinite(loss).all()
        assert (gradient[np.arange(len(labels)), labels] == -1).all()
        np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-5)

    def test_are_positive_where_the_answer_is_wrong_and_nowhere_else(self):
        logits, labels, _ = self.drawn(5)
        wrong = logits.argmax(1) != labels
        assert 0 < wrong.sum() < len(wrong)
        margin, ratio, _ = self.losses(logits, labels)
        assert ((margin > 0) == wrong).all()
        assert ((ratio > 0) == wrong).all()

    def test_two_and_three_classes_fall_back_to_the_plain_difference(self):
        logits, labels, targets = self.drawn(2)
        margin, ratio, targeted = self.losses(logits, labels, targets)
        np.testing.assert_array_equal(ratio, margin)
        np.testing.assert_allclose(targeted, margin, rtol=1e-6)
        logits, labels, targets = self.drawn(3)
        rows = np.arange(len(labels))
        difference = logits[rows, targets] - logits[rows, labels]
        np.testing.assert_allclose(self.losses(logits, labels, targets)[2], difference, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    def test_no_scale_and_no_shift_of_the_logits_changes_a_ratio(self, scale):
        logits, labels, targets = self.drawn(6)
        _, ratio, targeted = self.losses(logits, labels, targets)
        _, scaled, targeted_scaled = self.losses(scale * (logits + 1), labels, targets)
        np.testing.assert_allclose(scaled, ratio, rtol=1e-4)
        np.testing.assert_allclose(targeted_scaled, targeted, rtol=1e-4)

    def test_equal_and_extreme_logits_stay_defined(self):
        equal = np.full((1, 5), 2.0)
        assert [loss[0] for loss in self.losses(equal, [0], [1])] == [0, 0, 0]
        extreme = np.array([[-1e30, 1e30, 0, 0, 0]])
        margin, ratio, targeted = self.losses(extreme, [0], [1])
        assert margin[0] == pytest.approx(2e30)
        assert ratio[0] == pytest.approx(2.0)
        assert targeted[0] == pytest.approx(2.0)
