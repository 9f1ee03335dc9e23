"""Memory that does not suffice: half the batch, the same numbers, and a finding that says so.

The model here raises MemoryError inside its graph, which TensorFlow turns into its own ResourceExhaustedError.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial import run as adversarial
from safeml.audits.base import AuditInputs
from safeml.audits.performance import run as performance
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.onnx import OnnxModel
from safeml.classifiers.tensors import TensorClassifier, TensorModel
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import StageResult
from safeml.settings.model import InputSettings
from safeml.stages.adversarial import AdversarialSettings
from safeml.stages.performance import PerformanceSettings
from safeml.threats import Threat
from tests import subjects

pytestmark = pytest.mark.slow

K, N, SIZE = 4, 40, 8
LOW, HIGH = 64, 192
THREATS = tuple(Threat(norm="linf", epsilon=factor * 64 / 255) for factor in (0.97, 1.03))
# Every attack has its passes; a few steps of each are as good as the usual hundreds.
FEW = {"steps": 4, "apgd_steps": 5, "targets": 2, "fmn_steps": 5, "queries": 10}
SETTINGS = AdversarialSettings(images=N, batch=16, threats=THREATS, **FEW)


@dataclass
class Memory:
    """Of a model: at most `most` images fit, and the forward pass number `fails_at` finds no memory at all."""

    most: int = 10**9
    fails_at: int = 0
    passes: int = 0

    def take(self, images: np.ndarray) -> np.float32:
        self.passes += 1
        if len(images) > self.most or self.passes == self.fails_at:
            raise MemoryError("no room")
        return np.float32(0)


class Machine:
    """The corner oracle on a machine whose memory is exchanged between audits: its attacks are compiled once.

    memory: the memory that the passes of the model take from.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        self.memory = Memory()
        oracle = subjects.corner_oracle(K, scale=10.0)

        def forward(values: Any) -> Any:
            taken = tf.numpy_function(lambda images: self.memory.take(images), [values], tf.float32)
            with tf.control_dependencies([taken]):
                return oracle.function(tf.identity(values))

        names = tuple(f"sign {number}" for number in range(K))
        model = TensorModel("m", (SIZE, SIZE, 1), K, "logits", 0, "0" * 64, (), forward, forward)
        self.classifier = model.fed(InputSettings(channels="grey"), names, "m")

    def with_memory(self, memory: Memory) -> TensorClassifier:
        """Return the classifier, in batches of 16, with this memory and none of its passes counted."""
        self.classifier.batch = BatchSize(16)
        self.memory, memory.passes = memory, 0
        return self.classifier


@cache
def machine() -> Machine:
    return Machine()


def data() -> ImageDataset:
    labels = np.arange(N, dtype=np.int64) % K
    images = np.rint(subjects.corner_images(labels, low=LOW / 255, high=HIGH / 255) * 255).astype(np.uint8)
    return ImageDataset("corners", images, labels, tuple(f"sign {k}" for k in range(K)), frames_per_sign=1)


def attacked(memory: Memory) -> StageResult:
    classifier = machine().with_memory(memory)
    return adversarial.run(AuditInputs(classifier, data(), predicting=classifier.batch), SETTINGS)


def numbers(result: StageResult) -> list[Any]:
    """Everything that was measured; pictures and confidences only to the digits that are shown."""
    cases = result.worst_cases.items if result.worst_cases else []
    return [result.metrics, [(item.true_name, item.predicted_name, item.index) for item in cases]]


def halvings(result: StageResult) -> dict[str, tuple[int, int]]:
    return {
        str(finding.evidence["batch"]): (finding.evidence["from"], finding.evidence["to"])  # type: ignore[misc]
        for finding in result.findings
        if finding.code == "batch-halved"
    }


@pytest.fixture(scope="module")
def enough() -> StageResult:
    result = attacked(Memory())
    assert halvings(result) == {}
    return result


def test_a_failure_at_the_nth_pass_changes_no_number(enough: StageResult) -> None:
    passes = 0
    for number in (1, 2, 3, 5, 9, 16, 32, 64, 128, 243):
        memory = Memory(fails_at=number)
        result = attacked(memory)
        if memory.passes < number:
            break
        passes += 1
        assert numbers(result) == numbers(enough), number
        assert list(halvings(result).values()) == [(16, 8)], number
        assert all(f.severity == "warning" for f in result.findings if f.code == "batch-halved")
    assert passes >= 8


def test_a_model_of_which_few_images_fit_is_measured_in_small_batches(enough: StageResult) -> None:
    result = attacked(Memory(most=5))
    assert numbers(result) == numbers(enough)
    assert halvings(result) == {"clean and attacked images": (16, 4), "attacks": (16, 4)}


def test_clean_performance_too() -> None:
    def measured(memory: Memory) -> StageResult:
        classifier = machine().with_memory(memory)
        inputs = AuditInputs(classifier, data(), predicting=classifier.batch)
        return performance.run(inputs, PerformanceSettings(bootstrap=100))

    enough, little = measured(Memory()), measured(Memory(most=1))
    assert little.metrics == enough.metrics
    assert halvings(little) == {"clean images": (16, 1)}


def test_where_not_one_image_fits_the_stage_says_so() -> None:
    with pytest.raises(StageError, match="out of memory at batch 1"):
        attacked(Memory(most=0))


def test_a_smaller_batch_stays_for_the_rest_of_the_process() -> None:
    memory = Memory(most=5)
    classifier = machine().with_memory(memory)
    first = classifier.predict_logits(data().images)
    tried = memory.passes
    assert np.array_equal(classifier.predict_logits(data().images), first)
    assert classifier.batch.size == 4
    assert memory.passes - tried == N // 4  # no larger one was tried again


@pytest.mark.parametrize(("open_batch", "fits"), [(True, True), (False, False)])
def test_onnx_runtime_without_memory(open_batch: bool, fits: bool) -> None:
    class Session:
        """Sums the pixels of each image, for at most 3 at a time."""

        def get_inputs(self) -> list[Any]:
            return [type("Input", (), {"name": "x"})]

        def run(self, _: None, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
            if len(fed["x"]) > 3:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 12288")
            return [np.repeat(fed["x"].sum(axis=(1, 2)), 2, axis=1)]

    model = OnnxModel(
        where="m.onnx",
        input_shape=(SIZE, SIZE, 1),
        outputs=2,
        gives="logits",
        parameters=0,
        fingerprint="0" * 64,
        notes=(),
        session=Session(),
        penultimate=Session(),
        batch=16,
        open_batch=open_batch,
        channels_first=False,
        dtype="float32",
        takes_log=False,
    )
    images = data().images
    if not fits:
        with pytest.raises(StageError, match="out of memory at batch 16"):
            model.fed(InputSettings(channels="grey"), ("a", "b"), "m")
        return
    classifier = model.fed(InputSettings(channels="grey"), ("a", "b"), "m")
    expected = np.repeat((images / 255).sum(axis=(1, 2)).astype(np.float32), 2, axis=1)
    assert np.allclose(classifier.predict_logits(images), expected, atol=1e-5)
    assert classifier.batch.size == 2


def test_only_memory_is_tried_again() -> None:
    batch = BatchSize(8)

    def broken(size: int) -> None:
        raise ValueError(size)

    with pytest.raises(ValueError, match="8"):
        until_it_fits(batch, broken)
    assert not batch.halved
