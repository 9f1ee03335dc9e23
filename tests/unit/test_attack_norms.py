"""Random start, normalise and project for each norm; and the audit's own projection, which knows nothing of the engine's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from safeml.attacks.norms import NORMS, random_starts
from safeml.errors import ConfigError
from safeml.metrics.perturbation import perturbation_size, project
from safeml.threats import Threat

SHAPE = (8, 8, 3)
THREATS = [Threat(norm="linf", epsilon=0.1), Threat(norm="l2", epsilon=0.7)]


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 1, (30, *SHAPE)).astype(np.float32)


def far_away(images, seed=1, scale=1.0):
    return (images + np.random.default_rng(seed).normal(0, scale, images.shape)).astype(np.float32)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.label)
class TestProject:
    def test_lands_inside_the_ball_and_the_pixel_range(self, threat, images):
        allowed = project(images, far_away(images), threat)
        assert (perturbation_size(images, allowed, threat.norm) <= threat.epsilon + 1e-6).all()
        assert allowed.min() >= 0
        assert allowed.max() <= 1
        assert allowed.dtype == np.float32

    def test_is_idempotent(self, threat, images):
        once = project(images, far_away(images), threat)
        np.testing.assert_allclose(project(images, once, threat), once, atol=1e-6)

    def test_leaves_alone_what_is_allowed_already(self, threat, images):
        near = np.clip(images + 1e-4, 0, 1)
        np.testing.assert_allclose(project(images, near, threat), near, atol=1e-7)

    def test_an_epsilon_of_almost_nothing_gives_the_clean_image(self, threat, images):
        tiny = Threat(norm=threat.norm, epsilon=1e-12)
        np.testing.assert_allclose(project(images, far_away(images), tiny), images, atol=1e-7)

    def test_no_allowed_point_is_nearer_inside_the_range(self, threat):
        """The projection on a convex set: (wanted - projected) . (any allowed - projected) <= 0."""
        clean = np.full((1, *SHAPE), 0.5, dtype=np.float32)
        wanted = far_away(clean, scale=0.05)
        nearest = project(clean, wanted, Threat(norm=threat.norm, epsilon=threat.epsilon / 4))
        points = random_starts(NORMS[threat.norm], SHAPE, np.arange(200), 0, 0) * threat.epsilon / 4 + clean
        products = ((wanted - nearest) * (points - nearest)).sum(axis=(1, 2, 3))
        assert (products <= 1e-5).all()


def test_perturbation_size_of_a_known_change():
    clean = np.zeros((2, 1, 2, 1))
    attacked = np.array([[[[0.3], [-0.4]]], [[[0.0], [np.nan]]]])
    np.testing.assert_allclose(perturbation_size(clean, attacked, "linf"), [0.4, np.nan])
    np.testing.assert_allclose(perturbation_size(clean, attacked, "l2"), [0.5, np.nan])
    with pytest.raises(ConfigError, match='the norm is "l1"'):
        perturbation_size(clean, attacked, "l1")


@pytest.mark.parametrize("name", sorted(NORMS))
def test_starts_do_not_depend_on_the_neighbours(name):
    ids = np.array([5, 900, 17])
    together = random_starts(NORMS[name], SHAPE, ids, seed=3, restart=1)
    alone = [random_starts(NORMS[name], SHAPE, ids[[i]], seed=3, restart=1)[0] for i in (2, 0)]
    np.testing.assert_array_equal(together[[2, 0]], alone)
    assert len({point.tobytes() for point in together}) == 3
    assert not np.array_equal(together, random_starts(NORMS[name], SHAPE, ids, seed=3, restart=2))
    assert not np.array_equal(together, random_starts(NORMS[name], SHAPE, ids, seed=4, restart=1))


def test_linf_starts_are_uniform_in_the_cube():
    points = random_starts(NORMS["linf"], SHAPE, np.arange(100), seed=0, restart=0)
    assert stats.kstest(points.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_l2_starts_are_uniform_in_the_ball():
    """Radius^d is uniform on 0..1, and a coordinate of the direction is as often positive as negative."""
    shape = (1, 2, 2)
    points = random_starts(NORMS["l2"], shape, np.arange(2000), seed=0, restart=0).reshape(2000, -1)
    radius = np.linalg.norm(points.astype(np.float64), axis=1)
    assert radius.max() <= 1 + 1e-6
    assert stats.kstest(radius**4, "uniform").pvalue > 1e-3
    assert stats.binomtest(int((points[:, 0] > 0).sum()), 2000).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.label)
def test_the_engine_projects_as_the_audit_does(threat, images):
    wanted = far_away(images)
    change = NORMS[threat.norm].project(wanted - images, np.float32(threat.epsilon)).numpy()
    np.testing.assert_allclose(np.clip(images + change, 0, 1), project(images, wanted, threat), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("name", sorted(NORMS))
def test_directions_have_unit_norm_whatever_the_gradient_s_size(name, scale, images):
    gradient = ((images - 0.5) * scale).astype(np.float32)
    gradient[0] = 0
    direction = NORMS[name].normalise(gradient).numpy()
    sizes = perturbation_size(np.zeros_like(direction), direction, name)
    np.testing.assert_allclose(sizes, [0.0] + [1.0] * (len(images) - 1), rtol=1e-5)
    assert (np.sign(direction) == np.sign(gradient)).all()
