"""What tests read of the records of a stage."""

from __future__ import annotations

from typing import Any

from safeml.results import Metric, StageResult, Table


def metric(result: StageResult, name: str, where: str = "all") -> Metric:
    """Return the one metric of this name and slice."""
    [found] = [entry for entry in result.metrics if (entry.name, entry.slice) == (name, where)]
    return found


def value(result: StageResult, name: str, where: str = "all") -> float | None:
    """Return the value of `metric`."""
    return metric(result, name, where).value


def codes(result: StageResult) -> set[str]:
    """Return the codes of the findings."""
    return {finding.code for finding in result.findings}


def severities(result: StageResult) -> dict[str, str]:
    """Return the severity of each finding by its code."""
    return {finding.code: finding.severity for finding in result.findings}


def table(result: StageResult, table_id: str) -> Table:
    """Return a table by its id, the ledger included."""
    figures = [figure for figure in (*result.figures, result.ledger) if isinstance(figure, Table)]
    [found] = [figure for figure in figures if figure.id == table_id]
    return found


def table_rows(result: StageResult, table_id: str) -> list[dict[str, Any]]:
    """Return one dictionary for each row of a table, by the keys of its columns."""
    found = table(result, table_id)
    return [dict(zip([column.key for column in found.columns], row, strict=True)) for row in found.rows]
