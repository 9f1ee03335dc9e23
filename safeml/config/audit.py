"""The file `safeml.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from safeml.config.gate_checks import check_accepted, check_gates, check_requirements
from safeml.results import MODEL, Accepted, CardText, Gate, Requirement
from safeml.settings.base import PathText, Settings, validated
from safeml.settings.baseline import BaselineSettings
from safeml.settings.bundle import BundleSettings
from safeml.settings.data import DataRoles
from safeml.settings.hazard import HazardSettings
from safeml.settings.model import ModelSettings
from safeml.settings.toml_file import read_toml
from safeml.stages import StageSettings
from safeml.stages.conversion import CONVERSION


class RunSettings(Settings):
    """What is the same for every stage.

    seed: of every random choice of the audit.
    reports: folder of the run folders.
    responsible: the person who answers for the model; the report names them.
    threads: of TensorFlow, in each process that measures; 0: as many as it chooses. Set it where several processes or machines
            measure one run, because the last digits can depend on it.
    """

    seed: int = Field(default=7, ge=0, lt=2**32)
    reports: PathText = "reports"
    responsible: str = ""
    threads: int = Field(default=0, ge=0, le=1024)


class Config(Settings):
    """The content of a `safeml.toml`. Its paths are relative to its folder.

    With model.quantize, the default gates of the conversion are added to the gates, unless the settings read the same metrics.

    title: of the report.
    """

    title: str = "Safety report"
    model: ModelSettings
    data: DataRoles
    hazard: HazardSettings = HazardSettings()
    run: RunSettings = RunSettings()
    stages: StageSettings = StageSettings()
    baseline: BaselineSettings = BaselineSettings()
    bundle: BundleSettings = BundleSettings()
    gates: tuple[Gate, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    card: CardText = CardText()


def load_config(path: Path) -> Config:
    """Read and check the settings file at `path`."""
    return parse_config(read_toml(path), str(path))


def parse_config(values: dict[str, Any], where: str) -> Config:
    config = validated(Config, values, where)
    check_gates(config.gates, config.stages, where)
    check_accepted(config.accepted, config.gates, config.stages, where)
    config = _with_conversion_gates(config) if config.model.quantize else config
    check_requirements(config.requirements, config.gates, where)
    return config


def _with_conversion_gates(config: Config) -> Config:
    """Return settings with the default gates of the conversion on each metric that neither a gate nor an accepted entry reads.

    The file under test is made by the run, so a failed check of its export is a failed gate without an entry of the user.
    """
    own = [gate for gate in config.gates if (gate.subject, gate.stage) == (MODEL, CONVERSION.name)]
    entries = [entry for entry in config.accepted if entry.stage == CONVERSION.name]
    if any(not entry.metric for entry in entries):
        return config
    read = {(gate.metric, gate.slice) for gate in own} | {(entry.metric, entry.slice) for entry in entries}
    used = {gate.id for gate in config.gates}
    added = [
        gate.model_copy(update={"id": f"conversion-{gate.id}"}) if gate.id in used else gate
        for gate in CONVERSION.gates
        if (gate.metric, gate.slice) not in read
    ]
    return config.model_copy(update={"gates": (*config.gates, *added)})
