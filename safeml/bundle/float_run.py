"""The run that audited the float model of an export: the evidence for the monitor of devices that run it, which have no fast INT8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safeml.bundle import contract
from safeml.bundle.evidence import Evidence, class_names, read_evidence
from safeml.bundle.models import FLOAT, Exported, ModelFile, check_audited
from safeml.classifiers.base import InputSpec
from safeml.errors import InputRefused

AUDIT = "audit-float"
MONITOR = "monitor-float"


@dataclass(frozen=True)
class FloatRun:
    """A run of the float file of an export, with the monitor that it measured. model: the file."""

    evidence: Evidence
    model: ModelFile

    def reasons(self) -> tuple[str, ...]:
        """Return why this run is no release, one sentence each."""
        return tuple(f"The run of the float model: {reason}" for reason in self.evidence.reasons)


def read_float_run(
    folder: Path | None, exported: Exported, evidence: Evidence, spec: InputSpec, today: str
) -> FloatRun | None:
    """Read the run that audited the float file; None where none is given.

    evidence, spec: of the run of the INT8 file. today: as in `read_evidence`.
    Raises InputRefused for a run of another model, input contract or other classes, or one without a monitor, and as `read_evidence`.
    """
    if folder is None:
        return None
    own = read_evidence(folder, today)
    model = next((model for model in exported.models if model.key == FLOAT), None)
    if model is None:
        raise InputRefused(
            f"{folder}: is a run of a float model, and the export has none; export again without skipping the float file."
        )
    check_audited(model, own)
    if contract.spec_of(own.run) != spec or class_names(own.run) != class_names(evidence.run):
        raise InputRefused(
            f"{folder}: has another input contract or other classes than {evidence.folder}; audit both models with the same [data]."
        )
    if not own.monitor:
        raise InputRefused(
            f"{folder}: stored no monitor; audit the float model again with the stage monitors, or leave --float-run out, so that devices "
            "without fast INT8 fall back on every frame."
        )
    return FloatRun(own, model)
