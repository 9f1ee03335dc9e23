"""The measurements of the adversarial stage, stored slice by slice: clean predictions, attacks and their checks.

Legend: N images, H W C pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from safeml.attacks.base import Budget
from safeml.attacks.rows import ROWS
from safeml.audits.adversarial.measure import VERDICTS, Measured, measure
from safeml.audits.base import AuditInputs
from safeml.audits.linearity import measure_linearity
from safeml.audits.measured import CleanSample
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.base import Classifier, differentiable
from safeml.classifiers.batches import BatchSize, until_it_fits
from safeml.classifiers.judged import predict
from safeml.data.dataset import ImageDataset
from safeml.metrics.classification import right_answers
from safeml.sealed import Arrays
from safeml.stages.adversarial import AdversarialSettings
from safeml.threats import Threat
from safeml.work import SURROGATE_GRAPH, Cost

SLICE = 256


@dataclass(frozen=True, eq=False)
class Items:
    """Measurements on one sample. Build it with `Items.of`, which computes the clean predictions.

    inputs: of the stage.
    sample: the images under attack.
    clean: their clean predictions.
    slices: stores each measurement in parts.
    attacking: images attacked at a time.
    views: the views of the classifier given to attacks, by name; "" is the classifier itself.
    """

    inputs: AuditInputs
    sample: ImageDataset
    clean: CleanSample
    slices: Slices
    attacking: BatchSize
    views: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: AuditInputs, sample: ImageDataset, settings: AdversarialSettings) -> Items:
        """Cut `sample` into slices of whole batches, and compute its clean predictions."""
        attacking = BatchSize(_batch(inputs, sample, settings))
        slices = Slices(
            inputs.work,
            -(-SLICE // attacking.size) * attacking.size,
            {"clean and attacked images": inputs.predicting, "attacks": attacking},
        )
        pixels = sample.images.astype(np.float32) / np.float32(255)
        form = {"logits": ("float32", (sample.classes,))}
        columns = {"images": pixels, "ids": numbers(sample)}
        truths = sample.truths

        def answered(rows: slice) -> Arrays:
            return _logits(inputs, pixels[rows], truths[rows])

        logits = slices.measure("clean", columns, {}, form, answered)["logits"]
        right = right_answers(logits, sample.labels)
        targets = None if sample.targets is None else truths
        clean = CleanSample(pixels, sample.labels, logits, right, targets)
        return cls(inputs, sample, clean, slices, attacking)

    def attacked(
        self,
        name: str,
        threat: Threat,
        rows: np.ndarray,
        effort: tuple[int, int],
        view: str = "",
        pictures: bool = False,
        first: int = 0,
        nearest_first: bool = False,
    ) -> Measured:
        """Run an attack on the images in `rows` and recompute its result on the model under test.

        A transfer attack runs on the surrogate, any other attack on the view of the classifier.

        rows: int [M].
        effort: (steps, attempts), see `Budget`.
        pictures: keep the attacked images and their logits.
        first, nearest_first: attempt to start with, and order of the targets; see `Budget`.
        """
        ids = numbers(self.sample)[rows]
        clean = self.clean.take(rows)
        form = dict(VERDICTS)
        pictured: dict[str, tuple[str, tuple[int, ...]]] = {
            "attacked": ("float32", clean.images.shape[1:]),
            "logits": ("float32", (self.sample.classes,)),
        }
        form |= pictured if pictures else {}
        steps, attempts = effort
        elsewhere = ROWS[name].knowledge == "transfer"

        def achieved(chosen: slice) -> Arrays:
            from safeml.attacks.registry import ATTACKS

            part = clean.take(chosen)
            shown: Any = self.inputs.surrogate if elsewhere else self._shown(view)
            # The attack gets copies: an attack that writes into its inputs must not change the clean images.
            outcome = until_it_fits(
                self.attacking,
                lambda batch: ATTACKS[name](
                    shown,
                    part.images.copy(),
                    part.truths.copy(),
                    threat,
                    Budget(
                        steps, attempts, self.inputs.seed, batch, bool(part.right.all()), first, nearest_first
                    ),
                    ids[chosen],
                ),
            )
            measured = measure(self.inputs.classifier, part, outcome, threat, elsewhere)
            return {key: np.asarray(getattr(measured, key), kind) for key, (kind, _) in form.items()}

        parts = {
            "attack": name,
            "threat": threat.model_dump(mode="json"),
            "steps": steps,
            "attempts": attempts,
            "view": view,
            "batch": self.attacking.first,
        }
        if first:
            parts["first"] = first
        if nearest_first:
            parts["nearest_first"] = True
        if elsewhere and self.inputs.surrogate is not None:
            parts["surrogate"] = self.inputs.surrogate.fingerprint
        item = f"{name}-{threat.label}{'-' if view else ''}{view}"
        columns = {"images": clean.images, "labels": clean.truths, "ids": ids}
        cost = Cost(
            steps * (attempts - first),
            attempts - first,
            ROWS[name].gradient,
            f"{SURROGATE_GRAPH}{threat.norm}" if elsewhere else threat.norm,
        )
        arrays = self.slices.measure(item, columns, parts, form, achieved, cost=cost)
        nothing = {key: np.zeros((0, *shape), kind) for key, (kind, shape) in pictured.items()}
        return Measured(**{**nothing, **arrays})

    def _shown(self, view: str) -> Any:
        """Return one object per view for the whole audit, because an attack is compiled for each object."""
        from safeml.attacks import views

        if view and view not in self.views:
            self.views[view] = getattr(views, view)(self.inputs.classifier)
        return self.views[view] if view else self.inputs.classifier

    def right(self, item: str, images: np.ndarray) -> np.ndarray:
        """Return bool [N]: whether each of `images` (float32 [N, H, W, C], 0..1) gets the label of the sample."""
        truths = self.clean.truths

        def answered(rows: slice) -> Arrays:
            return {"right": right_answers(*predict(self.inputs.classifier, images[rows], truths[rows]))}

        columns = {"images": images, "labels": truths, "ids": numbers(self.sample)}
        return self.slices.measure(item, columns, {}, {"right": ("bool", ())}, answered)["right"]

    def linearity(self, rows: np.ndarray, norm: str, step: float) -> np.ndarray:
        """Return float32 [M]: gain of a small step divided by the gain that the gradient predicts. rows: int [M]."""
        columns = {
            "images": self.clean.images[rows],
            "labels": self.clean.truths[rows],
            "ids": numbers(self.sample)[rows],
        }
        return measure_linearity(self.inputs, self.slices, self.attacking, columns, norm, step)

    def hidden_gradient(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 [M]: relative distance between the gradient of the model and the straight-through one. rows: int [M]."""
        images = self.clean.images[rows]

        def measured(part: slice) -> Arrays:
            from safeml.attacks.stopped import hidden_gradient

            classifier = differentiable(self.inputs.classifier)
            view = self._shown("straight_through")
            distance = until_it_fits(
                self.attacking, lambda size: hidden_gradient(classifier, view, images[part], size)
            )
            return {"hidden": distance}

        columns = {"images": images, "ids": numbers(self.sample)[rows]}
        return self.slices.measure("stopped", columns, {}, {"hidden": ("float32", ())}, measured)["hidden"]

    def surrogate_logits(self, surrogate: Classifier) -> np.ndarray:
        """Return float32 [N, K]: the logits of the surrogate on the clean images."""
        columns = {"images": self.clean.images, "ids": numbers(self.sample)}
        form = {"logits": ("float32", (self.sample.classes,))}

        def answered(rows: slice) -> Arrays:
            logits = surrogate.predict_logits(self.clean.images[rows])
            return {"logits": np.asarray(logits, np.float32)}

        parts = {"surrogate": surrogate.fingerprint}
        return self.slices.measure("surrogate", columns, parts, form, answered)["logits"]

    def again(self) -> np.ndarray:
        """Return float32 [N, K]: the logits of the clean images, predicted a second time."""
        columns = {"images": self.clean.images, "ids": numbers(self.sample)}
        form = {"logits": ("float32", (self.sample.classes,))}

        def answered(rows: slice) -> Arrays:
            return _logits(self.inputs, self.clean.images[rows], self.clean.truths[rows])

        return self.slices.measure("again", columns, {}, form, answered)["logits"]


def _batch(inputs: AuditInputs, sample: ImageDataset, settings: AdversarialSettings) -> int:
    """Return the batch of the settings; "auto" is measured once and stored, so that a resumed run uses the same batches."""
    if settings.batch != "auto":
        return settings.batch

    def measured() -> Arrays:
        from safeml.attacks.batch import fastest_batch

        batch = fastest_batch(differentiable(inputs.classifier), sample.images, sample.truths)
        return {"batch": np.array([batch], np.int64)}

    return int(inputs.work("batch", {}, {"batch": ("int64", (1,))}, measured)["batch"][0])


def _logits(inputs: AuditInputs, images: np.ndarray, truths: np.ndarray) -> Arrays:
    return {"logits": np.asarray(predict(inputs.classifier, images, truths)[0], np.float32)}
