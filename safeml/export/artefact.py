"""The INT8 file that `safeml run` makes of a `quantize.toml`, and the settings of its audit. No framework is imported until it is made.

The file of the deployment is audited, `model.int8.onnx`: gradients come from `int8.keras`, and the float model trained for the
same epochs is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.config.audit import Config
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.export.checks import Check
from safeml.quantization.build import FINETUNED, FLOAT, INT8, OnEpoch, Say, is_done
from safeml.quantization.build import quantize as quantize_model
from safeml.quantization.inputs import QuantizationInputs
from safeml.scan.sources import EXPORT, INT8_FILE, QUANTIZATION, find_model, read_record
from safeml.settings.model import InputSettings, ReferenceSettings
from safeml.stages import settings_of
from safeml.stages.comparison import COMPARISON
from safeml.store.files import content_key, file_sha256
from safeml.version import __version__

# The records beside a file that is not made yet, by their names in `AuditInputs`: their stages are part of its audit.
UNWRITTEN: dict[str, dict[str, Any]] = {"quantization": {}, "export": {}}


@dataclass(frozen=True)
class Exported:
    """An INT8 file in its folder, for the settings of its audit.

    file: the INT8 file.
    gradients: the Keras model that it was exported from, or None.
    reference: the float model to compare with, or None.
    contract: the input contract of all of them.
    """

    file: Path
    gradients: Path | None
    reference: Path | None
    contract: InputSettings


def exported(model: Path) -> Exported | None:
    """Return what lies beside `model`, an INT8 file with its records or the folder of both; None for any other model.

    Raises InputRefused for an invalid record, or a folder that does not say which file is the model.
    """
    file = find_model(model).file
    record = read_record(file.with_name(QUANTIZATION), "record of `safeml quantize`")
    if file.name != INT8_FILE or record is None or not file.with_name(EXPORT).is_file():
        return None
    try:
        contract = InputSettings.model_validate(record["settings"]["model"]["input"])
    except (KeyError, TypeError, ValueError):
        raise InputRefused(
            f"{file.with_name(QUANTIZATION)}: settings.model.input is no input contract; quantize again with --force."
        ) from None
    trained = file.with_name(FINETUNED).is_file()
    gradients, reference = (
        path if path.is_file() else None
        for path in map(file.with_name, (INT8, _reference(trained, "pruning" in record)))
    )
    return Exported(file, gradients, reference, contract)


def _reference(trained: bool, pruned: bool) -> str:
    """Return the name of the float model to compare with: the one trained for the same epochs, so that the loss is that of INT8.

    A pruned model is compared with the source, because the other one has its zeros too.
    """
    return FINETUNED if trained and not pruned else FLOAT


def artefact_folder(reports: Path, inputs: QuantizationInputs) -> Path:
    """Return the folder of a quantization for `safeml run`, named by its settings and all inputs of its result."""
    whole = {"settings": inputs.settings.model_dump(mode="json"), **inputs.identity()}
    return reports / "quantized" / f"{inputs.settings.name}-{content_key(whole)[:10]}"


def make_artefact(
    inputs: QuantizationInputs,
    folder: Path,
    on_epoch: OnEpoch = lambda epoch: None,
    command: tuple[str, ...] = (),
    say: Say = lambda line: None,
    on_check: Callable[[Check], None] = lambda check: None,
) -> Path:
    """Quantize and export into `folder`, and return the INT8 file; finished work of the same inputs is reused.

    on_epoch, say: see `safeml.quantization.build.quantize`. on_check: receives each check of the export when it ends.

    Raises as `safeml.quantization.build.quantize` and `safeml.export.build.export`, and StageError if the INT8 file failed a check.
    """
    quantize_model(inputs, folder, on_epoch, command=command, say=say)
    if is_exported(folder):
        say(f"{folder} holds the export of this model already; it is reused.")
        return folder / INT8_FILE
    from safeml.export.build import export

    say(f"Exporting {folder / INT8}.")
    result = export(folder, said=on_check)
    if not (folder / INT8_FILE).is_file():
        failed = next(check for check in result.checks if check.status == "failed")
        raise StageError(
            f"{folder}: {INT8_FILE} failed the check {failed.name} of the export, so there is no INT8 file to audit: "
            f"{failed.reason.rstrip('.')}. All checks are in {EXPORT}; change the model or {inputs.settings.name}'s settings, such as "
            "keep_float."
        )
    return folder / INT8_FILE


def is_made(inputs: QuantizationInputs, folder: Path) -> bool:
    """Return whether `folder` holds the quantization of these inputs and its export. Raises ConfigError for another quantization."""
    return is_done(inputs, folder) and is_exported(folder)


def is_exported(folder: Path) -> bool:
    """Return whether export.json is that of this version for the models in `folder`, and no check failed.

    A failed export is made again, so that a failure of the machine does not stay.
    """
    record = read_record(folder / EXPORT, "record of `safeml export`")
    if record is None or (record.get("safeml"), record.get("status")) != (__version__, "passed"):
        return False
    listed = record.get("files")
    hashes = {
        entry.get("name"): entry.get("sha256")
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict)
    }
    sources = {name: file_sha256(folder / name) for name in (INT8, FLOAT) if (folder / name).is_file()}
    file = folder / INT8_FILE
    return record.get("sources") == sources and file.is_file() and hashes.get(INT8_FILE) == file_sha256(file)


def check_settings(config: Config, inputs: QuantizationInputs) -> None:
    """Raise ConfigError if the settings of the audit name another input contract than that of the quantization."""
    if config.model.input not in (InputSettings(), inputs.settings.model.input):
        raise ConfigError(
            f"model.input: differs from [model.input] of {config.model.quantize}, which is the input contract of the INT8 file too; "
            "remove it."
        )


def audit_settings(config: Config, base: Path, folder: Path, inputs: QuantizationInputs) -> Config:
    """Return the settings of the audit of the INT8 file in `folder`: its path, gradients, input contract and reference.

    base: folder of the relative paths of `config`. A reference of the settings stays.
    """
    contract = inputs.settings.model.input
    model = config.model.model_copy(
        update={
            "path": _relative(folder / INT8_FILE, base),
            "quantize": "",
            "gradients": _relative(folder / INT8, base),
            "name": config.model.name or inputs.settings.name,
            "input": contract,
        }
    )
    settings = inputs.settings
    reference = folder / _reference(bool(settings.epochs), settings.prune is not None)
    return with_reference(config.model_copy(update={"model": model}), _relative(reference, base), contract)


def planned_settings(config: Config, base: Path, inputs: QuantizationInputs) -> Config:
    """Return the settings of the audit of a file that is not made yet, for a plan; the source is in the place of the reference."""
    contract = inputs.settings.model.input
    model = config.model.model_copy(
        update={
            "path": config.model.quantize,
            "quantize": "",
            "name": config.model.name or inputs.settings.name,
            "input": contract,
        }
    )
    source = _relative(inputs.source, base)
    return with_reference(config.model_copy(update={"model": model}), source, contract)


def with_reference(config: Config, path: str, contract: InputSettings) -> Config:
    """Return settings whose comparison has a reference: that of the settings, else the model at `path`."""
    comparison = settings_of(config.stages, COMPARISON)
    if comparison.reference is not None:
        return config
    reference = ReferenceSettings(path=path, input=contract)
    table = {COMPARISON.name: comparison.model_copy(update={"reference": reference})}
    return config.model_copy(update={"stages": config.stages.model_copy(update=table)})


def _relative(path: Path, base: Path) -> str:
    """Return a path from `base` where it is inside, else the absolute path."""
    return str(path.relative_to(base) if path.is_relative_to(base) else path.absolute())
