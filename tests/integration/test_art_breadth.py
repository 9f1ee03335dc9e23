"""ART's attacks through `run_art`: they find what is there, end in time, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.attacks.art.breadth import run_art
from safeml.attacks.art.registry import ART_ATTACKS, Row
from safeml.errors import ConfigError, StageError
from safeml.threats import Threat
from tests import subjects

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
LINF, L2 = Threat(norm="linf", epsilon=0.3), Threat(norm="l2", epsilon=3.0)
RUNNING = [name for name, row in ART_ATTACKS.items() if not row.refused]


def right_images(classifier: subjects.Subject, count: int, shape: tuple[int, int, int]) -> Any:
    """Noise around grey, each labelled with what the classifier says."""
    images = np.random.default_rng(5).uniform(0.3, 0.7, (count, *shape)).astype(np.float32)
    return images, classifier.predict_logits(images).argmax(axis=1)


@pytest.fixture(scope="module")
def line():
    """A linear model of three classes on 8 x 8 grey pixels, which is near indifferent at grey."""
    weights = np.random.default_rng(3).normal(0, 1, (64, 3))
    return subjects.linear(weights, -0.5 * weights.sum(axis=0))


@pytest.fixture(scope="module")
def network():
    """A small convolution on 8 x 8 colour pixels with five classes."""
    import tensorflow as tf

    rng = np.random.default_rng(4)
    kernel = tf.constant(rng.normal(0, 0.5, (3, 3, 3, 8)), tf.float32)
    matrix = tf.constant(rng.normal(0, 0.3, (8 * 64, 5)), tf.float32)

    def function(pixels: Any) -> Any:
        hidden = tf.nn.relu(tf.nn.conv2d(pixels - 0.5, kernel, 1, "SAME"))
        return tf.reshape(hidden, [-1, 8 * 64]) @ matrix

    return subjects.Subject("network", 5, function)


def smallest_l2(classifier: subjects.Subject, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The distance of each image to the nearest boundary of a linear model: margin / norm of the weight difference."""
    zero = classifier.predict_logits(np.zeros((1, 8, 8, 1), np.float32))[0]
    weights = classifier.predict_logits(np.eye(64, dtype=np.float32).reshape(64, 8, 8, 1)) - zero
    logits = classifier.predict_logits(images)
    found = []
    for i, label in enumerate(labels):
        others = np.arange(classifier.classes) != label
        margins = logits[i, label] - logits[i, others]
        found.append((margins / np.linalg.norm(weights[:, [label]] - weights[:, others], axis=0)).min())
    return np.array(found)


@pytest.mark.parametrize(("name", "times"), [("deepfool", 1.03), ("carlini_l2", 1.3), ("hop_skip_jump", 1.6)])
def test_a_search_ends_near_the_closed_form(line, name: str, times: float):
    images, labels = right_images(line, 3, (8, 8, 1))
    outcome = run_art(name, line, images, labels, L2, seed=0, seconds=60, batch=8)
    sizes = np.linalg.norm((outcome.adversarial - images).reshape(len(images), -1), axis=1)
    exact = smallest_l2(line, images, labels)
    assert outcome.status == "finished"
    assert outcome.attempted.all()
    assert (line.predict_logits(outcome.adversarial).argmax(axis=1) != labels).all()
    assert (sizes >= exact * 0.999).all()  # nobody beats the closed form
    assert (sizes <= exact * times).all()


@pytest.mark.parametrize("name", RUNNING)
def test_every_attack_breaks_a_network_without_defence(network, name: str):
    images, labels = right_images(network, 2, (8, 8, 3))
    threat = LINF if ART_ATTACKS[name].fits(LINF) else L2
    outcome = run_art(name, network, images, labels, threat, seed=0, seconds=30, batch=4)
    assert (outcome.status, outcome.reason) == ("finished", "")
    assert outcome.attempted.all()
    assert outcome.queries > 0
    assert outcome.adversarial.dtype == np.float32
    assert outcome.adversarial.shape == images.shape
    attacked = np.clip(outcome.adversarial, 0.0, 1.0)
    assert (network.predict_logits(attacked).argmax(axis=1) != labels).any()


@pytest.mark.parametrize("name", ["square", "boundary"])
def test_the_same_seed_gives_the_same_outcome(network, name: str):
    images, labels = right_images(network, 2, (8, 8, 3))

    def found(seed: int) -> np.ndarray:
        threat = Threat(norm="linf", epsilon=0.02)
        return run_art(name, network, images, labels, threat, seed, seconds=60, batch=4).adversarial

    assert (found(1) == found(1)).all()
    assert (found(1) != found(2)).any()


def test_an_image_is_attacked_alike_whatever_its_neighbours(network):
    images, labels = right_images(network, 2, (8, 8, 3))
    both = run_art("simba", network, images, labels, L2, seed=0, seconds=60, batch=4).adversarial
    one = run_art("simba", network, images[1:], labels[1:], L2, seed=0, seconds=60, batch=4).adversarial
    assert np.abs(both[1] - one[0]).max() < 1e-6


def test_a_slow_classifier_uses_up_the_budget(line):
    import tensorflow as tf

    def slow(pixels: Any) -> Any:
        def wait(values: np.ndarray) -> np.ndarray:
            time.sleep(0.05)
            return values

        waited = tf.numpy_function(wait, [pixels], tf.float32)
        return line.function(tf.ensure_shape(waited, pixels.shape))

    classifier = subjects.Subject("slow", 3, slow)
    images, labels = right_images(line, 8, (8, 8, 1))
    outcome = run_art("deepfool", line, images, labels, L2, seed=0, seconds=60, batch=8)
    assert outcome.status == "finished"
    began = time.monotonic()
    outcome = run_art("spatial_transformation", classifier, images, labels, L2, seed=0, seconds=4, batch=8)
    assert time.monotonic() - began < 8
    assert outcome.status == "budget exhausted"
    assert "4 s" in outcome.reason
    reached = int(outcome.attempted.sum())
    assert 0 < reached < 8
    assert outcome.attempted[:reached].all()
    assert (outcome.adversarial[reached:] == images[reached:]).all()
    assert 2 < outcome.seconds < 8


class Hanging:
    """Answers the first time, and never again."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        while x[0, 0, 0, 0] < 0.5:
            pass
        return x + 0.25


class Native(Hanging):
    """As native code does that is interrupted by the alarm: an error of its own, caused by the alarm's exception."""

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        try:
            return super().generate(x, y)
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error


class Raising(Hanging):
    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x[0, 0, 0, 0] < 0.5:
            raise {0.0: ValueError, 0.1: KeyboardInterrupt, 0.2: MemoryError}[round(float(x[0, 0, 0, 1]), 1)](
                "this is why\nand this is more"
            )
        return x + 0.25


def with_row(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    monkeypatch.setitem(
        ART_ATTACKS, "strange", Row(f"{__name__}.{kind.__name__}", "other", "decisions", "A test.")
    )


def strange_images(second: float = 0.0) -> Any:
    images = np.full((2, 8, 8, 2), 0.5, dtype=np.float32)
    images[1, 0, 0] = (0.0, second)
    return images, np.zeros(2, dtype=np.int64)


def test_an_attack_that_hangs_is_stopped_and_what_it_found_is_kept(monkeypatch):
    with_row(monkeypatch, Hanging)
    images, labels = strange_images()
    outcome = run_art("strange", subjects.constant(2), images, labels, LINF, seed=0, seconds=0.5, batch=4)
    assert outcome.status == "budget exhausted"
    assert outcome.seconds < 2
    assert outcome.attempted.tolist() == [True, False]
    assert outcome.adversarial[0].min() == 0.75
    assert (outcome.adversarial[1] == images[1]).all()


def test_an_alarm_that_comes_out_of_native_code_as_an_error_is_still_the_end_of_the_budget(monkeypatch):
    with_row(monkeypatch, Native)
    images, labels = strange_images()
    outcome = run_art("strange", subjects.constant(2), images, labels, LINF, seed=0, seconds=0.5, batch=4)
    assert outcome.status == "budget exhausted"
    assert outcome.attempted.tolist() == [True, False]


def test_an_attack_that_raises_has_failed(monkeypatch):
    with_row(monkeypatch, Raising)
    images, labels = strange_images()
    outcome = run_art("strange", subjects.constant(2), images, labels, LINF, seed=0, seconds=9, batch=4)
    assert (outcome.status, outcome.reason) == ("failed", "this is why")
    assert outcome.attempted.tolist() == [True, False]


@pytest.mark.parametrize(("second", "error"), [(0.1, KeyboardInterrupt), (0.2, MemoryError)])
def test_an_interrupt_and_a_full_memory_go_through(monkeypatch, second: float, error: type[BaseException]):
    with_row(monkeypatch, Raising)
    images, labels = strange_images(second)
    with pytest.raises(error):
        run_art("strange", subjects.constant(2), images, labels, LINF, seed=0, seconds=9, batch=4)


def test_a_model_without_gradients_is_no_crash():
    images, labels = right_images(subjects.constant(3), 2, (8, 8, 1))
    for name in ("auto_pgd", "deepfool", "geoda"):
        outcome = run_art(name, subjects.constant(3), images, labels, L2, seed=0, seconds=1, batch=4)
        # No exception, and no claim that is worth anything: the class is the same whatever the picture.
        assert outcome.adversarial.shape == images.shape
        assert outcome.status in ("finished", "budget exhausted")


def test_an_attack_that_wants_more_classes_says_so():
    images, labels = right_images(subjects.constant(2), 2, (8, 8, 1))
    outcome = run_art("auto_pgd_dlr", subjects.constant(2), images, labels, L2, seed=0, seconds=9, batch=4)
    assert (outcome.status, outcome.reason) == (
        "failed",
        "it wants at least 3 classes, and the model has 2",
    )
    assert not outcome.attempted.any()


def test_what_cannot_be_run_is_said(line):
    images, labels = right_images(line, 2, (8, 8, 1))
    with pytest.raises(ConfigError, match="bounded in l2"):
        run_art("virtual_adversarial", line, images, labels, LINF, seed=0, seconds=1, batch=4)
    with pytest.raises(StageError, match="expected float32"):
        run_art("deepfool", line, images.astype(np.float64), labels, L2, seed=0, seconds=1, batch=4)
    with pytest.raises(StageError, match="one for each of 2 images"):
        run_art("deepfool", line, images, labels[:1], L2, seed=0, seconds=1, batch=4)
    with pytest.raises(StageError, match="expected both above zero"):
        run_art("deepfool", line, images, labels, L2, seed=0, seconds=0, batch=4)


TRACELESS = """
import os, random, signal
import numpy as np
from safeml import framework; framework.start()
import tensorflow as tf
from safeml.attacks.art.breadth import run_art
from safeml.threats import Threat
from tests import subjects
np.random.seed(7); random.seed(7); tf.random.set_seed(7)
drawn = np.random.rand(), random.random(), float(tf.random.uniform([]))
np.random.seed(7); random.seed(7); tf.random.set_seed(7)
line = subjects.linear(np.random.default_rng(3).normal(0, 1, (64, 3)), np.zeros(3))
images = np.random.default_rng(5).uniform(0.3, 0.7, (1, 8, 8, 1)).astype(np.float32)
labels = line.predict_logits(images).argmax(axis=1)
before = os.environ["HOME"], os.getcwd(), signal.getsignal(signal.SIGALRM)
for name in ("geoda", "universal_perturbation"):
    assert run_art(name, line, images, labels, Threat(norm="l2", epsilon=0.5), 0, 9, 4).status == "finished", name
assert before == (os.environ["HOME"], os.getcwd(), signal.getsignal(signal.SIGALRM))
assert drawn == (np.random.rand(), random.random(), float(tf.random.uniform([])))
"""


def test_nothing_is_left_behind(tmp_path: Path):
    """No file in the home or working folder, no line on the terminal, no generator moved."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(
        [sys.executable, "-c", TRACELESS], cwd=work, env=environment, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert {path.name for path in home.iterdir()} <= {".keras"}  # Keras keeps its own settings there
    assert list(work.rglob("*")) == []
