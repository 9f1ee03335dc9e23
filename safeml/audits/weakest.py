"""The weakest of several groups, with an interval that accounts for the selection of the group by its result.

Legend: N images, G groups.
"""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.results import Metric
from safeml.statistics import proportion_metric

LEVEL = 0.95
METHOD = (
    "low: the smallest of the groups' own 95 % lower ends, which every group clears without correction "
    "(intersection-union test, R. L. Berger 1982); high: the smallest upper end at Bonferroni level over {groups} groups"
)


def group_recall(
    dataset: ImageDataset, hits: np.ndarray, member: np.ndarray, title: str, where: str, level: float = LEVEL
) -> Metric:
    """Return the recall of the images in `member` (bool [N]) as the slice `where`; hits: bool [N], correctly classified."""
    return proportion_metric(
        "recall",
        title,
        hits[member],
        clustering=dataset.clustering.take(member),
        slice=where,
        level=level,
    )


def weakest_recall(
    name: str, title: str, dataset: ImageDataset, hits: np.ndarray, members: dict[str, np.ndarray]
) -> Metric:
    """Return the smallest recall of G >= 1 groups as a metric.

    hits: bool [N], correctly classified. members: group name -> bool [N].
    Undefined if a group has no image, because its recall could be the smallest. Without an interval if a group has none.
    `n` and `signs` are those of the weakest group. The true minimum is below the lower end in at most 2.5 % of samples
    (the interval of that group alone), and above the upper end in at most 2.5 % (union bound over the groups).
    """
    own = {group: group_recall(dataset, hits, member, group, group) for group, member in members.items()}
    empty = [group for group, metric in own.items() if metric.value is None]
    if empty:
        reason = f"recall is undefined for {_listed(empty)} ({own[empty[0]].reason})"
        return Metric.undefined(name, title, reason)
    level = 1 - (1 - LEVEL) / len(members)
    wide = [group_recall(dataset, hits, member, group, group, level) for group, member in members.items()]
    weakest = min(
        own.values(), key=lambda metric: (metric.value, metric.low if metric.low is not None else 0.0)
    )
    lows = [metric.low for metric in own.values() if metric.low is not None]
    highs = [metric.high for metric in wide if metric.high is not None]
    complete = len(lows) == len(highs) == len(members)
    return weakest.model_copy(
        update={
            "name": name,
            "title": title,
            "slice": "all",
            "low": min(lows) if complete else None,
            "high": min(highs) if complete else None,
            "method": f"weakest: {weakest.title}; {METHOD.format(groups=len(members))}; {weakest.method}",
        }
    )


def _listed(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
