"""The measurements of the stage, each in slices that are stored. Legend: N images, P probe images, H W C pixels, L levels, S steps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from safeml.attacks.signs.box import inside as box_pixels
from safeml.attacks.signs.box import pixel_boxes
from safeml.audits.base import AuditInputs
from safeml.audits.explainability.curves import curve_areas
from safeml.audits.explainability.swap import FORMS, changed_surroundings, donors
from safeml.audits.perfect import NoModel
from safeml.audits.slices import Slices, numbers
from safeml.classifiers.base import Classifier, is_differentiable
from safeml.classifiers.batches import BatchSize
from safeml.corruptions.engine import corrupt
from safeml.corruptions.rows import CORRUPTIONS, LEAST_SIDE
from safeml.data.dataset import ImageDataset
from safeml.explainers.base import Effort, NotApplicable
from safeml.explainers.registry import explainer
from safeml.explainers.rows import ROWS, ExplainerRow
from safeml.explainers.shuffled import cascade, network_of, shuffled, weighted_layers
from safeml.metrics.attribution import (
    box_area,
    box_energy,
    box_iou,
    centre_map,
    has_map,
    pointing_hits,
    rank_correlations,
)
from safeml.metrics.classification import NO_ANSWER, predictions
from safeml.sealed import Arrays, Form
from safeml.stages.explainability import CONTROLS, NOISE, SEVERITY, ExplainabilitySettings
from safeml.work import Cost

SLICE = 64
# Purposes of random numbers, beside the seed and the image's id.
NOISY, OTHER_CLASS, RANDOM_MAP = 42, 43, 44
# Standard deviation of the small noise under which a map should stay, in pixel units of 0..1.
SMALL_NOISE = 2 / 255
# Models with all weights shuffled, on which a method shows what it prefers by itself.
REPEATS = 3


@dataclass(frozen=True, eq=False)
class Maps:
    """What was measured on the maps of one method.

    reason: why the model has no such maps, a clause; "" if it has, and only then the arrays are there.
    mapped: bool [N], the image has a map that points somewhere.
    inside: float64 [N], 0..1, the share of its energy on the sign; NaN without a map or without boxes.
    hits: bool [N], its largest value is on the sign.
    iou: float64 [N], with the box; NaN as `inside`.
    insertion, deletion: float64 [N], area under the curve, 0..1.
    error: float64 [N], of the completeness of integrated gradients, as a share; NaN for other methods.
    weights: float64 [P, L], rank correlation with the maps of shuffled weights, size against size; NaN where it is undefined.
    alone: float64 [P, REPEATS], as `inside`, of maps of models with all weights shuffled; [P, 0] where they cannot be reached.
    other_class: float64 [P], with the map of another class, signs included.
    changed: float64 [P, 1 + corruptions], with the map under noise and under each corruption; NaN where the prediction changed.
    """

    name: str
    reason: str = ""
    mapped: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    inside: np.ndarray = field(default_factory=lambda: np.zeros(0))
    hits: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    iou: np.ndarray = field(default_factory=lambda: np.zeros(0))
    insertion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    deletion: np.ndarray = field(default_factory=lambda: np.zeros(0))
    error: np.ndarray = field(default_factory=lambda: np.zeros(0))
    weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    alone: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    other_class: np.ndarray = field(default_factory=lambda: np.zeros(0))
    changed: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def row(self) -> ExplainerRow:
        """Return the row of the method."""
        return ROWS[self.name]


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that was measured.

    sample, probe: the explained images, and those of them that are explained again.
    answers: int64 [N], the predicted class, or NO_ANSWER.
    confidence: float64 [N], 0..1, of the predicted class; NaN without an answer.
    area, probe_area: float64 [N] and [P], share of the image that the sign's box covers; None without boxes.
    controls: by name of the control map, areas under its insertion and deletion curves, float64 [N] each.
    surroundings: by form of FORMS, bool [N], classified correctly then; None without boxes.
    donated: bool [N], another image gave its surroundings; None without boxes.
    corruptions: those under which maps were compared.
    levels: the number of shuffled layers at each level; () where the weights cannot be reached.
    """

    sample: ImageDataset
    probe: ImageDataset
    answers: np.ndarray
    confidence: np.ndarray
    area: np.ndarray | None
    probe_area: np.ndarray | None
    methods: list[Maps]
    controls: dict[str, tuple[np.ndarray, np.ndarray]]
    surroundings: dict[str, np.ndarray] | None
    donated: np.ndarray | None
    corruptions: tuple[str, ...]
    levels: tuple[int, ...]
    layers: int
    slices: Slices

    @property
    def correct(self) -> np.ndarray:
        """Return bool [N]: classified correctly."""
        return np.asarray(self.answers == self.sample.labels)


@dataclass(eq=False)
class Explained:
    """The images, their predictions and the methods of one run. Build it with `Explained.of`."""

    inputs: AuditInputs
    settings: ExplainabilitySettings
    sample: ImageDataset
    probe: ImageDataset
    effort: Effort
    slices: Slices

    @classmethod
    def of(cls, inputs: AuditInputs, settings: ExplainabilitySettings) -> Explained:
        """Draw the images, the probe images among them and the backgrounds."""
        sample = inputs.test.sample(settings.images, inputs.seed)
        probe = sample.sample(settings.probe_images, inputs.seed)
        batch = BatchSize(settings.batch)
        source = inputs.test if inputs.train is None else inputs.train
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

    def maps(
        self, classifier: Classifier, name: str, images: np.ndarray, classes: np.ndarray, ids: np.ndarray
    ) -> np.ndarray:
        """Return the maps of a method, float32 [M, H, W]. images: uint8 or float32 in 0..1, [M, H, W, C]."""
        return explainer(name)(classifier, as_floats(images), classes, ids, self.effort)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Return pixels as float32 in 0..1."""
    return images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images


def measure(inputs: AuditInputs, settings: ExplainabilitySettings) -> Measured:
    """Predict a sample of the test images, explain the predictions by each method, and measure the maps."""
    run = Explained.of(inputs, settings)
    chosen = settings.methods if is_differentiable(inputs.classifier) else settings.methods_without_gradient
    total = 2 * len(chosen) + 2
    inputs.progress("clean images", 0, total)
    answers, confidence = _predicted(run)
    controls = {name: _control(run, answers, name) for name in CONTROLS}
    levels, layers = _levels(run)
    methods = []
    for number, name in enumerate(chosen):
        title = ROWS[name].title.lower()
        inputs.progress(f"maps of {title}", 1 + 2 * number, total)
        try:
            maps = _maps(run, answers, name)
            inputs.progress(f"checks of {title}", 2 + 2 * number, total)
            methods.append(replace(maps, **_checks(run, answers, name, levels)))
        except NotApplicable as error:
            methods.append(Maps(name, str(error)))
    inputs.progress("other surroundings", total - 1, total)
    surroundings, donated = _surroundings(run)
    inputs.progress("other surroundings", total, total)
    return Measured(
        sample=run.sample,
        probe=run.probe,
        answers=answers,
        confidence=confidence,
        area=None if run.inside is None else box_area(run.inside),
        probe_area=None if run.inside is None else box_area(run.inside[run.probe_rows]),
        methods=methods,
        controls=controls,
        surroundings=surroundings,
        donated=donated,
        corruptions=run.corruptions,
        levels=levels,
        layers=layers,
        slices=run.slices,
    )


def explained_classes(answers: np.ndarray) -> np.ndarray:
    """Return the class whose logit is explained, int64 [N]: the predicted one, or class 0 where there is no answer."""
    return np.where(answers == NO_ANSWER, 0, answers).astype(np.int64)


def _predicted(run: Explained) -> tuple[np.ndarray, np.ndarray]:
    sample = run.sample

    def compute(rows: slice) -> Arrays:
        return {"logits": np.asarray(run.inputs.classifier.predict_logits(sample.images[rows]), np.float32)}

    columns = {"images": sample.images, "ids": numbers(sample)}
    logits = run.slices.measure("clean", columns, {}, {"logits": ("float32", (sample.classes,))}, compute)[
        "logits"
    ]
    predicted = predictions(logits)
    return predicted.classes, predicted.probabilities.max(axis=1)


def _columns(run: Explained, answers: np.ndarray) -> dict[str, np.ndarray]:
    columns = {"images": run.sample.images, "ids": numbers(run.sample), "answers": answers}
    return columns if run.inside is None else {**columns, "inside": run.inside}


def _maps(run: Explained, answers: np.ndarray, name: str) -> Maps:
    """Explain every image of the sample by one method."""
    sample, ids, classes = run.sample, numbers(run.sample), explained_classes(answers)
    integrated = name == "integrated_gradients"

    def compute(rows: slice) -> Arrays:
        images = as_floats(sample.images[rows])
        maps = run.maps(run.inputs.classifier, name, images, classes[rows], ids[rows])
        count = len(images)
        mapped = has_map(maps) & (answers[rows] != NO_ANSWER)
        measured: Arrays = {"mapped": mapped, "inside": np.full(count, np.nan), "hits": np.zeros(count, bool)}
        measured |= {"iou": np.full(count, np.nan), "error": np.full(count, np.nan)}
        if run.inside is not None:
            box = run.inside[rows]
            measured["inside"] = np.where(mapped, box_energy(maps, box), np.nan)
            measured["hits"] = pointing_hits(maps, box) & mapped
            measured["iou"] = np.where(mapped, box_iou(maps, box), np.nan)
        if integrated:
            measured["error"] = _completeness(run, images, classes[rows], maps)
        areas = curve_areas(
            run.inputs.classifier,
            images,
            classes[rows],
            maps,
            run.settings.curve_points,
            run.effort.seed,
            ids[rows],
        )
        return {**measured, "insertion": areas[0], "deletion": areas[1]}

    numbers_of = ("inside", "iou", "error", "insertion", "deletion")
    form: Form = {"mapped": ("bool", ()), "hits": ("bool", ()), **dict.fromkeys(numbers_of, ("float64", ()))}
    row = ROWS[name]
    return Maps(
        name,
        **run.slices.measure(
            f"maps-{_item(name)}", _columns(run, answers), _parts(run), form, compute, cost=_cost(run, row, 1)
        ),
    )


def _completeness(run: Explained, images: np.ndarray, classes: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return by how much the sum of each map misses the change of the logit, as a share of the change, float64 [M].

    The logits are those of the model that gives the gradients.
    """
    from safeml.explainers.integrated_gradients import baselines

    model = getattr(run.inputs.classifier, "gradients", run.inputs.classifier)
    rows = np.arange(len(images))
    here = np.asarray(model.predict_logits(images))[rows, classes].astype(np.float64)
    start = np.asarray(model.predict_logits(np.array(baselines(images))))[rows, classes].astype(np.float64)
    change = here - start
    missed = np.abs(maps.sum(axis=(1, 2), dtype=np.float64) - change)
    return np.where(change != 0, missed / np.where(change != 0, np.abs(change), 1.0), np.nan)


def _control(run: Explained, answers: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas under the curves of a map that knows nothing of the model."""
    sample, ids, classes = run.sample, numbers(run.sample), explained_classes(answers)
    height, width = sample.images.shape[1:3]

    def compute(rows: slice) -> Arrays:
        images = as_floats(sample.images[rows])
        if name == "centre":
            maps = np.broadcast_to(centre_map(height, width), (len(images), height, width))
        else:
            maps = np.stack(
                [
                    np.random.default_rng([run.effort.seed, RANDOM_MAP, int(i)]).random((height, width))
                    for i in ids[rows]
                ]
            )
        areas = curve_areas(
            run.inputs.classifier,
            images,
            classes[rows],
            maps,
            run.settings.curve_points,
            run.effort.seed,
            ids[rows],
        )
        return {"insertion": areas[0], "deletion": areas[1]}

    form: Form = {"insertion": ("float64", ()), "deletion": ("float64", ())}
    cost = Cost(passes=2 * run.settings.curve_points)
    arrays = run.slices.measure(
        f"control-{name}", _columns(run, answers), _parts(run), form, compute, cost=cost
    )
    return arrays["insertion"], arrays["deletion"]


def _levels(run: Explained) -> tuple[tuple[int, ...], int]:
    """Return the number of shuffled layers at each level, and of all layers; none where the weights cannot be reached."""
    classifier = run.inputs.classifier
    if isinstance(classifier, NoModel):
        return (
            tuple(range(1, run.settings.levels + 1)) if is_differentiable(classifier) else ()
        ), run.settings.levels
    own = network_of(classifier)
    if own is None:
        return (), 0
    layers = len(weighted_layers(own.model.network))
    return (tuple(cascade(layers, run.settings.levels)) if layers else ()), layers


def _checks(run: Explained, answers: np.ndarray, name: str, levels: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Explain the probe images again: with shuffled weights, for another class, with noise and under corruptions."""
    probe, ids = run.probe, numbers(run.probe)
    own = explained_classes(answers)[run.probe_rows]
    columns = {"images": probe.images, "ids": ids, "answers": own}
    row = ROWS[name]

    def against(item: str, width: int, compute: Callable[[slice, np.ndarray], np.ndarray]) -> np.ndarray:
        """Measure P x width correlations, each with the first map of the image."""

        def arrays(rows: slice) -> Arrays:
            first = run.maps(run.inputs.classifier, name, probe.images[rows], own[rows], ids[rows])
            return {"similarity": np.asarray(compute(rows, first), np.float64).reshape(len(first), width)}

        form: Form = {"similarity": ("float64", (width,))}
        item = f"{item}-{_item(name)}"
        cost = _cost(run, row, 1 + width)
        return run.slices.measure(item, columns, _parts(run), form, arrays, cost=cost)["similarity"]

    def other_class(rows: slice, first: np.ndarray) -> np.ndarray:
        other = [
            _other(run, int(label), int(identity))
            for label, identity in zip(own[rows], ids[rows], strict=True)
        ]
        return rank_correlations(
            first, run.maps(run.inputs.classifier, name, probe.images[rows], np.array(other), ids[rows])
        )

    def changed(rows: slice, first: np.ndarray) -> np.ndarray:
        images = as_floats(probe.images[rows])
        noise = [
            np.random.default_rng([run.effort.seed, NOISY, int(i)]).standard_normal(images.shape[1:])
            for i in ids[rows]
        ]
        forms = [np.clip(images + np.float32(SMALL_NOISE) * np.stack(noise).astype(np.float32), 0, 1)]
        forms += [
            corrupt(probe.images[rows], c, SEVERITY, run.effort.seed, ids[rows]) for c in run.corruptions
        ]
        return np.stack([_still(run, name, form, own[rows], ids[rows], first) for form in forms], axis=1)

    one_class = probe.classes < 2
    repeats = (
        [(count, 0) for count in levels] + [(levels[-1], repeat) for repeat in range(1, REPEATS)]
        if levels
        else []
    )
    models = [_shuffled(run, name, columns, own, *level) for level in repeats]
    empty = np.zeros((len(probe), 0))
    return {
        "weights": np.concatenate([model[0] for model in models[: len(levels)]] or [empty], axis=1),
        "alone": np.concatenate([model[1] for model in models[len(levels) - 1 :]] or [empty], axis=1)
        if levels
        else empty,
        "other_class": np.full(len(probe), np.nan) if one_class else against("class", 1, other_class)[:, 0],
        "changed": against("changed", 1 + len(run.corruptions), changed),
    }


def _shuffled(
    run: Explained, name: str, columns: dict[str, np.ndarray], own: np.ndarray, count: int, repeat: int
) -> tuple[np.ndarray, np.ndarray]:
    """Explain a model with `count` shuffled layers: float64 [P, 1] each.

    Returns the rank correlation of the size of its maps with those of the model, and the share of their energy on the sign.
    """
    ids = columns["ids"]
    box = None if run.inside is None else run.inside[run.probe_rows]
    if box is not None:
        columns = {**columns, "inside": box}
    model: list[Classifier] = []

    def arrays(rows: slice) -> Arrays:
        if not model:
            names = run.sample.class_names
            model.append(
                shuffled(run.inputs.classifier, run.inputs.contract, names, count, run.effort.seed, repeat)
            )
        images = columns["images"][rows]
        first, second = (
            run.maps(c, name, images, own[rows], ids[rows]) for c in (run.inputs.classifier, model[0])
        )
        inside = np.full(len(first), np.nan) if box is None else box_energy(second, box[rows])
        return {
            "similarity": rank_correlations(np.abs(first), np.abs(second))[:, None],
            "inside": inside[:, None],
        }

    form: Form = {"similarity": ("float64", (1,)), "inside": ("float64", (1,))}
    parts = {**_parts(run), "layers": count, "repeat": repeat}
    cost = _cost(run, ROWS[name], 2)
    made = run.slices.measure(f"shuffled-{_item(name)}", columns, parts, form, arrays, cost=cost)
    return made["similarity"], made["inside"]


def _still(
    run: Explained, name: str, images: np.ndarray, classes: np.ndarray, ids: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """Return the correlation of the first maps with those of changed images; NaN where the predicted class changed."""
    logits = np.asarray(run.inputs.classifier.predict_logits(images))
    same = predictions(logits).classes == classes
    again = run.maps(run.inputs.classifier, name, images, classes, ids)
    return np.where(same, rank_correlations(first, again), np.nan)


def _other(run: Explained, label: int, identity: int) -> int:
    """Return another class than `label`, at random."""
    rng = np.random.default_rng([run.effort.seed, OTHER_CLASS, identity])
    return int((label + rng.integers(1, run.sample.classes)) % run.sample.classes)


def _surroundings(run: Explained) -> tuple[dict[str, np.ndarray] | None, np.ndarray | None]:
    """Predict each image with other surroundings, and its surroundings alone."""
    sample, inside = run.sample, run.inside
    if inside is None:
        return None, None
    ids = numbers(sample)
    rows_of_donors = donors(sample, ids, inside, run.effort.seed)
    donated = np.asarray(rows_of_donors >= 0)
    others = sample.images[np.maximum(rows_of_donors, 0)]

    def compute(rows: slice) -> Arrays:
        hits = {}
        for form in FORMS:
            images = changed_surroundings(sample.images[rows], inside[rows], others[rows], form)
            logits = np.asarray(run.inputs.classifier.predict_logits(images))
            hits[form] = np.asarray(predictions(logits).classes == sample.labels[rows])
        return hits

    columns = {
        "images": sample.images,
        "ids": ids,
        "inside": inside,
        "others": others,
        "labels": sample.labels,
    }
    form: Form = dict.fromkeys(FORMS, ("bool", ()))
    return run.slices.measure(
        "surroundings", columns, {}, form, compute, cost=Cost(passes=len(FORMS))
    ), donated


def _item(name: str) -> str:
    return name.replace("_", "-")


def _parts(run: Explained) -> dict[str, object]:
    """Return what a slice depends on beside its columns."""
    settings = run.settings.model_dump(
        mode="json",
        exclude={"enabled", "bootstrap", "images", "probe_images", "methods", "methods_without_gradient"},
    )
    return {**settings, "backgrounds": run.backgrounds_content, "corruptions": list(run.corruptions)}


def _cost(run: Explained, row: ExplainerRow, maps: int) -> Cost:
    passes = row.passes(run.settings)
    if row.gradient:
        return Cost(steps=passes * maps, attempts=1, graph="linf", passes=0)
    return Cost(passes=maps * passes)


__all__ = [
    "NOISE",
    "Explained",
    "Maps",
    "Measured",
    "NotApplicable",
    "as_floats",
    "explained_classes",
    "measure",
]
