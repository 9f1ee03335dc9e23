"""The metrics of the fairness stage: accuracy by group, and its gap and ratio by column. Legend: N images, G groups, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from safeml.audits.fairness.conditions import Column, is_of_class
from safeml.audits.weakest import group_recall, joint_level, weakest_recall
from safeml.data.dataset import ImageDataset
from safeml.results import Direction, Metric
from safeml.stages.base import COLUMNS
from safeml.stages.fairness import GATED_CONDITIONS, LEAST_GROUP_SIGNS
from safeml.statistics.between import Groups, Rates, largest_difference, smallest_ratio

WORST_TITLE = "Accuracy of the weakest condition or group"
GAP_TITLE = "Accuracy gap between conditions"
GROUPS_TITLE = "Largest accuracy gap between your groups"
PARITY_TITLE = "Demographic parity difference"
ODDS_TITLE = "Equalised odds difference"
NO_CONDITION = "the images can be sorted by none of brightness, blur and size"
OF_CLASS = "each class is in one group of the column, so the groups differ in their classes"
NO_PAIR = "no class has images in two groups of the column"


@dataclass(frozen=True, eq=False)
class ByGroup:
    """The accuracy of the groups of one column."""

    column: Column
    rates: Rates

    @cached_property
    def tested(self) -> np.ndarray:
        """Return the groups that are compared, bool [G]; see `tested_groups`."""
        return tested_groups(self.rates)

    @property
    def compared(self) -> Rates:
        return self.rates.take(self.tested)


def weakest_group(groups: Sequence[ByGroup]) -> tuple[Column, str, float] | None:
    """Return column, name and accuracy of the weakest group that is compared; None without groups."""
    lowest = []
    for by in groups:
        rates = by.compared
        if len(rates.groups.names):
            place = int(rates.values.argmin())
            lowest.append((float(rates.values[place]), by.column.name, rates.groups.names[place], by.column))
    if not lowest:
        return None
    value, _, name, column = min(lowest, key=lambda entry: entry[:3])
    return column, name, value


def accuracies(columns: Sequence[Column], hits: np.ndarray) -> list[ByGroup]:
    """Return the accuracy by group of each column. hits: bool [N], correctly classified."""
    return [ByGroup(column, column.groups.rates(hits)) for column in columns]


def tested_groups(rates: Rates) -> np.ndarray:
    """Return the groups whose rates are compared, bool [G].

    A group with fewer than LEAST_GROUP_SIGNS sign tracks is left out, because its interval is wide whatever the model. It is
    not left out if fewer than two groups are large enough, or if its interval at the joint level lies outside those of all
    larger groups.
    """
    present: np.ndarray = rates.groups.n > 0
    large: np.ndarray = ~(rates.groups.signs < LEAST_GROUP_SIGNS) & present
    if large.sum() < 2:
        return present
    low, high = rates.ends()
    joint_low, joint_high = rates.ends(joint_level(len(rates.groups.names)))
    apart = (joint_high < low[large].min()) | (joint_low > high[large].max())
    return np.asarray(large | (present & apart))


def all_metrics(test: ImageDataset, found: Sequence[ByGroup], predicted: np.ndarray) -> list[Metric]:
    """Return every metric of the stage. predicted: int64 [N], class ids, or NO_ANSWER."""
    hits = predicted == test.labels
    members = {by.column.slice_of(name): by.column.groups.codes == code
               for by in found for code, name in enumerate(by.column.names)}  # fmt: skip
    metrics = [conditions_gap(found)]
    if members:
        metrics.append(
            weakest_recall("group_accuracy_worst", WORST_TITLE, test, hits, members, LEAST_GROUP_SIGNS)
        )
    else:
        metrics.append(Metric.undefined("group_accuracy_worst", WORST_TITLE, "the images have no groups"))
    users = [by for by in found if by.column.kind == "user"]
    if users:
        several = [by.compared for by in users if len(by.column.names) > 1]
        metrics.append(largest_difference("accuracy_gap_groups", GROUPS_TITLE, several))
    for by in found:
        name, where = by.column.name, f"{COLUMNS}{by.column.name}"
        metrics.append(
            largest_difference("accuracy_gap", f"Accuracy gap by {name}", [by.compared], slice=where)
        )
        metrics.append(
            smallest_ratio("accuracy_ratio", f"Accuracy ratio by {name}", [by.compared], slice=where)
        )
    for where, member in members.items():
        title = f"Accuracy, {where.partition(':')[2]}"
        metrics.append(group_recall(test, hits, member, title, where, name="group_accuracy"))
    for by in users:
        metrics += parity_metrics(by.column, test.labels, predicted, test.classes)
    return metrics


def conditions_gap(found: Sequence[ByGroup]) -> Metric:
    """Return the largest accuracy gap over the conditions of the default gate; the title names the measured ones."""
    used = [by for by in found if by.column.name in GATED_CONDITIONS]
    title = f"{GAP_TITLE} ({', '.join(by.column.name for by in used)})" if used else GAP_TITLE
    if not used:
        return Metric.undefined("accuracy_gap_conditions", title, NO_CONDITION, direction="down")
    single = [by.column for by in used if len(by.column.names) < 2]
    if single:
        reason = f"all images are {single[0].phrase(single[0].names[0])}, so there is no second group by {single[0].name}"
        return Metric.undefined("accuracy_gap_conditions", title, reason, direction="down")
    return largest_difference("accuracy_gap_conditions", title, [by.compared for by in used])


def parity_metrics(column: Column, labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[Metric]:
    """Return demographic parity and equalised odds of a column, each the largest difference over all classes.

    A class is compared with all others together, as in fairlearn. Demographic parity: the difference of the shares of images
    that are predicted as the class. Equalised odds: the larger of the differences of the true positive and of the false
    positive rates. A class without images in two groups has no difference of true positive rates, and is left out.

    References: M. Hardt, E. Price, N. Srebro, "Equality of opportunity in supervised learning", NeurIPS, 2016; A. Agarwal et
    al., "A reductions approach to fair classification", ICML, 2018.
    """
    where = f"{COLUMNS}{column.name}"
    titles = {
        "demographic_parity_difference": f"{PARITY_TITLE} by {column.name}",
        "equalized_odds_difference": f"{ODDS_TITLE} by {column.name}",
    }
    reason = OF_CLASS if is_of_class(column, labels) else ""
    by_class = [] if reason else class_rates(column, labels, predicted, classes)
    odds = [rates for of in by_class if of.is_compared for rates in (of.true_positive, of.false_positive)]
    compared = {
        "demographic_parity_difference": [of.selected for of in by_class],
        "equalized_odds_difference": odds,
    }
    direction: Direction = "down"
    metrics = []
    for name, rates in compared.items():
        if reason or not rates:
            metrics.append(
                Metric.undefined(name, titles[name], reason or NO_PAIR, direction=direction, slice=where)
            )
            continue
        metric = largest_difference(name, titles[name], rates, slice=where)
        left_out = classes - sum(of.is_compared for of in by_class)
        if metric.value is not None and name.startswith("equalized") and left_out:
            note = f"; {left_out} of {classes} classes without images in two groups are left out"
            metric = metric.model_copy(update={"method": metric.method + note})
        metrics.append(metric)
    return metrics


@dataclass(frozen=True, eq=False)
class OfClass:
    """The rates by group of one class against all others.

    selected: share of all images that are predicted as the class.
    true_positive: of its images; false_positive: of the images of other classes.
    """

    label: int
    selected: Rates
    true_positive: Rates
    false_positive: Rates

    @property
    def is_compared(self) -> bool:
        """Return whether two groups have images of the class, and two have images of others."""
        return all((rates.groups.n > 0).sum() > 1 for rates in (self.true_positive, self.false_positive))


def class_rates(column: Column, labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[OfClass]:
    """Return the rates of each class. Groups that `tested_groups` leaves out of the accuracy are left out here, too."""
    keep = tested_groups(column.groups.rates(predicted == labels))
    base = column.groups.rates(predicted == labels).take(keep).groups
    found = []
    for label in range(classes):
        answered, own = predicted == label, labels == label

        def within(rows: np.ndarray, answered: np.ndarray = answered) -> Rates:
            codes = np.where(rows, base.codes, -1)
            return Groups(codes, base.names, base.clustering).rates(answered)

        found.append(OfClass(label, base.rates(answered), within(own), within(~own)))
    return found
