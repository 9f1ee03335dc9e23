"""The columns by which test images are grouped, and where their edges come from. Legend: N images, H W C pixels, G groups.

A column never depends on a prediction, and its edges never on the test images, so neither can hide a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.data.dataset import ImageDataset
from safeml.data.group_table import RESERVED
from safeml.data.groups import THIRDS, pixel_measures
from safeml.data.signs import CRITICAL_CLASSES, families
from safeml.errors import StageError
from safeml.stages.base import CONDITIONS, GROUPS
from safeml.statistics.between import Groups
from safeml.wording import counted, number

Kind = Literal["condition", "class", "user"]

# The names of the lowest, the middle and the highest third of each measure.
NAMES: dict[str, tuple[str, str, str]] = {
    **THIRDS,
    "size": ("small", "medium", "large"),
    "aspect": ("narrow", "square", "wide"),
}
# What is measured, and its unit.
MEASURES = {
    "brightness": ("mean luma", "of 255"),
    "contrast": ("standard deviation of luma", "of 255"),
    "blur": ("variance of the Laplacian of luma", ""),
    "size": ("shorter side of the original image", "pixels"),
    "aspect": ("width divided by height of the original image", ""),
}
# Without training and validation images: the thirds of the training images of GTSRB at 32 x 32 pixels, rounded. The variance of the
# Laplacian depends on the size of the images, so its edges serve that size alone.
FIXED: dict[str, tuple[float, float]] = {
    "brightness": (53.0, 99.0),
    "contrast": (25.0, 51.0),
    "blur": (390.0, 1560.0),
    "size": (36.0, 50.0),
    "aspect": (0.98, 1.026),
}
FIXED_SIDE = 32
FIXED_SOURCE = "the thirds of the training images of GTSRB (fixed)"
FAMILY, CRITICALITY = "family", "criticality"
CRITICAL = ("safety-critical", "other")
# The edges are quantiles, for which this many reference images are enough.
MOST_REFERENCE = 5000
MOST_GROUPS = 200
# The noun of a measure in a phrase, where it is not the name of the column.
NOUNS = {"blur": "sharpness"}
# An adjective that needs no noun.
PLAIN = {
    "dark",
    "bright",
    "blurred",
    "sharp",
    "small",
    "large",
    "narrow",
    "square",
    "wide",
    "safety-critical",
}


@dataclass(frozen=True)
class Edges:
    """Where the thirds of a measure are cut; a value on an edge belongs to the lower third.

    source: whose thirds they are.
    reason: a clause that says why the edges of other images are fixed; "" if there are no other images.
    """

    low: float
    high: float
    source: str
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Column:
    """A partition of the test images.

    kind: a condition of the image, a property of its class, or a column of the group file.
    groups: of the N images, in the order of the names.
    edges: of a measure.
    """

    name: str
    kind: Kind
    groups: Groups
    edges: Edges | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.groups.names

    def slice_of(self, group: str) -> str:
        """Return the slice of a group in the metrics: condition:brightness=dark; group:site=north."""
        return f"{GROUPS if self.kind == 'user' else CONDITIONS}{self.name}={group}"

    def phrase(self, group: str) -> str:
        """Return a group in words: dark; low contrast; site north."""
        if self.kind == "user":
            return f"{self.name} {group}"
        if self.name == CRITICALITY:
            return group if group in PLAIN else "not safety-critical"
        if self.name == FAMILY:
            return f"family {group}"
        return group if group in PLAIN else f"{group} {NOUNS.get(self.name, self.name)}"

    def bounds(self, group: str) -> str:
        """Return the range of a group's measure in words, or ""."""
        if self.edges is None:
            return ""
        place = NAMES[self.name].index(group)
        low, high = number(self.edges.low), number(self.edges.high)
        unit = MEASURES[self.name][1]
        text = (f"up to {low}", f"{low} to {high}", f"above {high}")[place]
        return f"{text} {unit}".rstrip()


def with_conditions(inputs: AuditInputs, edges: Mapping[str, Edges] | None = None) -> AuditInputs:
    """Return the inputs with a group column for each condition that the test images can be sorted by.

    edges: by default `edges_of` the inputs.
    """
    found = edges_of(inputs) if edges is None else edges
    values = measures(inputs.test)
    columns = {
        name: np.array(NAMES[name])[np.digitize(values[name], [edges.low, edges.high], right=True)]
        for name, edges in found.items()
    }
    test = inputs.test
    own = {name: column for name, column in test.groups.items() if name not in RESERVED or name == FAMILY}
    known = families(test.class_names)
    if known is not None:
        critical = np.isin(test.class_names, CRITICAL_CLASSES)
        columns = {FAMILY: np.array(known)[test.labels], **columns}
        columns[CRITICALITY] = np.where(critical[test.labels], *CRITICAL)
    return replace(inputs, test=replace(test, groups={**columns, **own}))


def edges_of(inputs: AuditInputs) -> dict[str, Edges]:
    """Return the edges of each measure that the test images have.

    They are the tertiles of the training images, else of the validation images, else fixed. Images of another size than the
    test images give no edges of brightness, contrast and blur; fixed edges of blur serve images of 32 x 32 pixels alone.
    """
    test = inputs.test
    here = measures(test.take(np.arange(1)))
    found: dict[str, Edges] = {}
    reasons: dict[str, str] = {}
    for role, reference in (("training", inputs.train), ("validation", inputs.valid)):
        if reference is None:
            continue
        sample = reference.sample(MOST_REFERENCE, 0)
        values = measures(sample)
        if reference.images.shape[1:3] != test.images.shape[1:3]:
            reasons |= dict.fromkeys(THIRDS, f"the {role} images have another size")
            values = {name: value for name, value in values.items() if name not in THIRDS}
        source = f"the thirds of {counted(len(sample), f'{role} image')}"
        for name in here:
            if name in values and name not in found:
                low, high = np.quantile(values[name], [1 / 3, 2 / 3])
                if low < high:
                    found[name] = Edges(float(low), float(high), source)
                else:
                    reasons[name] = f"both edges of the thirds of your {role} images have the same value"
    for name in here:
        if name not in found and (name != "blur" or test.images.shape[1:3] == (FIXED_SIDE, FIXED_SIDE)):
            found[name] = Edges(*FIXED[name], FIXED_SOURCE, reasons.get(name, ""))
    return {name: found[name] for name in NAMES if name in found}


def measures(data: ImageDataset) -> dict[str, np.ndarray]:
    """Return each measure of the images, float64 [N], that the data have."""
    found = pixel_measures(data.images)
    if data.original_size is not None:
        height, width = data.original_size[:, 0].astype(float), data.original_size[:, 1].astype(float)
        found["size"] = np.minimum(height, width)
        found["aspect"] = width / height
    return found


def columns_of(test: ImageDataset, edges: Mapping[str, Edges] | None = None) -> list[Column]:
    """Return the columns of test images `with_conditions`: conditions first, then class properties, then the user's by name.

    A group without images is left out. Raises StageError for a column of the user with too many groups.
    """
    conditions = [name for name in NAMES if name in test.groups]
    of_class = [name for name in (FAMILY, CRITICALITY) if name in test.groups]
    own = sorted(set(test.groups) - set(conditions) - set(of_class))
    kinds: list[tuple[str, Kind]] = [
        *((name, "condition") for name in conditions),
        *((name, "class") for name in of_class),
        *((name, "user") for name in own),
    ]
    return [_column(test, name, kind, (edges or {}).get(name)) for name, kind in kinds]


def _column(test: ImageDataset, name: str, kind: Kind, edges: Edges | None) -> Column:
    values = np.asarray(test.groups[name]).astype(str)
    present, codes = np.unique(values, return_inverse=True)
    order = NAMES.get(name, CRITICAL if name == CRITICALITY else tuple(present.tolist()))
    names = tuple(group for group in order if group in present)
    if len(names) > MOST_GROUPS:
        raise StageError(
            f"the group column {name} has {len(names):,} groups; expected at most {MOST_GROUPS}. Merge its groups, or remove the column."
        )
    place = np.array([names.index(group) for group in present.tolist()])
    return Column(name, kind, Groups(place[codes].astype(np.int64), names, test.clustering), edges)


def is_of_class(column: Column, labels: np.ndarray) -> bool:
    """Return whether all images of a class are in one group, so that the column compares classes. labels: int [N]."""
    pairs = np.unique(np.stack([labels, column.groups.codes], axis=1), axis=0)
    return len(np.unique(pairs[:, 0])) == len(pairs) and len(column.names) > 1
