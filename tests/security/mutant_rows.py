"""What the mutation tests change: each file that decides, its kinds of change, its tests, and the changes that compute the same."""

from __future__ import annotations

from typing import NamedTuple

UNIT, ORACLE, EDGE = "tests/unit/test_", "tests/oracle/test_", "tests/unit/test_edge_"
CONDITIONS = frozenset({"comparison", "word", "not"})
# A check of a bundle is often a call whose result is not used.
OF_CHECKS = CONDITIONS | {"call"}
OF_NUMBERS = CONDITIONS | {"operator", "constant", "choice", "function"}


class Target(NamedTuple):
    """A file that decides.

    kinds: of the changes; see `tests.security.mutants`.
    groups: its tests; the next group runs where the one before it notices nothing.
    """

    kinds: frozenset[str]
    groups: tuple[tuple[str, ...], ...]


def _numbers(*groups: tuple[str, ...]) -> Target:
    return Target(OF_NUMBERS, groups)


def _checks(*names: str) -> Target:
    return Target(OF_CHECKS, (tuple(f"{EDGE}{name}.py" for name in names),))


OF_STATISTICS = ((f"{UNIT}statistics.py",), (f"{ORACLE}statistics_oracle.py",))
TARGETS: dict[str, Target] = {
    "safeml/gates.py": _numbers(
        (f"{UNIT}gates.py", f"{UNIT}gate_sentences.py"),
        (f"{UNIT}not_gated.py", f"{UNIT}requirements.py", f"{UNIT}recorded_verdict.py"),
        (f"{UNIT}baseline_gates.py", "tests/property/test_gates.py"),
    ),
    "safeml/recorded_verdict.py": _numbers((f"{UNIT}recorded_verdict.py", f"{UNIT}requirements.py")),
    "safeml/requirements.py": _numbers((f"{UNIT}requirements.py",)),
    "safeml/not_gated.py": _numbers((f"{UNIT}not_gated.py", f"{UNIT}alarms.py"), (f"{UNIT}init_limits.py",)),
    "safeml/statistics/between.py": _numbers((f"{UNIT}between.py",), (f"{ORACLE}fairness_oracle.py",)),
    "safeml/statistics/bootstrap.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/by_sign.py": _numbers((f"{UNIT}by_sign.py",), *OF_STATISTICS),
    "safeml/statistics/clusters.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/exact.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/independent.py": _numbers((f"{UNIT}membership.py",), *OF_STATISTICS),
    "safeml/statistics/mean_bounds.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/multiple.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/noninferiority.py": _numbers((f"{UNIT}noninferiority.py",), *OF_STATISTICS),
    "safeml/statistics/paired.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/planning.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/proportions.py": _numbers(*OF_STATISTICS),
    "safeml/statistics/quantiles.py": _numbers((f"{UNIT}regression.py",), (f"{ORACLE}regression_oracle.py",)),
    "safeml/edge/conditions.py": _checks("verify"),
    "safeml/edge/container.py": _checks("container"),
    "safeml/edge/dsse.py": _checks("envelope"),
    "safeml/edge/ed25519.py": _checks("ed25519"),
    "safeml/edge/manifest.py": _checks("manifest"),
    "safeml/edge/settings.py": _checks("settings"),
    "safeml/edge/statement.py": _checks("envelope"),
    "safeml/edge/unpacked.py": _checks("slot_folder", "container"),
    "safeml/edge/verify.py": _checks("verify", "container", "slot_folder"),
}
# Mutants that compute the same, with the reason: (file, description) as printed.
ONE_END = "an interval with one end is refused before"
EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "safeml/statistics/multiple.py",
        "holm: 2.0 -> 3.125",
    ): "every number above 1 ranks an undefined p-value last",
    (
        "safeml/gates.py",
        "_decide_on: metric.low is None or metric.high is None -> metric.low is None and metric.high is None",
    ): ONE_END,
    (
        "safeml/gates.py",
        "_contradiction: metric.low is not None and metric.high is not None -> metric.low is not None or metric.high is not None",
    ): ONE_END,
    (
        "safeml/not_gated.py",
        "_worst_first: 2.0 -> 3.125",
    ): "every number above 1 sorts behind all proportions",
}
