"""How the INT8 model was made: the record of `safeml quantize`, and whether it belongs to the model under test.

Legend: M validation images.
"""

from __future__ import annotations

from typing import Any, Literal

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect
from safeml.audits.quantization.pruning import pruning_findings, pruning_sentences, pruning_tables
from safeml.audits.quantization.record import LayerRow, Quantized, read_quantized
from safeml.classifiers.twin import ExportedClassifier
from safeml.results import (
    Bars,
    Card,
    Column,
    Fact,
    Figure,
    Finding,
    Metric,
    Scalar,
    StageResult,
    Table,
)
from safeml.stages.quantization import QUANTIZATION, QuantizationSettings
from safeml.wording import counted, number, percent

NO_RECORD = "there is no quantization.json beside the model"
TITLES = {
    "float": "float",
    "pruned": "float, pruned",
    "ptq": "INT8, calibrated (PTQ)",
    "qat": "INT8, trained (QAT)",
    "finetuned": "float, trained for the same epochs",
}
MOST_BARS = 40


def run(inputs: AuditInputs, settings: QuantizationSettings) -> StageResult:
    """Report on the record of the quantization; without one, or for its float model, the stage is skipped.

    Raises InputRefused for an invalid record.
    """
    if inputs.quantization is None:
        return _skipped(NO_RECORD)
    record = read_quantized(inputs.quantization)
    role = _role(inputs, record)
    if role in ("float", "pruned", "finetuned"):
        return _skipped(
            f"the model under test is the {role} model of this quantization, which is not quantized"
        )
    accuracy, of_float = record.accuracy[record.chosen], record.accuracy["float"]
    return StageResult(
        stage=QUANTIZATION.name,
        title=QUANTIZATION.title,
        tested="How the model was quantized and chosen, which layers lose most, and whether the record belongs to this model.",
        on_what=f"The record of `safeml quantize`: calibrated on {record.calibration}, chosen on "
        f"{counted(record.images, 'validation image')}.",
        facts=_facts(record),
        metrics=_metrics(record, accuracy, of_float),
        findings=[*_belonging(inputs, record, role), *_findings(record)],
        figures=_figures(record),
        meaning=[
            record.reason,
            "Validation accuracies chose the model, so they are no evidence for release; the other stages measure the file on the test "
            "set.",
            *_worst_layers(record),
            *(pruning_sentences(record.pruning) if record.pruning else []),
        ],
        limits=[
            "The error of a layer includes that of the layers before it. The gain of a layer in float is measured with all others in "
            "INT8, so gains do not add up.",
            *record.notes,
        ],
        not_tested=[Fact(label="Device", value="the engine on the device may keep other layers in float")],
        reproduce=[
            "safeml quantize quantize.toml --data-root DATA --out FOLDER",
            f"source {record.source}",
            f"training images {record.train}",
            f"validation images {record.valid}",
        ],
        card=Card(
            headline=percent(accuracy),
            text=f"validation accuracy in INT8; the float model has {percent(of_float)}",
            figure_id="quantization-layers",
        ),
        provenance=inputs.provenance(settings, record.valid),
    )  # fmt: skip


def _skipped(reason: str) -> StageResult:
    return StageResult(stage=QUANTIZATION.name, title=QUANTIZATION.title, status="skipped", reason=reason)


def _role(inputs: AuditInputs, record: Quantized) -> Literal["int8", "float", "pruned", "finetuned", ""]:
    """Return which model of the record is under test: by fingerprint, or by the record of its export; "" for none of them."""
    fingerprint = inputs.classifier.fingerprint
    if fingerprint in (
        record.fingerprints["int8"],
        record.fingerprints["ptq"],
        record.fingerprints.get("qat"),
    ):
        return "int8"
    roles: tuple[Literal["float", "pruned", "finetuned"], ...] = ("float", "pruned", "finetuned")
    for role in roles:
        if fingerprint == record.fingerprints.get(role):
            return role
    return "int8" if _is_exported(inputs, record) else ""


def _is_exported(inputs: AuditInputs, record: Quantized) -> bool:
    """Return whether export.json says that the file under test was exported from the INT8 model of the record."""
    export, origin = inputs.export, inputs.origin
    if export is None or origin is None:
        return False
    sources, files = export.get("sources"), export.get("files")
    source = sources.get("int8.keras") if isinstance(sources, dict) else None
    listed: list[Any] = files if isinstance(files, list) else []
    return source == record.int8_sha256 and any(
        isinstance(entry, dict) and entry.get("sha256") == origin.scan.sha256 for entry in listed
    )


def _belonging(inputs: AuditInputs, record: Quantized, role: str) -> list[Finding]:
    classifier, findings = inputs.classifier, []
    for used, of in ((record.train, "calibrated and trained"), (record.valid, "chosen")):
        if used and used == inputs.test.fingerprint:
            findings.append(
                Finding(
                    code="quantized-on-test",
                    severity="serious",
                    message=f"The INT8 model was {of} on the test set itself, so the verdict is not on unseen images.",
                    remedy="Test on images used neither in the quantization nor for its choice.",
                    evidence={"fingerprint": used},
                )
            )
    if not role:
        findings.append(
            Finding(
                code="quantization-of-another-model",
                severity="serious",
                message="quantization.json beside the model belongs to another model: neither its fingerprints nor export.json name the "
                "file under test.",
                remedy="Audit the file in the folder in which `safeml quantize` and `safeml export` wrote it, or export it again.",
            )
        )
    if (
        isinstance(classifier, ExportedClassifier)
        and classifier.gradients.fingerprint != record.fingerprints["int8"]
    ):
        findings.append(
            Finding(
                code="gradients-of-another-model",
                severity="serious",
                message=f"The model that gives the gradients, {classifier.gradients.name}, is not the INT8 model of quantization.json.",
                remedy='Set model.gradients to the "int8.keras" of the same folder.',
            )
        )
    return findings


def _metrics(record: Quantized, accuracy: float, of_float: float) -> list[Metric]:
    """Return the validation accuracies, without intervals: these images chose the model."""
    common = {"n": record.images, "method": "on the images that chose the model, so without an interval"}
    return [
        Metric(
            name="validation_accuracy_int8",
            title="Validation accuracy of the INT8 model",
            value=accuracy,
            **common,
        ),
        Metric(
            name="validation_accuracy_drop",
            title="Validation accuracy lost against the float model",
            value=of_float - accuracy,
            direction="down",
            **common,
        ),
    ]


def _findings(record: Quantized) -> list[Finding]:
    pruned = pruning_findings(record.pruning) if record.pruning else []
    if not record.in_float:
        return pruned
    names = ", ".join(row.name for row in record.in_float[:5])
    return [
        *pruned,
        Finding(
            code="layers-in-float",
            severity="info",
            message=f"{counted(len(record.in_float), 'layer')} with weights computed in float: {names}.",
            evidence={"layers": len(record.in_float), "of": len(record.layers)},
        ),
    ]


def _facts(record: Quantized) -> list[Fact]:
    return [
        Fact(label="Chosen", value=TITLES[record.chosen], detail=f"by {record.monitor}"),
        Fact(label="Calibration", value=record.observer, detail=record.calibration),
        Fact(
            label="Layers in INT8",
            value=f"{len(record.layers) - len(record.in_float)} of {len(record.layers)}",
            detail=f"{counted(record.quantizers, 'activation quantizer')}",
        ),
        Fact(
            label="Weights",
            value=counted(record.int8_bytes, "byte"),
            detail=f"{number(record.float_bytes)} in float32",
        ),
        Fact(
            label="Decisions changed",
            value=percent(record.decisions_changed),
            detail=f"of {counted(record.measured, 'calibration image')}, against the same weights in float",
        ),
    ]


def _worst_layers(record: Quantized) -> list[str]:
    if not record.gains:
        return []
    best = min(record.gains, key=lambda row: row.decisions_changed)
    return [
        f"With the layer {best.name} in float, {percent(best.decisions_changed)} of the decisions change instead of "
        f"{percent(record.decisions_changed)}."
    ]


def _figures(record: Quantized) -> list[Figure]:
    """Return the table of the models, the error by layer, and the layers with their reasons."""
    models: list[list[Scalar]] = [
        [TITLES[name], value, "chosen" if name == record.chosen else ""]
        for name, value in record.accuracy.items()
    ]
    figures: list[Figure] = [
        Table(
            id="quantization-models",
            title="Validation accuracy",
            columns=[
                Column(key="model", label="Model"),
                Column(key="accuracy", label="Accuracy", kind="percent"),
                Column(key="chosen", label="Chosen"),
            ],
            rows=models,
            caption=f"{counted(record.images, 'image')}, the same for all. {record.reason}",
        )
    ]
    errors = [row for row in record.layers if row.sqnr_db is not None]
    if errors:
        worst = sorted(errors, key=lambda row: row.sqnr_db or 0.0)[:MOST_BARS]
        figures.append(
            Bars(
                id="quantization-layers",
                title="Signal to quantization noise by layer, worst first",
                labels=[row.name for row in worst],
                values=[row.sqnr_db or 0.0 for row in worst],
                value_label="decibels",
                caption=f"Power of the float output over the power of the error, {counted(record.measured, 'calibration image')}; "
                "the error includes that of the layers before. Larger is better: 6 dB are one bit.",
            )
        )
    pruned = pruning_tables(record.pruning, record.images) if record.pruning else []
    return [*figures, *pruned, _layer_table(record)]


def _layer_table(record: Quantized) -> Table:
    gains = {row.name: row for row in record.gains}

    def cells(row: LayerRow) -> list[Scalar]:
        gain = gains.get(row.name)
        return [
            row.name,
            row.kind,
            "INT8" if row.quantized else "float",
            row.sqnr_db,
            gain.decisions_changed if gain else None,
            gain.logit_error if gain else None,
            row.reason,
        ]

    return Table(
        id="quantization-table",
        title="Layers with weights",
        columns=[
            Column(key="layer", label="Layer", kind="id"),
            Column(key="kind", label="Kind"),
            Column(key="computed", label="Computed in"),
            Column(key="sqnr", label="SQNR, dB", kind="number"),
            Column(key="changed", label="Decisions changed, in float", kind="percent"),
            Column(key="error", label="Logit error, in float", kind="number"),
            Column(key="reason", label="Why in float"),
        ],
        rows=[cells(row) for row in record.layers],
        caption=f"In INT8 throughout, {percent(record.decisions_changed)} of the decisions change and the root mean square error of a "
        f'logit is {number(record.logit_error)}. The columns "in float" have this one layer in float, for the layers that lose most.',
        fold=len(record.layers) > 15,
    )


def _state(
    inputs: AuditInputs, settings: QuantizationSettings, untrained: bool
) -> tuple[Literal["runs", "idle"], str]:
    return ("idle", NO_RECORD) if inputs.quantization is None else ("runs", "")


# Whether the record belongs to the model is known when the model is open.
PERFECT = Perfect(
    run=lambda inputs, settings: StageResult(stage=QUANTIZATION.name, title=QUANTIZATION.title),
    calls=lambda inputs, settings, gradient: [],
    state=_state,
    gates=False,
)
