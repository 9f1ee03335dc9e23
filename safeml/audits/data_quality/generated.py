"""Generated images, which may train a model but not judge it. Legend: N images.

They are those that the table `generated` of a split lists (`safeml.data.image_tables`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from safeml.audits.balance.split import Split
from safeml.audits.data_quality.near import Near, Search
from safeml.results import Finding, Metric
from safeml.wording import counted

IMAGES, COPIES = "generated_images", "generated_copies"
WHAT = {"test": "judge the model", "valid": "choose its checkpoint"}


@dataclass(frozen=True, eq=False)
class Generated:
    """Metrics, findings, and the test images beside the generated images that they resemble."""

    metrics: list[Metric]
    findings: list[Finding]
    near: Near | None


def generated_images(splits: list[Split], search: Search) -> Generated:
    """Count the generated images in test and valid, and the test images that resemble a generated training image."""
    by_role = {split.role: split for split in splits}
    metrics = [_marked(role, by_role.get(role)) for role in ("test", "valid")]
    copies, near = _copies(splits[0], by_role.get("train"), search)
    findings = [
        Finding(
            code=f"generated-{role}",
            severity="serious",
            message=f"{counted(int(metric.value), 'image')} of {role} {'was' if metric.value == 1 else 'were'} generated, and {WHAT[role]}.",
            remedy=f"Remove generated images from [data.{role}]; use photographs only.",
            evidence={"images": int(metric.value), "of": metric.n},
        )
        for role, metric in zip(("test", "valid"), metrics, strict=True)
        if metric.value
    ]
    if copies.value:
        findings.append(
            Finding(
                code="generated-copies",
                severity="serious",
                message=f"{counted(int(copies.value), 'test image')} {'is a' if copies.value == 1 else 'are'} near "
                f"{'duplicate' if copies.value == 1 else 'duplicates'} of generated training images.",
                remedy="Generate images from training data only, and remove these.",
                evidence={"images": int(copies.value), "test": copies.n},
            )
        )
    return Generated([*metrics, copies], findings, near)


def _marked(role: str, split: Split | None) -> Metric:
    title, where = f"Generated images in {role}", f"split:{role}"
    n = 0 if split is None else len(split.data)
    if split is None or split.data.generated is None:
        missing = f"no [data.{role}] is configured" if split is None else _unlisted(role)
        return Metric.undefined(IMAGES, title, missing, direction="down", unit="count", slice=where, n=n)
    return Metric.count(IMAGES, title, int(split.data.generated.sum()), n, slice=where)


def _copies(test: Split, train: Split | None, search: Search) -> tuple[Metric, Near | None]:
    title = "Test images near a generated training image"

    def undefined(reason: str) -> tuple[Metric, None]:
        return Metric.undefined(COPIES, title, reason, direction="down", unit="count", n=len(test.data)), None

    if train is None:
        return undefined("no [data.train] is configured")
    if train.data.generated is None:
        return undefined(_unlisted("train"))
    rows = np.flatnonzero(train.data.generated)
    if not len(rows):
        return Metric.count(COPIES, title, 0, len(test.data)), None
    part = replace(train, role="generated", data=train.data.take(rows), digests=train.digests[rows])
    near = search.pair(test, part)
    if near.copies is None:
        return undefined(near.reason)
    return Metric.count(COPIES, title, len(near.rows), len(test.data)), near


def _unlisted(role: str) -> str:
    return f"no table of generated images is set in [data.{role}]"
