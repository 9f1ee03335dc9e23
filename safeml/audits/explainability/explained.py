"""The images of one run, and how they are explained. Legend: N images, M images of a slice, P probe images, H W C pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from safeml.attacks.signs.box import inside as box_pixels
from safeml.attacks.signs.box import pixel_boxes
from safeml.audits.base import AuditInputs
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.base import Classifier
from safeml.classifiers.batches import BatchSize
from safeml.corruptions.rows import CORRUPTIONS, LEAST_SIDE
from safeml.data.dataset import ImageDataset
from safeml.explainers.base import Effort
from safeml.explainers.registry import explainer
from safeml.explainers.rows import ExplainerRow
from safeml.metrics.classification import NO_ANSWER
from safeml.stages.explainability import ExplainabilitySettings
from safeml.work import Cost

SLICE = 64


@dataclass(eq=False)
class Explained:
    """The images, their predictions and the methods of one run. Build it with `Explained.of`."""

    inputs: AuditInputs
    settings: ExplainabilitySettings
    sample: ImageDataset
    probe: ImageDataset
    effort: Effort
    slices: Slices
    _first: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, inputs: AuditInputs, settings: ExplainabilitySettings) -> Explained:
        """Draw the images, the probe images among them and the backgrounds."""
        sample = inputs.test.sample(settings.images, inputs.seed)
        probe = sample.sample(settings.probe_images, inputs.seed)
        batch = BatchSize(settings.batch)
        fits = inputs.train is not None and inputs.train.images.shape[1:] == inputs.test.images.shape[1:]
        source = inputs.train if inputs.train is not None and fits else inputs.test
        backgrounds = source.sample(settings.backgrounds, inputs.seed).images.astype(np.float32) / np.float32(
            255
        )
        effort = Effort(
            backgrounds=backgrounds,
            seed=inputs.seed,
            steps=settings.steps,
            draws=settings.draws,
            copies=settings.copies,
            masks=settings.masks,
            evaluations=settings.evaluations,
            window=settings.window,
            places=settings.places,
            batch=batch,
        )
        slices = Slices(inputs.work, SLICE, {"predictions": inputs.predicting, "maps": batch})
        return cls(inputs, settings, sample, probe, effort, slices)

    @cached_property
    def inside(self) -> np.ndarray | None:
        """Return the pixels of each sign, bool [N, H, W]; None without boxes.

        Raises StageError for a box that is empty or leaves its image.
        """
        if self.sample.boxes is None:
            return None
        height, width = self.sample.images.shape[1:3]
        return box_pixels(pixel_boxes(self.sample.boxes, len(self.sample), height, width), height, width)

    @cached_property
    def probe_rows(self) -> np.ndarray:
        """Return the rows of the probe images in the sample, int64 [P]."""
        rows_of = {int(identity): row for row, identity in enumerate(numbers(self.sample))}
        return np.array([rows_of[int(identity)] for identity in numbers(self.probe)], np.int64)

    @cached_property
    def backgrounds_content(self) -> str:
        """Return the sha256 of the backgrounds."""
        return hashlib.sha256(self.effort.backgrounds.tobytes()).hexdigest()

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Return the corruptions that images of this size and colour can have."""
        if min(self.sample.images.shape[1:3]) < LEAST_SIDE:
            return ()
        colour = self.sample.images.shape[3] == 3
        return tuple(name for name in self.settings.corruptions if colour or not CORRUPTIONS[name].colour)

    def first_maps(self, name: str, classes: np.ndarray, rows: slice) -> np.ndarray:
        """Return the maps of some probe images by one method, float32 [M, H, W], computed once.

        classes: int64 [P], whose logit is explained.
        """
        key = (name, rows.start, rows.stop)
        if key not in self._first:
            images, ids = self.probe.images[rows], numbers(self.probe)[rows]
            self._first[key] = self.maps(self.inputs.classifier, name, images, classes[rows], ids)
        return self._first[key]

    def maps(
        self, classifier: Classifier, name: str, images: np.ndarray, classes: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        """Return the maps of a method, float32 [M, H, W]. images: uint8 or float32 in 0..1, [M, H, W, C]."""
        return explainer(name)(classifier, as_floats(images), classes, ids, self.effort)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return pixels as float32 in 0..1."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def explained_classes(answers: np.ndarray) -> np.ndarray:
    """Return the class whose logit is explained, int64 [N]: the predicted one, or class 0 where there is no answer."""
    return np.where(answers == NO_ANSWER, 0, answers).astype(np.int64)


def columns_of(run: Explained, answers: np.ndarray) -> dict[str, np.ndarray]:
    columns = {"images": run.sample.images, "ids": numbers(run.sample), "answers": answers}
    return columns if run.inside is None else {**columns, "inside": run.inside}


def item_name(name: str) -> str:
    return name.replace("_", "-")


def parts_of(run: Explained) -> dict[str, object]:
    """Return what a slice depends on beside its columns."""
    settings = run.settings.model_dump(
        mode="json",
        exclude={"enabled", "bootstrap", "images", "probe_images", "methods", "methods_without_gradient"},
    )
    return {**settings, "backgrounds": run.backgrounds_content, "corruptions": list(run.corruptions)}


def cost_of(run: Explained, row: ExplainerRow, maps: int) -> Cost:
    passes = row.passes(run.settings)
    if row.gradient:
        return Cost(steps=passes * maps, attempts=1, graph="linf", passes=0)
    return Cost(passes=maps * passes)
