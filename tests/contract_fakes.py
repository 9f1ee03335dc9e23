"""Photos in noise, and models that classify them under one input contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.contracts.measure import NO_ANSWER
from safeml.data.dataset import ImageDataset
from safeml.settings.model import InputSettings
from tests.fakes import Answers, numbered_images

K = 43


RawAnswers = Callable[[InputSettings], np.ndarray]


@dataclass(frozen=True, eq=False)
class FakeModel:
    """Gives, under each contract, the largest outputs int [N] that `raw` says; NO_ANSWER is not finite."""

    raw: RawAnswers
    outputs: int = K
    input_shape: tuple[int | None, int | None, int | None] = (16, 16, 3)
    where: str = "model.keras"
    gives: str = "logits"
    parameters: int = 10
    fingerprint: str = "f" * 64
    notes: tuple[str, ...] = ()

    def fed(self, contract: InputSettings, class_names: tuple[str, ...], name: str) -> Answers:
        assert contract.class_order is None  # outputs are asked once for all class orders
        raw = self.raw(contract)
        table = np.eye(self.outputs)[raw]
        table[raw == NO_ANSWER] = np.nan
        return Answers(table, name)


def photos(
    count: int = 4000, classes: int = K, seed: int = 0, channels: int = 3, **columns: object
) -> ImageDataset:
    labels = np.random.default_rng(seed).integers(0, classes, count)
    names = tuple(f"class {k}" for k in range(classes))
    images = np.repeat(numbered_images(count), channels, axis=3)
    return ImageDataset("photos", images, labels, names, **columns)


def right_at(data: ImageDataset, share: float, seed: int = 1) -> np.ndarray:
    """Answers of which `share` are right, the others wrong; the same images are the hard ones at every share."""
    rng = np.random.default_rng(seed)
    hard = rng.random(len(data))
    wrong = (data.labels + rng.integers(1, data.classes, len(data))) % data.classes
    return np.where(hard < share, data.labels, wrong)


def model_with(
    data: ImageDataset, shares: dict[tuple, float], rest: float = 0.05, **fields: object
) -> FakeModel:
    """A model that is right on these shares under (channels, range), and on `rest` under everything else."""

    def raw(contract: InputSettings) -> np.ndarray:
        plain = not contract.standardise and not contract.mean
        key = (contract.channels, contract.range) if plain else None
        return right_at(data, shares.get(key, rest))

    return FakeModel(raw, **fields)
