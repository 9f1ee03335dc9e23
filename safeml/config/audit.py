"""The file `safeml.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from safeml.config.gate_checks import check_accepted, check_gates, check_requirements
from safeml.errors import ConfigError
from safeml.results import MODEL, Accepted, CardText, Gate, Requirement
from safeml.settings.base import PathText, Settings, validated
from safeml.settings.baseline import BaselineSettings
from safeml.settings.bundle import BundleSettings
from safeml.settings.data import DataRoles
from safeml.settings.hazard import HazardSettings
from safeml.settings.model import VALUES, Head, InputSettings, ModelSettings
from safeml.settings.sign import SignSettings
from safeml.settings.toml_file import read_toml
from safeml.stages import StageSettings, settings_of
from safeml.stages.adversarial import ADVERSARIAL
from safeml.stages.comparison import COMPARISON
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
    sign: SignSettings = SignSettings()
    bundle: BundleSettings = BundleSettings()
    gates: tuple[Gate, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    card: CardText = CardText()

    @property
    def head(self) -> Head:
        """Return what the outputs of the model under test are."""
        return "regression" if self.data.targets else "classification"


def load_config(path: Path) -> Config:
    """Read and check the settings file at `path`."""
    return parse_config(read_toml(path), str(path))


def parse_config(values: dict[str, Any], where: str) -> Config:
    config = with_values(validated(Config, values, where), where)
    check_gates(config.gates, config.stages, where)
    check_accepted(config.accepted, config.gates, config.stages, where)
    config = _with_conversion_gates(config) if config.model.quantize else config
    check_requirements(config.requirements, config.gates, where)
    return config


def with_values(config: Config, where: str) -> Config:
    """Return settings whose models give values where targets are declared; the declaration is the one of the data.

    Raises ConfigError where the settings of a model say something else, or where a regression has no form of a setting.
    """
    given = {"model.input": config.model.input}
    reference = settings_of(config.stages, COMPARISON).reference
    if reference is not None:
        given["stages.comparison.reference.input"] = reference.input
    wrong = (VALUES,) if not config.data.targets else ("logits", "probabilities")
    for key, contract in given.items():
        if contract.outputs in wrong:
            remedy = (
                "declare [[data.targets]]"
                if not config.data.targets
                else "remove it, or remove [[data.targets]]"
            )
            raise ConfigError(
                f'{where}: {key}.outputs is "{contract.outputs}", but the data declare '
                f"{'targets' if config.data.targets else 'no targets'}; {remedy}."
            )
    if not config.data.targets:
        return config
    adversarial = settings_of(config.stages, ADVERSARIAL)
    if adversarial.surrogate is not None:
        raise ConfigError(
            f"{where}: stages.adversarial.surrogate is for classifiers; transfer attacks on a regression are not measured. Remove it."
        )
    if config.hazard.costs:
        raise ConfigError(
            f"{where}: hazard.costs prices confusions of classes, which a regression has none of; remove it."
        )

    def declared(contract: InputSettings) -> InputSettings:
        if contract.class_order is not None:
            raise ConfigError(
                f"{where}: class_order numbers classes, and [[data.targets]] declares a regression; remove it."
            )
        return contract.model_copy(update={"outputs": VALUES})

    model = config.model.model_copy(update={"input": declared(config.model.input)})
    stages = config.stages
    if reference is not None:
        compared = reference.model_copy(update={"input": declared(reference.input)})
        table = settings_of(stages, COMPARISON).model_copy(update={"reference": compared})
        stages = stages.model_copy(update={COMPARISON.name: table})
    return config.model_copy(update={"model": model, "stages": stages})


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
