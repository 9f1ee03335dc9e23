"""The items of the adversarial stage, each measured in slices that are kept: clean answers, attacks, and checks of them.

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from safeml.attacks.base import Budget
from safeml.audits.adversarial_measure import CleanSample, Measured, measure, right_answers
from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.config import AdversarialSettings, Threat
from safeml.data.dataset import ImageDataset
from safeml.sealed import Arrays

SLICE = 256


@dataclass(frozen=True, eq=False)
class Items:
    """What is measured on one sample. Build it with `Items.of`, which measures the clean answers."""

    inputs: AuditInputs
    sample: ImageDataset
    clean: CleanSample
    slices: Slices
    attacking: BatchSize

    @classmethod
    def of(cls, inputs: AuditInputs, sample: ImageDataset, settings: AdversarialSettings) -> Items:
        """Cut `sample` into slices of whole batches, and measure its clean answers."""
        attacking = BatchSize(settings.batch)
        slices = Slices(
            inputs.work,
            -(-SLICE // settings.batch) * settings.batch,
            {"clean and attacked images": inputs.predicting, "attacks": attacking},
        )
        pixels = sample.images.astype(np.float32) / np.float32(255)
        form = {"logits": ("float32", (sample.classes,))}
        columns = {"images": pixels, "ids": numbers(sample)}
        logits = slices.measure("clean", columns, {}, form, lambda rows: _logits(inputs, pixels[rows]))[
            "logits"
        ]
        clean = CleanSample(pixels, sample.labels, logits, right_answers(logits, sample.labels))
        return cls(inputs, sample, clean, slices, attacking)

    def attacked(
        self, name: str, threat: Threat, rows: np.ndarray, budget: Budget, pictures: bool = False
    ) -> Measured:
        """What an attack achieves on the images in `rows` (int [M]); pictures: with the attacked images and their logits."""
        from safeml.attacks.registry import ATTACKS

        ids = numbers(self.sample)[rows]
        clean = CleanSample(*(array[rows] for array in _columns(self.clean)))
        form: dict[str, tuple[str, tuple[int, ...]]] = {
            "robust": ("bool", ()),
            "zero_gradients": ("bool", ()),
            "faults": ("uint8", ()),
        }
        pictured: dict[str, tuple[str, tuple[int, ...]]] = {
            "attacked": ("float32", clean.images.shape[1:]),
            "logits": ("float32", (self.sample.classes,)),
        }
        form |= pictured if pictures else {}

        def achieved(chosen: slice) -> Arrays:
            part = CleanSample(*(array[chosen] for array in _columns(clean)))
            # The attack gets its own copies: one that writes into its inputs must not move the clean images.
            outcome = until_it_fits(
                self.attacking,
                lambda batch: ATTACKS[name](
                    self.inputs.classifier,  # type: ignore[arg-type]  # that it has a gradient is checked before
                    part.images.copy(),
                    part.labels.copy(),
                    threat,
                    replace(budget, batch=batch),
                    ids[chosen],
                ),
            )
            found = measure(self.inputs.classifier, part, outcome, threat)
            return {key: np.asarray(getattr(found, key), kind) for key, (kind, _) in form.items()}

        parts = {
            "attack": name,
            "threat": threat.model_dump(mode="json"),
            "budget": asdict(budget),
        }
        columns = {"images": clean.images, "labels": clean.labels, "ids": ids}
        arrays = self.slices.measure(f"{name}-{threat.label}", columns, parts, form, achieved)
        nothing = {key: np.zeros((0, *shape), kind) for key, (kind, shape) in pictured.items()}
        return Measured(**{**nothing, **arrays})

    def right(self, item: str, images: np.ndarray) -> np.ndarray:
        """bool [N]: which of other images (float32 [N, H, W, C], 0..1) of the sample's signs are answered right."""
        labels = self.clean.labels

        def answered(rows: slice) -> Arrays:
            return {"right": right_answers(self.inputs.classifier.predict_logits(images[rows]), labels[rows])}

        columns = {"images": images, "labels": labels, "ids": numbers(self.sample)}
        return self.slices.measure(item, columns, {}, {"right": ("bool", ())}, answered)["right"]

    def again(self) -> np.ndarray:
        """float32 [N, K]: the clean answers, asked for a second time."""
        columns = {"images": self.clean.images, "ids": numbers(self.sample)}
        form = {"logits": ("float32", (self.sample.classes,))}

        def answered(rows: slice) -> Arrays:
            return _logits(self.inputs, self.clean.images[rows])

        return self.slices.measure("again", columns, {}, form, answered)["logits"]


def _logits(inputs: AuditInputs, images: np.ndarray) -> Arrays:
    return {"logits": np.asarray(inputs.classifier.predict_logits(images), np.float32)}


def _columns(clean: CleanSample) -> tuple[np.ndarray, ...]:
    return clean.images, clean.labels, clean.logits, clean.right
