"""Near duplicates within and between splits, as counts and as pictures. Legend: N images of a split, M of another.

Byte-identical images are counted by their digests; all others by correlation (`safeml.metrics.near_duplicates`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from safeml.audits.balance.split import Split
from safeml.audits.base import AuditInputs
from safeml.audits.gallery import panel
from safeml.audits.slices import Slices, numbers
from safeml.metrics.duplicates import NO_COPY, earlier_copies, first_copies
from safeml.metrics.near_duplicates import LEAST_SIDE, SIMILAR, Prints, nearest_copies, prints
from safeml.results import Column, Finding, Gallery, GalleryItem, Metric, Scalar, Table
from safeml.sealed import Arrays
from safeml.wording import counted, number, percent

SLICE = 4096
PICTURED = 12
METRIC, TITLE = "near_duplicates", "Test images with a near or identical copy in"


@dataclass(frozen=True, eq=False)
class Near:
    """The copies of the images of one split in another, or in itself.

    copies: int64 [N], row of the most similar copy in `two`, or NO_COPY; None if the splits were not compared.
    similar: float32 [N], their correlation; 1 for byte-identical images.
    identical: bool [N], the copy is byte-identical.
    reason: why they were not compared, as a clause.
    """

    one: Split
    two: Split
    copies: np.ndarray | None
    similar: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    identical: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    reason: str = ""

    @property
    def within(self) -> bool:
        """Return whether a split is compared with itself."""
        return self.one is self.two

    @property
    def rows(self) -> np.ndarray:
        """Return the rows of `one` with a copy, int64 [C]."""
        return np.zeros(0, np.int64) if self.copies is None else np.flatnonzero(self.copies != NO_COPY)


@dataclass(eq=False)
class Search:
    """Searches pairs of splits; the images of a split are reduced once, and only if a result is not stored.

    most: splits of more images are not compared.
    only_identical: find byte-identical images alone, for a plan: the best case is that there are no other copies.
    """

    inputs: AuditInputs
    most: int
    only_identical: bool = False
    _prints: dict[int, Prints] = field(default_factory=dict)

    def pair(self, one: Split, two: Split) -> Near:
        """Return the copies of the images of `one` in `two`."""
        reason = self._reason(one) or self._reason(two)
        if reason:
            return Near(one, two, None, reason=reason)
        within = one is two
        same = earlier_copies(one.digests) if within else first_copies(one.digests, two.digests)
        identical = same != NO_COPY
        if self.only_identical:
            return Near(one, two, same, identical.astype(np.float32), identical)
        step = f"near duplicates of {one.role} in {two.role}"

        def compute(rows: slice) -> Arrays:
            copies, similar = nearest_copies(
                self._of(one),
                self._of(two),
                rows,
                within,
                lambda done: self.inputs.progress(step, rows.start + done, len(one.data)),
            )
            return {"copies": copies, "similar": similar}

        slices = Slices(self.inputs.work, SLICE, {})
        found = slices.measure(
            f"near-{one.role}-{two.role}",
            {"images": one.data.images, "ids": numbers(one.data)},
            {"other": two.data.pixels_fingerprint},
            {"copies": ("int64", ()), "similar": ("float32", ())},
            compute,
        )
        return Near(
            one,
            two,
            np.where(identical, same, found["copies"]),
            np.where(identical, np.float32(1), found["similar"]),
            identical,
        )

    def _of(self, split: Split) -> Prints:
        if id(split) not in self._prints:
            self._prints[id(split)] = prints(split.data.images)
        return self._prints[id(split)]

    def _reason(self, split: Split) -> str:
        """Return why near duplicates of a split cannot be searched for, as a clause; "" if they can."""
        height, width = split.data.images.shape[1:3]
        if min(height, width) < LEAST_SIDE:
            return f"the {split.role} images have {height} x {width} pixels, and the search needs sides of at least {LEAST_SIDE}"
        if len(split.data) > self.most:
            return f"the {split.role} split has {number(len(split.data))} images, more than most_images = {number(self.most)}"
        return ""


def all_pairs(search: Search, splits: list[Split]) -> list[Near]:
    """Compare every two splits, and each with itself."""
    pairs = [search.pair(one, two) for one, two in combinations(splits, 2)]
    return [*pairs, *(search.pair(split, split) for split in splits)]


def near_metrics(pairs: list[Near], test: Split) -> list[Metric]:
    """Return the share of test images with a copy in train, in valid, and among the other test images."""
    return [_metric(pairs, test, role) for role in ("train", "valid", "test")]


def _metric(pairs: list[Near], test: Split, role: str) -> Metric:
    where = f"split:{role}"
    title = f"{TITLE} {role}" if role != "test" else "Test images with a near or identical copy in test"
    near = next((pair for pair in pairs if pair.one is test and pair.two.role == role), None)
    if near is None or near.copies is None:
        reason = f"no [data.{role}] is configured" if near is None else near.reason
        return Metric.undefined(METRIC, title, reason, direction="down", slice=where, n=len(test.data))
    share = len(near.rows) / len(test.data)
    method = f"complete count; correlation of at least {SIMILAR:g} at shifts of at most one pixel in 32, or identical pixels"
    return Metric.count(METRIC, title, share, len(test.data), unit="proportion", slice=where, method=method)


def near_table(pairs: list[Near]) -> Table:
    """Count the images with a near duplicate by pair of splits."""
    rows: list[list[Scalar]] = []
    for near in pairs:
        if near.copies is None:
            rows.append([near.one.role, near.two.role, None, None, None, None])
            continue
        images, copies = near.rows, near.copies[near.rows]
        names = [np.array(split.data.class_names)[split.data.labels] for split in (near.one, near.two)]
        other = int((names[0][images] != names[1][copies]).sum())
        rows.append(
            [
                near.one.role,
                near.two.role,
                len(images),
                int(near.identical[images].sum()),
                other,
                _across_tracks(near),
            ]
        )
    return Table(
        id="near-copies",
        title="Images with a near or identical copy",
        columns=[
            Column(key="split", label="Images of"),
            Column(key="other", label="with a copy in"),
            Column(key="near", label="Images", kind="number"),
            Column(key="identical", label="of these identical", kind="number"),
            Column(key="class", label="of another class", kind="number"),
            Column(key="track", label="of another sign track", kind="number"),
        ],
        rows=rows,
        caption="Each image counts once, with its most similar copy. Within a split, frames of one sign track are near duplicates by "
        "nature; copies of another track are not. An empty cell was not compared.",
    )


def _across_tracks(near: Near) -> Scalar:
    """Count the copies of another sign track within a split; None where that is not known or another split is concerned."""
    tracks = near.one.data.tracks
    if not near.within or tracks is None or near.copies is None:
        return None
    images = near.rows
    return int((tracks[images] != tracks[near.copies[images]]).sum())


def near_gallery(pairs: list[Near]) -> Gallery | None:
    """Picture the copies between splits, each original once with its most similar copy; None without a copy.

    In the order of the pairs, so that test images are first; most similar first, identical ones last.
    """
    ranked = sorted(
        (order, bool(near.identical[row]), -float(near.similar[row]), int(row))
        for order, near in enumerate(pairs)
        if not near.within
        for row in near.rows
    )
    if not ranked:
        return None
    seen: set[tuple[int, int]] = set()
    items: list[GalleryItem] = []
    for order, _, _, row in ranked:
        copies = pairs[order].copies
        assert copies is not None
        original = (order, int(copies[row]))
        if original not in seen and len(items) < PICTURED:
            seen.add(original)
            items.append(_item(pairs[order], row))
    return Gallery(
        id="near-copies-pictures",
        title="Images with a near or identical copy in another split",
        items=items,
        caption=f"{len(items)} of {counted(len(ranked), 'image')}, each original once, test images first, most similar first, identical ones "
        "last. Two frames of one sign are a leak; two signs that look alike are not. Decide by eye.",
    )


def _item(near: Near, row: int) -> GalleryItem:
    assert near.copies is not None
    copy = int(near.copies[row])
    here, there = near.one.place(row), near.two.place(copy)
    return GalleryItem(
        panels=[
            panel(f"{here[0]} #{here[1]}", near.one.data.images[row]),
            panel(f"{there[0]} #{there[1]}", near.two.data.images[copy]),
        ],
        true_name=here[2],
        predicted_name="" if here[2] == there[2] else there[2],
        note="identical pixels" if near.identical[row] else f"correlation {near.similar[row]:.4f}",
    )


def near_findings(pairs: list[Near], metrics: list[Metric]) -> list[Finding]:
    """Report copies between splits, copies with another label, and what was not compared."""
    findings = [
        Finding(
            code=f"near-duplicates-{metric.slice.partition(':')[2]}",
            severity="serious",
            message=f"{counted(round(metric.value * metric.n), 'test image')} ({percent(metric.value)}) "
            f"{'has' if round(metric.value * metric.n) == 1 else 'have'} a near or identical copy in the {metric.slice.partition(':')[2]} split.",
            remedy="Look at the pictures; remove the copies, or the whole sign, from one of the two splits.",
            evidence={"images": round(metric.value * metric.n), "test": metric.n},
        )
        for metric in metrics
        if metric.value and metric.slice != "split:test"
    ]
    for near in pairs:
        if near.copies is None:
            words = "within" if near.within else f"in {near.two.role} of"
            findings.append(
                Finding(
                    code="near-duplicates-skipped",
                    severity="warning",
                    message=f"Near duplicates {words} {near.one.role} were not searched for: {near.reason}.",
                    remedy="Run the full profile, raise most_images in [stages.data_quality], or read the data at a larger size.",
                )
            )
            continue
        names = [np.array(split.data.class_names)[split.data.labels] for split in (near.one, near.two)]
        images = near.rows
        other = int((names[0][images] != names[1][near.copies[images]]).sum())
        if other:
            place = f"within {near.one.role}" if near.within else f"of {near.one.role} and {near.two.role}"
            findings.append(
                Finding(
                    code="near-duplicates-of-another-class",
                    severity="warning",
                    message=f"{counted(other, 'near duplicate')} {place} {'has' if other == 1 else 'have'} another label than the copy.",
                    remedy="Correct the labels: at least one of each pair is incorrect, unless two classes look alike.",
                    evidence={"images": other},
                )
            )
    return findings
