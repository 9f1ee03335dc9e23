"""What a confusion of traffic signs may cost, 0 (none) to 1 (worst). Legend: K classes.

The weights are this project's judgement, not taken from a standard, an authority or accident statistics. They order
mistakes by what a vehicle that believed the sign would do wrong. A user with better knowledge gives another matrix.
Rules are tried from the top, and the first that applies gives the cost, so that each cost has one stated reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from safeml.data.signs import (
    CRITICAL_CLASSES,
    DANGER,
    END_OF_RESTRICTION,
    MANDATORY,
    PROHIBITION,
    SPEED_LIMIT,
    families,
)
from safeml.errors import ConfigError


@dataclass(frozen=True)
class Sign:
    """A class as the rules see it: its name, its family, and the speed of a speed limit in km/h."""

    name: str
    family: str
    speed: int | None


@dataclass(frozen=True)
class Rule:
    """One reason why reading `true` as `predicted` costs what it costs (0..1)."""

    reason: str
    applies: Callable[[Sign, Sign], bool]
    cost: Callable[[Sign, Sign], float]


_MUST_GIVE_WAY = ("Stop", "Yield", "No entry")
_GIVES_PRIORITY = ("Priority road", "Right-of-way at the next intersection")
_CRITICAL = frozenset(CRITICAL_CLASSES) - frozenset(_MUST_GIVE_WAY)
_ABRUPT = ("Stop", "No entry")


def _always(cost: float) -> Callable[[Sign, Sign], float]:
    return lambda true, predicted: cost


def _excess_cost(true: Sign, predicted: Sign) -> float:
    """0.2 and 0.008 for each km/h too fast, at most 1: 20 read as 30 costs 0.28, 20 read as 120 costs 1."""
    return min(1.0, 0.2 + 0.008 * _excess(true, predicted))


def _excess(true: Sign, predicted: Sign) -> int:
    """km/h above the true limit; 0 where either sign is no speed limit or the limit is read as lower."""
    if true.speed is None or predicted.speed is None:
        return 0
    return max(0, predicted.speed - true.speed)


def _mirrored(true: Sign, predicted: Sign) -> bool:
    """The two names differ in left and right alone."""
    swap = {"left": "right", "right": "left"}
    return predicted.name == re.sub(r"left|right", lambda side: swap[side.group()], true.name)


RULES: tuple[Rule, ...] = (
    Rule(
        "stop, yield or no entry is read as having priority",
        lambda true, predicted: true.name in _MUST_GIVE_WAY and predicted.name in _GIVES_PRIORITY,
        _always(1.0),
    ),
    Rule(
        "stop is read as yield",
        lambda true, predicted: (true.name, predicted.name) == ("Stop", "Yield"),
        _always(0.5),
    ),
    Rule(
        "yield is read as stop",
        lambda true, predicted: (true.name, predicted.name) == ("Yield", "Stop"),
        _always(0.1),
    ),
    Rule(
        "stop, yield or no entry is missed", lambda true, predicted: true.name in _MUST_GIVE_WAY, _always(0.9)
    ),
    Rule(
        "a mandatory direction is mirrored",
        lambda true, predicted: true.family == MANDATORY and _mirrored(true, predicted),
        _always(0.8),
    ),
    Rule(
        "a speed limit is read as a higher one",
        lambda true, predicted: _excess(true, predicted) > 0,
        _excess_cost,
    ),
    Rule(
        "a speed limit is read as a lower one",
        lambda true, predicted: true.family == predicted.family == SPEED_LIMIT,
        _always(0.1),
    ),
    Rule(
        "the end of a restriction is read where one holds or danger is near",
        lambda true, predicted: (
            predicted.family == END_OF_RESTRICTION and true.family in (SPEED_LIMIT, PROHIBITION, DANGER)
        ),
        _always(0.6),
    ),
    Rule(
        "a danger sign is read as another danger sign",
        lambda true, predicted: true.family == predicted.family == DANGER,
        _always(0.2),
    ),
    Rule("pedestrians or children are missed", lambda true, predicted: true.name in _CRITICAL, _always(0.7)),
    Rule(
        "a right of way is read that is not there",
        lambda true, predicted: predicted.name in _GIVES_PRIORITY,
        _always(0.6),
    ),
    Rule(
        "a stop or no entry is read that is not there",
        lambda true, predicted: predicted.name in _ABRUPT,
        _always(0.5),
    ),
    Rule(
        "the end of a restriction is missed",
        lambda true, predicted: true.family == END_OF_RESTRICTION,
        _always(0.2),
    ),
    Rule("a right of way is missed", lambda true, predicted: true.name in _GIVES_PRIORITY, _always(0.3)),
    Rule(
        "a sign is read as another of its family",
        lambda true, predicted: true.family == predicted.family,
        _always(0.4),
    ),
    Rule("a sign is read as one of another family", lambda true, predicted: True, _always(0.5)),
)

EQUAL_COST_REASON = "every mistake costs 1"


def has_rules(class_names: tuple[str, ...]) -> bool:
    """Whether the rules know every class; else every mistake costs 1 and the mean cost is the error rate."""
    return families(class_names) is not None


def cost_matrix(class_names: tuple[str, ...], weights: np.ndarray | None = None) -> np.ndarray:
    """The cost of each confusion, float64 [K, K] in 0..1 with a zero diagonal: row = true class, column = predicted.

    weights: the user's own matrix of that kind, used as it is. Without it the rules above for GTSRB class names, and 1
    for every mistake for any other names. Raises ConfigError for weights of another kind.
    """
    K = len(class_names)
    if weights is not None:
        return _checked(np.asarray(weights, dtype=np.float64), K)
    if not has_rules(class_names):
        return 1.0 - np.eye(K)
    signs = _signs(class_names)
    return np.array([[_cost(true, predicted) for predicted in signs] for true in signs])


def reason(true_name: str, predicted_name: str) -> str:
    """Why the rules let this confusion of two different classes cost what it does, in a few words."""
    if not has_rules((true_name, predicted_name)):
        return EQUAL_COST_REASON
    true, predicted = _signs((true_name, predicted_name))
    return _rule(true, predicted).reason


def _cost(true: Sign, predicted: Sign) -> float:
    return 0.0 if true.name == predicted.name else _rule(true, predicted).cost(true, predicted)


def _rule(true: Sign, predicted: Sign) -> Rule:
    return next(rule for rule in RULES if rule.applies(true, predicted))


def _signs(class_names: tuple[str, ...]) -> list[Sign]:
    return [
        Sign(name, family, _speed(name) if family == SPEED_LIMIT else None)
        for name, family in zip(class_names, families(class_names) or (), strict=True)
    ]


def _speed(name: str) -> int | None:
    found = re.search(r"(\d+)km/h", name)
    return int(found.group(1)) if found else None


def _checked(weights: np.ndarray, K: int) -> np.ndarray:
    if weights.shape != (K, K):
        raise ConfigError(
            f"hazard costs are {list(weights.shape)}; expected [{K}, {K}], a row and a column a class."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() > 1:
        raise ConfigError(
            "hazard costs hold a number outside 0..1; expected 0 for no harm up to 1 for the worst."
        )
    if np.diagonal(weights).any():
        raise ConfigError("hazard costs charge a right answer; expected zeros on the diagonal.")
    return weights
