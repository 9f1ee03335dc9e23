"""The settings of data that are given on the command line."""

from __future__ import annotations

from typing import Any

from safeml.settings.base import validated
from safeml.settings.data import DataSettings


def data_settings(where: str, **values: Any) -> DataSettings:
    """Make data settings from the values that are not None, given at the flag or argument `where`."""
    return validated(DataSettings, {key: value for key, value in values.items() if value is not None}, where)
