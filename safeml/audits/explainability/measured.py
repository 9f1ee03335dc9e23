"""What the explainability stage measures. Legend: N images, P probe images, L levels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from safeml.audits.slices import Slices
from safeml.data.dataset import ImageDataset
from safeml.explainers.rows import ROWS, ExplainerRow


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
