"""Leakage: images and physical signs that the test set shares with the training and validation data.

Legend: N images. The splits are called test, train and valid.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from safeml.audits.balance.split import Split
from safeml.data.dataset import RECOVERED
from safeml.metrics.duplicates import (
    NO_COPY,
    earlier_copies,
    first_copies,
    with_another_label,
)
from safeml.results import Column, Finding, Metric, Scalar, Table
from safeml.wording import counted

ROWS = 200


def leakage_metrics(splits: list[Split]) -> list[Metric]:
    """Count the test images and sign tracks that are also in train or valid, overall and by split.

    splits: the test set first. The overall counts are undefined without training data. The count of sign tracks is also
    undefined unless every split uses the same track ids.
    """
    test, others = splits[0], splits[1:]
    known = any(split.role == "train" for split in others)
    absent = "no [data.train] is configured, so overlap with the training data is unknown"
    metrics = [_duplicates_within(test)]
    for name, title, measure in (
        ("shared_duplicates", "Test images also in another split", _shared_images),
        ("shared_tracks", "Test sign tracks also in another split", _shared_signs),
    ):
        metrics.append(
            measure(name, title, test, others, "all") if known else _uncounted(name, title, absent, "all")
        )
        metrics += [
            measure(name, f"{title}: {split.role}", test, [split], f"split:{split.role}") for split in others
        ]
        if not known:
            metrics.append(_uncounted(name, f"{title}: train", absent, "split:train"))
    return metrics


def copies_table(splits: list[Split]) -> Table:
    """List every image that is byte-identical to one of another split, or to an earlier test image."""
    rows: list[list[Scalar]] = []
    for first, second in combinations(splits, 2):
        rows += _copy_rows(first, second, first_copies(first.digests, second.digests))
    rows += _copy_rows(splits[0], splits[0], earlier_copies(splits[0].digests))
    text = {"split": "Split", "id": "Image", "class": "Class"}
    return Table(
        id="copies",
        title="Byte-identical images",
        columns=[
            *(
                Column(key=key, label=label, kind="id" if key == "id" else "text")
                for key, label in text.items()
            ),
            *(
                Column(
                    key=f"other_{key}", label=f"Other {label.lower()}", kind="id" if key == "id" else "text"
                )
                for key, label in text.items()
            ),
            Column(key="labels", label="Labels"),
        ],
        rows=rows[:ROWS],
        caption=f"{min(len(rows), ROWS)} of {counted(len(rows), 'pair')}; of several identical images in the "
        "other split, the first is listed. "
        "Image: its number in the source.",
    )


def leakage_findings(splits: list[Split], leaks: list[Metric]) -> list[Finding]:
    """Report copies, shared sign tracks (`leaks`, from `leakage_metrics`) and contradictory labels."""
    findings = []
    for split in splits[1:]:
        where = f"split:{split.role}"
        for metric in (metric for metric in leaks if metric.slice == where and metric.value):
            what = "image" if metric.name == "shared_duplicates" else "sign"
            findings.append(
                Finding(
                    code=f"{metric.name.replace('_', '-')}-{split.role}",
                    severity="serious",
                    message=f"{counted(int(metric.value or 0), what)} of the test set are also in the {split.role} split.",
                    remedy="Remove them from one of the two splits, then run the audit again.",
                    evidence={"shared": int(metric.value or 0), "test": metric.n},
                )
            )
    digests = np.concatenate([split.digests for split in splits])
    labels = np.concatenate([_names(split) for split in splits])
    conflicts = int(with_another_label(digests, np.unique(labels, return_inverse=True)[1]).sum())
    if conflicts:
        findings.append(
            Finding(
                code="contradicting-labels",
                severity="serious",
                message=f"{counted(conflicts, 'image')} in all splits have a byte-identical copy with another label.",
                remedy="Correct the labels: at least one of each pair is incorrect.",
                evidence={"images": conflicts},
            )
        )
    return findings


def _duplicates_within(test: Split) -> Metric:
    copies = int((earlier_copies(test.digests) != NO_COPY).sum())
    return Metric.count("test_duplicates", "Test images that repeat an earlier one", copies, len(test.data))


def _shared_images(name: str, title: str, test: Split, others: list[Split], where: str) -> Metric:
    shared = np.isin(test.digests, np.concatenate([split.digests for split in others]))
    return Metric.count(name, title, int(shared.sum()), len(test.data), slice=where)


def _shared_signs(name: str, title: str, test: Split, others: list[Split], where: str) -> Metric:
    shared: set[int] = set()
    for split in [test, *others]:
        if split.data.tracks is None:
            return _uncounted(name, title, f"the {split.role} split has no track ids", where)
        if split.data.tracks_origin == RECOVERED:
            reason = f"the tracks of the {split.role} split are recovered from pixels, and their numbers mean nothing in another split"
            return _uncounted(name, title, reason, where)
    classes = _class_of_track(test)
    for split in others:
        both = {track: name for track, name in _class_of_track(split).items() if track in classes}
        apart = sum(classes[track] != other for track, other in both.items())
        if apart:
            reason = f"{counted(apart, 'track number')} of test and {split.role} belong to different classes, so the two splits number their tracks independently"
            return _uncounted(name, title, reason, where)
        shared |= set(both)
    return Metric.count(name, title, len(shared), len(classes), slice=where)


def _class_of_track(split: Split) -> dict[int, str]:
    """Return the class name of each track of a split with track ids."""
    tracks, first = (
        np.unique(split.data.tracks, return_index=True) if split.data.tracks is not None else ((), ())
    )
    return {
        int(track): split.data.class_names[split.data.labels[row]]
        for track, row in zip(tracks, first, strict=True)
    }


def _names(split: Split) -> np.ndarray:
    names: np.ndarray = np.array(split.data.class_names)[split.data.labels]
    return names


def _copy_rows(one: Split, two: Split, copies: np.ndarray) -> list[list[Scalar]]:
    rows: list[list[Scalar]] = []
    for index in np.flatnonzero(copies != NO_COPY).tolist():
        here, there = one.place(index), two.place(int(copies[index]))
        rows.append([*here, *there, "agree" if here[-1] == there[-1] else "differ"])
    return rows


def _uncounted(name: str, title: str, reason: str, where: str) -> Metric:
    return Metric.undefined(name, title, reason, direction="down", unit="count", slice=where)
