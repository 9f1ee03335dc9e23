"""The weakest of several groups, with an interval that accounts for the selection of the group by its result.

Legend: N images, G groups.
"""

from __future__ import annotations

import numpy as np

from safeml.data.dataset import ImageDataset
from safeml.data.groups import DERIVED
from safeml.results import Metric
from safeml.stages.base import GROUPS
from safeml.statistics import proportion_metric

LEVEL = 0.95
METHOD = (
    "low: the smallest of the groups' own 95 % lower ends, which every group clears without correction "
    "(intersection-union test, R. L. Berger 1982); high: the smallest upper end at Bonferroni level over {count} {groups}"
)


def members(prefix: str, column: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images (bool [N]) of each value of a column (str [N]), as the prefix and the value."""
    return {f"{prefix}{value}": column == value for value in sorted(set(column.tolist()))}


def user_groups(dataset: ImageDataset) -> dict[str, np.ndarray]:
    """Return the images (bool [N]) of each value of the user's group columns, as `group:COLUMN=VALUE`."""
    return {
        group: member
        for column in sorted(set(dataset.groups) - set(DERIVED))
        for group, member in members(f"{GROUPS}{column}=", dataset.groups[column]).items()
    }


def group_recall(
    dataset: ImageDataset,
    hits: np.ndarray,
    member: np.ndarray,
    title: str,
    where: str,
    level: float = LEVEL,
    name: str = "recall",
) -> Metric:
    """Return the recall of the images in `member` (bool [N]) as the slice `where`; hits: bool [N], correctly classified."""
    return proportion_metric(
        name,
        title,
        hits[member],
        clustering=dataset.clustering.take(member),
        slice=where,
        level=level,
    )


def weakest_recall(
    name: str,
    title: str,
    dataset: ImageDataset,
    hits: np.ndarray,
    members: dict[str, np.ndarray],
    least_signs: int = 0,
) -> Metric:
    """Return the smallest recall of G >= 1 groups as a metric.

    hits: bool [N], correctly classified. members: group name -> bool [N].
    least_signs: groups with fewer sign tracks are left out (`untested_groups`).

    Undefined if a group has no image, because its recall could be the smallest. Without an interval if a group has none.
    `n` and `signs` are those of the weakest group. The true minimum of the tested groups is below the lower end in at most
    2.5 % of samples (the interval of that group alone), and above the upper end in at most 2.5 % (union bound over all groups).
    """
    own = {group: group_recall(dataset, hits, member, group, group) for group, member in members.items()}
    empty = [group for group, metric in own.items() if metric.value is None]
    if empty:
        reason = f"recall is undefined for {_listed(empty)} ({own[empty[0]].reason})"
        return Metric.undefined(name, title, reason)
    wide = _at_joint_level(dataset, hits, members)
    untested = _untested(own, wide, least_signs)
    tested = {group: metric for group, metric in own.items() if group not in untested}
    metric = weakest_of(name, title, list(tested.values()), [wide[group] for group in tested], len(members))
    if not untested:
        return metric
    left_out = f"; untested, fewer than {least_signs} sign tracks: {_listed(untested)}"
    return metric.model_copy(update={"method": metric.method + left_out})


def weakest_of(
    name: str, title: str, own: list[Metric], wide: list[Metric], count: int, groups: str = "groups"
) -> Metric:
    """Return the smallest of several metrics as a metric, with an interval that accounts for the selection.

    own, wide: the same metrics at their own level, and at the joint level `joint_level(count)`.
    count: of the groups that were compared; groups: what they are, in the plural.
    Without an interval if one of the metrics has none.
    """
    weakest = min(own, key=lambda metric: (metric.value, metric.low if metric.low is not None else 0.0))
    lows = [metric.low for metric in own if metric.low is not None]
    highs = [metric.high for metric in wide if metric.high is not None]
    complete = len(lows) == len(highs) == len(own)
    return weakest.model_copy(
        update={
            "name": name,
            "title": title,
            "slice": "all",
            "low": min(lows) if complete else None,
            "high": min(highs) if complete else None,
            "method": f"weakest: {weakest.title}; {METHOD.format(count=count, groups=groups)}; {weakest.method}",
        }
    )


def joint_level(count: int) -> float:
    """Return the level at which `count` intervals hold together (Bonferroni)."""
    return 1 - (1 - LEVEL) / count


def untested_groups(
    dataset: ImageDataset, hits: np.ndarray, members: dict[str, np.ndarray], least_signs: int
) -> dict[str, float]:
    """Return the groups that `weakest_recall` leaves out, with their numbers of sign tracks.

    A group with fewer than `least_signs` sign tracks is left out, because even without a mistake it proves little. It is not
    left out if all groups are small, or if its upper end (at the joint level) is below the lower end of every larger group.
    So a limit that the lower end of `weakest_recall` reaches lies above no group's upper end.
    """
    own = {group: group_recall(dataset, hits, member, group, group) for group, member in members.items()}
    names = _untested(own, _at_joint_level(dataset, hits, members), least_signs)
    return {group: own[group].signs or 0.0 for group in names}


def _at_joint_level(
    dataset: ImageDataset, hits: np.ndarray, members: dict[str, np.ndarray]
) -> dict[str, Metric]:
    level = joint_level(len(members))
    return {
        group: group_recall(dataset, hits, member, group, group, level) for group, member in members.items()
    }


def _untested(own: dict[str, Metric], wide: dict[str, Metric], least_signs: int) -> list[str]:
    small = [
        group for group, metric in own.items() if metric.signs is not None and metric.signs < least_signs
    ]
    lows = [metric.low for group, metric in own.items() if group not in small and metric.low is not None]
    if not lows:
        return []

    def is_weakest(group: str) -> bool:
        high = wide[group].high
        return high is not None and high < min(lows)

    return [group for group in small if not is_weakest(group)]


def _listed(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
