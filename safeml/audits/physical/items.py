"""The items of the physical stage, each measured in slices that are stored. Legend: N images, H W C pixels, K classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from safeml.attacks.signs.base import SignOutcome
from safeml.attacks.signs.box import pixel_boxes
from safeml.attacks.signs.registry import SIGN_THREATS
from safeml.audits.base import AuditInputs
from safeml.audits.linearity import measure_linearity, nonlinear_share, probe, probe_step
from safeml.audits.measured import CleanSample
from safeml.audits.physical.measure import SignMeasured, measure_sign
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import right_answers
from safeml.sealed import Arrays, Form
from safeml.stages.physical import PhysicalSettings

SLICE = 256
# Random views of each image: their mean is the accuracy without an adversary, from any position on the grid.
VIEWS = 10
# Small compared with the change of a sticker, large compared with rounding: a tenth of 4/255.
SMALL_STEP = 0.4 / 255


def pixels_of(data: ImageDataset) -> np.ndarray:
    """float32 [N, H, W, C], 0..1."""
    return data.images.astype(np.float32) / np.float32(255)


def boxes_of(data: ImageDataset) -> np.ndarray:
    """Return the sign boxes in whole pixels, int64 [N, 4]; the middle of each image where the data have none."""
    return pixel_boxes(data.boxes, len(data), *data.images.shape[1:3])


@dataclass(frozen=True, eq=False)
class SignItems:
    """The measurements on one sample. Build it with `SignItems.of`, which predicts the clean images."""

    inputs: AuditInputs
    settings: PhysicalSettings
    sample: ImageDataset
    boxes: np.ndarray
    clean: CleanSample
    slices: Slices
    climbing: BatchSize
    asking: BatchSize

    @classmethod
    def of(cls, inputs: AuditInputs, sample: ImageDataset, settings: PhysicalSettings) -> SignItems:
        """Cut `sample` into slices of whole batches, and predict the clean images."""
        climbing, asking = (
            BatchSize(settings.batch),
            BatchSize(max(settings.batch, inputs.predicting.first)),
        )
        named = {
            "clean and attacked images": inputs.predicting,
            "attacks by gradient": climbing,
            "attacks by queries": asking,
        }
        slices = Slices(inputs.work, -(-SLICE // settings.batch) * settings.batch, named)
        pixels, boxes = pixels_of(sample), boxes_of(sample)
        logits = answered(inputs, slices, "clean", sample, pixels)
        clean = CleanSample(pixels, sample.labels, logits, right_answers(logits, sample.labels))
        return cls(inputs, settings, sample, boxes, clean, slices, climbing, asking)

    def attacked(self, name: str) -> SignMeasured:
        """Attack the sample with the threat of this name."""
        threat, clean, ids = SIGN_THREATS[name], self.clean, numbers(self.sample)
        shape, classes = clean.images.shape[1:], self.sample.classes
        form: Form = {
            "robust": ("bool", ()),
            "attacked": ("uint8", shape),
            "logits": ("float32", (classes,)),
            "choice": ("int64", ()),
            "zero_gradients": ("bool", ()),
            "faults": ("uint8", ()),
        }

        def achieved(rows: slice) -> Arrays:
            part = clean.take(rows)

            # The attack gets its own copies: one that writes into its inputs must not move the clean images.
            def attack(batch: int) -> SignOutcome:
                return threat.attack(
                    self.inputs.classifier,
                    part.images.copy(),
                    part.labels.copy(),
                    self.boxes[rows].copy(),
                    self.settings,
                    self.inputs.seed,
                    ids[rows].copy(),
                    batch,
                )

            outcome = until_it_fits(self.climbing if threat.gradient else self.asking, attack)
            found = measure_sign(
                self.inputs.classifier,
                threat,
                part,
                self.boxes[rows],
                outcome,
                self.settings,
                self.inputs.seed,
                ids[rows],
            )
            return {key: np.asarray(getattr(found, key), kind) for key, (kind, _) in form.items()}

        columns = {"images": clean.images, "labels": clean.labels, "boxes": self.boxes, "ids": ids}
        parts = {"settings": self.settings.model_dump(mode="json")}
        return SignMeasured(**self.slices.measure(name, columns, parts, form, achieved))

    def nonlinear_share(self, data: ImageDataset, correct: np.ndarray) -> float:
        """Return the share of images for which a small step gains almost nothing of the gain that the gradient predicts.

        correct: bool [N], the images that are classified correctly when clean; others are not used.
        """
        if not correct.any():
            return 0.0
        part = data.take(probe(np.flatnonzero(correct), self.inputs.seed))
        columns = {"images": pixels_of(part), "labels": part.labels, "ids": numbers(part)}
        shape = part.images.shape[1:]
        step = probe_step(self.inputs.classifier, "linf", shape, SMALL_STEP, float("inf"))
        gains = measure_linearity(self.inputs, self.slices, self.climbing, columns, "linf", step)
        return nonlinear_share(gains)

    def random_views(self) -> np.ndarray:
        """Return bool [N, VIEWS]: the views that are classified correctly; all False where the clean image is misclassified."""
        from safeml.attacks.signs.transform import moved, random_points

        clean, ids = self.clean, numbers(self.sample)
        points = random_points(self.settings, self.inputs.seed, ids, VIEWS)

        def right(rows: slice) -> Arrays:
            count = rows.stop - rows.start
            views = np.zeros((count, VIEWS), dtype=bool)
            for view in range(VIEWS):
                logits = self.inputs.classifier.predict_logits(moved(clean.images[rows], points[rows, view]))
                views[:, view] = right_answers(np.asarray(logits), clean.labels[rows])
            return {"right": views & clean.right[rows, None]}

        columns = {"images": clean.images, "labels": clean.labels, "ids": ids, "points": points}
        return self.slices.measure("views", columns, {}, {"right": ("bool", (VIEWS,))}, right)["right"]


def answered(
    inputs: AuditInputs, slices: Slices, item: str, data: ImageDataset, images: np.ndarray
) -> np.ndarray:
    """Return the classifier's logits, float32 [N, K], for images (float32 [N, H, W, C], 0..1) of `data`."""
    form: Form = {"logits": ("float32", (data.classes,))}

    def given(rows: slice) -> Arrays:
        return {"logits": np.asarray(inputs.classifier.predict_logits(images[rows]), np.float32)}

    return slices.measure(item, {"images": images, "ids": numbers(data)}, {}, form, given)["logits"]
