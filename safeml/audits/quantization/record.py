"""`quantization.json` of `safeml quantize`, checked. It comes with the model, so no entry of it is trusted to have its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safeml.audits.quantization.pruning import Pruned
from safeml.errors import InputRefused
from safeml.quantization.record import FORMAT
from safeml.results import Finite, Proportion

MOST = 10_000
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(max_length=200)]


class _Part(BaseModel):
    """A part of the record; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class LayerRow(_Part):
    """A layer with weights. sqnr_db: of its output, in decibels; None where it was not measured."""

    name: Name
    kind: Name = ""
    quantized: bool
    reason: Text = ""
    sqnr_db: Finite | None = None


class Gain(_Part):
    """One layer in float, all others in INT8."""

    name: Name = Field(alias="layer")
    logit_error: Finite
    decisions_changed: Proportion


class _Data(_Part):
    name: Name = ""
    images: int = Field(default=0, ge=0)
    fingerprint: Name = ""


class _Calibration(_Data):
    observer: Name = ""
    notes: list[Text] = []


class _Chosen(_Part):
    model: Name
    monitor: Name = ""
    reason: Text = ""


class _LayerError(_Part):
    layer: Name
    sqnr_db: Finite | None


class _Sensitivity(_Part):
    images: int
    logit_error: Finite
    decisions_changed: Proportion
    layers: list[_LayerError] = Field(default=[], max_length=MOST)
    kept_float: list[Gain] = Field(default=[], max_length=MOST)


class _File(_Part):
    sha256: Name
    fingerprint: Name


class _Source(_Part):
    fingerprint: Name = ""


class _Sizes(_Part):
    float32_bytes: int = Field(ge=0)
    int8_bytes: int = Field(ge=0)


class _Record(_Part):
    format: int
    source: _Source = _Source()
    train: _Data
    valid: _Data
    calibration: _Calibration
    quantizers: list[Any] = Field(default=[], max_length=MOST)
    layers: list[LayerRow] = Field(max_length=MOST)
    validation: dict[Name, Any]
    chosen: _Chosen
    sensitivity: _Sensitivity
    sizes: _Sizes
    files: dict[Name, _File]
    pruning: Pruned | None = None


class _Validated(_Part):
    val_accuracy: Proportion


class Quantized(_Part):
    """The record in the form of its page.

    accuracy: of each model on the validation images, 0..1, by name: float, ptq and, where they were made, pruned, qat and finetuned.
    images: validation images. chosen: "ptq" or "qat". fingerprints: by name, and that of int8.keras as "int8".
    int8_sha256: of int8.keras. decisions_changed, logit_error, measured: of the sensitivity, on so many calibration images.
    """

    accuracy: dict[str, float]
    images: int
    chosen: str
    monitor: str
    reason: str
    observer: str
    calibration: str
    notes: list[str]
    layers: list[LayerRow]
    gains: list[Gain]
    decisions_changed: float
    logit_error: float
    measured: int
    quantizers: int
    int8_bytes: int
    float_bytes: int
    fingerprints: dict[str, str]
    int8_sha256: str
    source: str
    train: str
    valid: str
    pruning: Pruned | None = None

    @property
    def in_float(self) -> list[LayerRow]:
        """The layers that are not quantized."""
        return [row for row in self.layers if not row.quantized]


def read_quantized(values: Mapping[str, Any]) -> Quantized:
    """Check a decoded quantization.json. Raises InputRefused for another format or a part of another form."""
    try:
        record = _Record.model_validate(values)
        images = int(record.validation.get("images", 0))
        accuracy: dict[str, float] = {
            name: _Validated.model_validate(record.validation[name]).val_accuracy
            for name in ("float", "pruned", "ptq", "qat", "finetuned")
            if name in record.validation
        }
    except (ValidationError, TypeError, ValueError) as error:
        problem = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ".".join(map(str, problem["loc"]))
        raise InputRefused(
            f"quantization.json: {place or 'it'} is not as `safeml quantize` writes it ({problem['msg']}); quantize again."
        ) from None
    if record.format != FORMAT:
        raise InputRefused(
            f"quantization.json: has format {record.format}; expected {FORMAT}, so quantize again with this safeml."
        )
    missing = [name for name in ("float", "ptq", "int8") if name not in record.files]
    if (
        missing
        or record.chosen.model not in ("ptq", "qat")
        or not {"float", record.chosen.model} <= set(accuracy)
    ):
        raise InputRefused(
            "quantization.json: names no chosen model with its validation and its files; quantize again."
        )
    errors = {row.layer: row.sqnr_db for row in record.sensitivity.layers}
    return Quantized(
        accuracy=accuracy,
        images=images,
        chosen=record.chosen.model,
        monitor=record.chosen.monitor,
        reason=record.chosen.reason,
        observer=record.calibration.observer,
        calibration=f"{record.calibration.images:,} images of {record.calibration.name}",
        notes=list(record.calibration.notes),
        layers=[row.model_copy(update={"sqnr_db": errors.get(row.name)}) for row in record.layers],
        gains=list(record.sensitivity.kept_float),
        decisions_changed=record.sensitivity.decisions_changed,
        logit_error=record.sensitivity.logit_error,
        measured=record.sensitivity.images,
        quantizers=len(record.quantizers),
        int8_bytes=record.sizes.int8_bytes,
        float_bytes=record.sizes.float32_bytes,
        fingerprints={name: entry.fingerprint for name, entry in record.files.items()},
        int8_sha256=record.files["int8"].sha256,
        source=record.source.fingerprint,
        train=record.train.fingerprint,
        valid=record.valid.fingerprint,
        pruning=record.pruning,
    )
