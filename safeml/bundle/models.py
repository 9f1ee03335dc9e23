"""The model files of a bundle: those of `safeml export` whose checks passed and whose hashes are those of export.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safeml.bundle.evidence import Evidence
from safeml.errors import InputRefused, MissingInput
from safeml.export.acceptance import FLOAT_ONNX, HALF_ONNX, INT8_ONNX, TFTRT
from safeml.export.ends import FEATURES, IMAGE, LOGITS
from safeml.export.facts import OnnxFacts, onnx_facts
from safeml.scan.sources import EXPORT, read_record
from safeml.store.files import file_sha256

INT8, HALF, FLOAT = "int8", "int8-fp16", "float"
# Key in the manifest: name in the export.
ONNX_FILES = {INT8: INT8_ONNX, FLOAT: FLOAT_ONNX, HALF: HALF_ONNX}
FOLDER = "models"
AGAIN = "export again with `safeml export`"


@dataclass(frozen=True)
class ModelFile:
    """One model of a bundle.

    key: "int8", "float" or "int8-fp16".
    path: the file on this machine.
    facts: what the file states.
    """

    key: str
    path: Path
    facts: OnnxFacts

    @property
    def name(self) -> str:
        """The name in the bundle."""
        return f"{FOLDER}/{self.path.name}"


@dataclass(frozen=True)
class Exported:
    """The files of an export that a bundle carries.

    models: the ONNX files, INT8 first.
    tftrt: the folder of the SavedModel and its script, or None.
    tftrt_files: its files, relative to the export.
    hashes: sha256 of each file of the export, by name, as it was checked.
    """

    models: tuple[ModelFile, ...]
    tftrt: Path | None
    tftrt_files: tuple[str, ...]
    hashes: dict[str, str]

    @property
    def int8(self) -> ModelFile:
        """The audited file."""
        return self.models[0]


def read_export(folder: Path, evidence: Evidence) -> Exported:
    """Read the folder of `safeml export` and check that its INT8 file is the one that the run audited.

    Raises InputRefused for an export that failed a check, a file that is not as listed, or another model than the audited
    one; an override permits none of these. Raises MissingInput where there is no export.
    """
    record = read_record(folder / EXPORT, "record of `safeml export`")
    if record is None:
        raise MissingInput(
            f"{folder / EXPORT}: there is no such file; give the folder of `safeml export` with --export."
        )
    failed = [str(check.get("name")) for check in _rows(record, "checks") if check.get("status") == "failed"]
    if record.get("status") != "passed" or failed:
        raise InputRefused(
            f"{folder / EXPORT}: the export failed ({', '.join(failed) or 'its status is not passed'}); mend the model and {AGAIN}."
        )
    listed = _listed(folder, record)
    if INT8_ONNX not in listed:
        raise InputRefused(f"{folder / EXPORT}: does not list {INT8_ONNX}; {AGAIN}.")
    models = tuple(
        ModelFile(key, folder / name, onnx_facts(folder / name))
        for key, name in ONNX_FILES.items()
        if name in listed
    )
    for model in models:
        _check_ends(model, models[0])
    check_audited(models[0], evidence)
    files = tuple(sorted(name for name in listed if name.startswith(f"{TFTRT}/")))
    return Exported(models, folder / TFTRT if files else None, files, listed)


def _rows(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = record.get(key)
    return [row for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)]


def _listed(folder: Path, record: dict[str, Any]) -> dict[str, str]:
    """Return the sha256 of the export's files by name, each file compared with its length and hash."""
    hashes: dict[str, str] = {}
    for row in _rows(record, "files"):
        name, size, expected = str(row.get("name")), row.get("bytes"), row.get("sha256")
        path = folder / name
        if name.startswith("/") or ".." in Path(name).parts:
            raise InputRefused(f"{folder / EXPORT}: lists {name}, which is outside of the folder; {AGAIN}.")
        if path.is_symlink() or not path.is_file():
            raise InputRefused(f"{path}: is listed in {EXPORT} and is not there as a plain file; {AGAIN}.")
        if path.stat().st_size != size or file_sha256(path) != expected:
            raise InputRefused(f"{path}: is not the file that {EXPORT} lists (its sha256 differs); {AGAIN}.")
        hashes[name] = str(expected)
    return hashes


def _check_ends(model: ModelFile, first: ModelFile) -> None:
    """Raise InputRefused for a file whose ends a device cannot feed or read, or that is of another size than the INT8 file."""
    facts, expected = model.facts, first.facts
    if facts.inputs != (IMAGE,) or LOGITS not in facts.outputs:
        raise InputRefused(
            f"{model.path}: takes {', '.join(facts.inputs)} and gives {', '.join(facts.outputs)}; expected {IMAGE} and at least {LOGITS}; {AGAIN}."
        )
    if facts.shape != expected.shape or facts.sizes.get(LOGITS) != expected.sizes.get(LOGITS):
        raise InputRefused(
            f"{model.path}: has another input or other classes than {first.path.name}; {AGAIN}."
        )
    if not all(facts.shape) or not facts.sizes.get(LOGITS):
        raise InputRefused(f"{model.path}: leaves a side of its input or its classes open; {AGAIN}.")


def check_audited(model: ModelFile, evidence: Evidence) -> None:
    """Raise InputRefused unless a file of the export is the one that a run audited."""
    audited = evidence.run.model.fingerprint
    if model.facts.fingerprint != audited:
        raise InputRefused(
            f"{model.path}: its fingerprint is {model.facts.fingerprint[:12]}, and the run {evidence.folder} audited {audited[:12]}; "
            f"audit this file, or give the export whose {model.path.name} was audited. Made again by another version of safeml, a "
            "file has other bytes, even where its graph is the same: its version stands in it."
        )
    recorded, actual = evidence.times.model_file_sha256, file_sha256(model.path)
    if recorded != actual:
        raise InputRefused(
            f"{model.path}: its sha256 is {actual[:12]}, and the run {evidence.folder} audited a file with {recorded[:12]}; audit this file."
        )


def classes(exported: Exported) -> int:
    """Return K, the number of classes."""
    return exported.int8.facts.sizes[LOGITS]


def features(exported: Exported) -> int:
    """Return F, the number of features, 0 where the INT8 file gives none."""
    return exported.int8.facts.sizes.get(FEATURES, 0)
