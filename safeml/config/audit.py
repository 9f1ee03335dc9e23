"""The file `safeml.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from safeml.config.gate_checks import check_accepted, check_gates
from safeml.results import Accepted, Gate
from safeml.settings.base import PathText, Settings, validated
from safeml.settings.baseline import BaselineSettings
from safeml.settings.data import DataRoles
from safeml.settings.hazard import HazardSettings
from safeml.settings.model import ModelSettings
from safeml.settings.toml_file import read_toml
from safeml.stages import StageSettings


class RunSettings(Settings):
    """What is the same for every stage.

    seed: of every random choice of the audit.
    reports: folder of the run folders.
    responsible: the person who answers for the model; the report names them.
    """

    seed: int = Field(default=7, ge=0, lt=2**32)
    reports: PathText = "reports"
    responsible: str = ""


class Config(Settings):
    """The content of a `safeml.toml`. Its paths are relative to its folder.

    title: of the report.
    """

    title: str = "Safety report"
    model: ModelSettings
    data: DataRoles
    hazard: HazardSettings = HazardSettings()
    run: RunSettings = RunSettings()
    stages: StageSettings = StageSettings()
    baseline: BaselineSettings = BaselineSettings()
    gates: tuple[Gate, ...] = ()
    accepted: tuple[Accepted, ...] = ()


def load_config(path: Path) -> Config:
    """Read and check the settings file at `path`."""
    return parse_config(read_toml(path), str(path))


def parse_config(values: dict[str, Any], where: str) -> Config:
    config = validated(Config, values, where)
    check_gates(config.gates, config.stages, where)
    check_accepted(config.accepted, config.gates, config.stages, where)
    return config
