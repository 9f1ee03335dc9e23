"""What a user knows about the classes: the family of each, and what each confusion may cost. Legend: K classes.

Both are CSV files with a header; `safeml list families --csv` and `safeml list costs --csv` print those of GTSRB.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from safeml.data.annotations import Row, read_rows
from safeml.errors import InputRefused
from safeml.settings.errors import suggest

FAMILY_COLUMNS = ("class", "family")
COST_COLUMNS = ("true", "predicted", "cost")


def read_families(path: Path, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Read the family of each of the K classes from a CSV file with the columns class and family.

    Rows of other classes are ignored, so that one file serves several data sets.
    Raises InputRefused if a class is absent, occurs twice or has an empty family.
    """
    families: dict[str, str] = {}
    for row in read_rows(path, FAMILY_COLUMNS):
        name, family = row.cells["class"].strip(), row.cells["family"].strip()
        if not family:
            raise InputRefused(f"{row.where}: the class {name} has no family; expected a name.")
        if name in families:
            raise InputRefused(f"{row.where}: the class {name} occurs twice; expected one row a class.")
        families[name] = family
    absent = [name for name in class_names if name not in families]
    if absent:
        raise InputRefused(
            f"{path}: {len(absent)} of {len(class_names)} classes have no row, first {absent[0]}"
            f"{suggest(absent[0], list(families))}; expected a row with the family of each class."
        )
    return tuple(families[name] for name in class_names)


def read_costs(path: Path, class_names: tuple[str, ...]) -> np.ndarray:
    """Read the cost of each confusion from a CSV file with the columns true, predicted and cost.

    Returns float64 [K, K] in 0..1, row = true class, zero on the diagonal. A confusion without a row costs 1, the most.
    Raises InputRefused for an unknown class, a cost outside 0..1, a cost of a correct prediction, or a pair that occurs twice.
    """
    number = {name: k for k, name in enumerate(class_names)}
    costs = 1.0 - np.eye(len(class_names))
    seen: set[tuple[int, int]] = set()
    for row in read_rows(path, COST_COLUMNS):
        pair = (_class(row, "true", number), _class(row, "predicted", number))
        cost = _cost(row)
        if pair in seen:
            raise InputRefused(
                f"{row.where}: {class_names[pair[0]]} as {class_names[pair[1]]} occurs twice; expected one row a pair."
            )
        if pair[0] == pair[1] and cost != 0:
            raise InputRefused(f"{row.where}: a correct prediction costs {cost:g}; expected 0, or no row.")
        seen.add(pair)
        costs[pair] = cost
    return costs


def _class(row: Row, column: str, number: dict[str, int]) -> int:
    name = row.cells[column].strip()
    if name not in number:
        raise InputRefused(
            f'{row.where}: {column} is "{name[:60]}", which is no class of the test data{suggest(name, list(number))}.'
        )
    return number[name]


def _cost(row: Row) -> float:
    text = row.cells["cost"].strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputRefused(
            f'{row.where}: cost is "{text[:40]}"; expected a number from 0 (no harm) to 1 (worst).'
        )
    return value
