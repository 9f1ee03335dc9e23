"""The smallest settings are of every stage, are allowed, and are smaller than those of the quick profile."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from safeml.stages import OWN
from safeml.stages.base import Stage
from tests import tiny


def test_every_stage_has_a_row_in_its_order() -> None:
    assert list(tiny.STAGES) == [stage.name for stage in OWN]


@pytest.mark.parametrize("stage", OWN, ids=lambda stage: stage.name)
def test_a_row_is_allowed_and_no_larger_than_the_quick_form(stage: Stage[Any]) -> None:
    small = stage.settings.model_validate(tiny.STAGES[stage.name])
    quick = stage.quick(stage.settings(), frozenset())
    for name in small.model_fields_set:
        value = getattr(small, name)
        if type(value) is int:
            assert value <= getattr(quick, name), name


def test_the_text_of_a_settings_file_says_the_same() -> None:
    changes = {"physical": {"patch_pair": ["Stop", "Yield"]}, "adversarial": {"enabled": False}}
    assert tomllib.loads(tiny.toml(**changes))["stages"] == tiny.tables(**changes)
