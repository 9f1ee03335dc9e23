"""The exported INT8 file: the linter of its graph, its parity with the model that gives its gradients, and which checks of the export ran.

Legend: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from safeml.audits.base import AuditInputs
from safeml.audits.measured import undefined_metrics
from safeml.audits.perfect import Perfect
from safeml.audits.predictions import predicted_logits
from safeml.audits.slices import Slices
from safeml.classifiers.twin import ExportedClassifier
from safeml.data.targets import Targets
from safeml.results import Card, Column, Fact, Finding, Metric, Scalar, StageResult, Table
from safeml.stages.base import load
from safeml.stages.conversion import CONVERSION, ConversionSettings
from safeml.wording import counted, number, percent

# Of the tolerance of a regression (without one, of a tenth of the range): a larger difference of a value counts as another prediction.
NOTICEABLE = 0.1
VALUES_TITLE = "Images whose value differs from that of the source by more than a tenth of the tolerance"
SLICE = 1024
SHOWN = 50
LINTER, EXEMPTION = "safeml.export.linter:lint", "safeml.export.linter:Exemption"
CHECKS = "safeml.export.acceptance:ROWS"
# The rule that a layer in float breaks, as `safeml export` exempts it.
IN_FLOAT = "kernel-quantized"
NO_EXPORT = "there is no export.json beside the model"
OF_ANOTHER_FILE = "the checks in export.json are of another file"
OF_ANOTHER_MODEL = "the checks in export.json are of another int8.keras than that of quantization.json"
NO_INT8_FILE = "the model under test is no ONNX file with explicit INT8 quantization"
NO_ROW = "export.json has no row of this check; run `safeml export` again"
NO_GRADIENTS = "model.gradients is not set, so no source of the file is known"
STATUS = {"passed": "passed", "failed": "failed", "not_run": "not run"}


@dataclass(frozen=True)
class Checks:
    """The checks of `safeml export`, as export.json states them.

    rows: (name, status, reason) in their order.
    files: name -> (bytes, sha256).
    """

    rows: tuple[tuple[str, str, str], ...]
    files: Mapping[str, tuple[int, str]]

    def count(self, status: str) -> int:
        """Return how many have this status."""
        return sum(row[1] == status for row in self.rows)


def read_checks(record: Mapping[str, Any]) -> Checks:
    """Read a decoded export.json. An entry of another shape, and no entry at all, count as a check that failed; one without a row did not run."""
    rows, files = [], {}
    given = record.get("checks")
    listed = list(given) if isinstance(given, list) and given else [None]
    if record.get("status") == "failed" and not any(
        isinstance(entry, dict) and entry.get("status") == "failed" for entry in listed
    ):
        listed.append(None)  # the failed check was taken out
    for entry in listed:
        status = entry.get("status") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and status in STATUS:
            rows.append((str(entry.get("name", "")), str(status), str(entry.get("reason", ""))))
        else:
            rows.append(("unreadable", "failed", "export.json holds no check in the form of `safeml export`"))
    named = {name for name, _, _ in rows}
    rows += [(row.name, "not_run", NO_ROW) for row in load(CHECKS) if row.name not in named]
    written = record.get("files")
    for entry in written if isinstance(written, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("bytes"), int):
            files[str(entry.get("name", ""))] = (entry["bytes"], str(entry.get("sha256", "")))
    return Checks(tuple(rows), files)


def run(inputs: AuditInputs, settings: ConversionSettings) -> StageResult:
    """Lint the file under test, compare it with its source, and report the checks of its export."""
    proto = getattr(getattr(inputs.classifier, "artefact", inputs.classifier), "quantized_proto", None)
    if inputs.export is None or proto is None:
        reason = NO_EXPORT if inputs.export is None else NO_INT8_FILE
        return StageResult(stage=CONVERSION.name, title=CONVERSION.title, status="skipped", reason=reason)
    checks, origin = read_checks(inputs.export), inputs.origin
    same = _same_source(inputs.export, inputs.quantization)
    broken, exempted = _linted(proto, inputs.quantization if same else None)
    parity, findings = _parity(inputs, settings)
    own = origin is None or checks.files.get(origin.scan.path, (0, ""))[1] == origin.scan.sha256
    if origin is not None and not own:
        findings.append(_of_another_file(origin.scan.path))
    if not same:
        findings.append(_of_another_model())
    foreign = OF_ANOTHER_MODEL if own and not same else "" if own else OF_ANOTHER_FILE
    findings += [_failed(name, reason) for name, status, reason in checks.rows if status == "failed"]
    metrics = [
        Metric.count("linter_findings", "Findings of the linter", len(broken), _nodes(proto)),
        parity,
        *_check_metrics(checks, foreign, settings),
    ]
    return StageResult(
        stage=CONVERSION.name,
        title=CONVERSION.title,
        tested="Whether the file states INT8 computations by the rules of TensorRT, and predicts what its source predicts.",
        on_what=f"{origin.scan.path if origin is not None else inputs.classifier.name}; {inputs.test.name}.",
        facts=_facts(inputs, checks, len(broken), parity),
        metrics=metrics,
        findings=findings,
        figures=[
            *([_lint_table(broken, exempted)] if broken or exempted else []),
            _check_table(checks),
            _size_table(checks),
        ],
        meaning=[
            "The linter reads the graph of this file. A rule that is broken makes TensorRT refuse the file, or compute in float or "
            "on another grid without a message.",
            "A check that did not run proves nothing; its reason says what to do.",
        ],
        limits=[
            "No engine was built for the device and none was run on it: kernels, precision outside the quantizers and latency of the "
            "device are not measured.",
            "Predictions of the file are those of ONNX Runtime on a CPU, without fused integer kernels; an engine may round differently.",
        ],
        not_tested=[
            Fact(label="Device", value="latency, memory and rounding of the engine on the device"),
            *(Fact(label=name, value="not run", detail=reason) for name, status, reason in checks.rows if status == "not_run"),
        ][:12],
        reproduce=[f"model {inputs.classifier.fingerprint}", "safeml export FOLDER"],
        card=Card(
            headline=counted(len(broken), "linter finding"),
            text=f"{checks.count('passed')} checks passed, {checks.count('failed')} failed, {checks.count('not_run')} did not run",
        ),
    )  # fmt: skip


def _same_source(export: Mapping[str, Any], quantization: Mapping[str, Any] | None) -> bool:
    """Return whether export.json is of the INT8 model of quantization.json; a record that is not there contradicts nothing."""
    if quantization is None:
        return True
    sources, files = export.get("sources"), quantization.get("files")
    entry = files.get("int8") if isinstance(files, dict) else None
    source = sources.get("int8.keras") if isinstance(sources, dict) else None
    return source is not None and source == (entry.get("sha256") if isinstance(entry, dict) else None)


def _linted(proto: Any, quantization: Mapping[str, Any] | None) -> tuple[list[Any], list[Any]]:
    """Return the findings of the linter, and those that a layer in float explains."""
    lint, exemption = load(LINTER), load(EXEMPTION)
    layers = (quantization or {}).get("layers")
    in_float = {
        str(row.get("name")): str(row.get("reason") or "kept in float")
        for row in (layers if isinstance(layers, list) else [])
        if isinstance(row, dict) and row.get("quantized") is False
    }
    nodes = [finding.node for finding in lint(proto) if finding.rule == IN_FLOAT]
    used = [
        exemption(IN_FLOAT, layer, reason)
        for layer, reason in in_float.items()
        if any(node == layer or node.startswith(f"{layer}/") for node in nodes)
    ]
    findings = lint(proto, exemptions=used)
    return [row for row in findings if not row.exemption], [row for row in findings if row.exemption]


def _nodes(proto: Any) -> int:
    return len(proto.graph.node)


def _check_metrics(checks: Checks, foreign: str, settings: ConversionSettings) -> list[Metric]:
    """Return the counts of the checks. foreign: why they are not of the file under test, which leaves them undefined; "" if they are."""
    titles = {
        "failed_checks": "Failed checks of the export",
        "checks_not_run": "Checks of the export that did not run",
    }
    if foreign:
        declared = [row for row in CONVERSION.records(settings) if row.name in titles]
        return undefined_metrics(declared, foreign, len(checks.rows), titles)
    counts = {"failed_checks": checks.count("failed"), "checks_not_run": checks.count("not_run")}
    return [Metric.count(name, titles[name], counts[name], len(checks.rows)) for name in titles]


def _parity(inputs: AuditInputs, settings: ConversionSettings) -> tuple[Metric, list[Finding]]:
    """Count the test images for which the file and the model with the gradients predict another class."""
    title = "Images of another class than the source predicts"
    classifier = inputs.classifier
    if not isinstance(classifier, ExportedClassifier):
        declared = [row for row in CONVERSION.records(settings) if row.name == "parity_flips"]
        return undefined_metrics(declared, NO_GRADIENTS, 0, {"parity_flips": title})[0], []
    sample = inputs.test.sample(settings.images, inputs.seed)
    slices = Slices(inputs.work, SLICE, {"images": inputs.predicting, "source": classifier.gradients.batch})
    own = predicted_logits(inputs, slices, sample, "predictions", "predict with the file")

    def source(rows: slice) -> dict[str, np.ndarray]:
        return {"logits": np.asarray(classifier.gradients.predict_logits(sample.images[rows]), np.float32)}

    columns = {"images": sample.images, "ids": np.arange(len(sample))}
    parts = {"gradients": classifier.gradients.fingerprint}
    form = {"logits": ("float32", (len(sample.outputs),))}
    other = slices.measure("source-predictions", columns, parts, form, source)["logits"]
    if sample.targets is None:
        flips = int((own.argmax(axis=1) != other.argmax(axis=1)).sum())
    else:
        title = VALUES_TITLE
        flips = int((~(np.abs(own - other) <= _noticeable(sample.targets)).all(axis=1)).sum())
    return Metric.count("parity_flips", title, flips, len(sample)), slices.halved()


def _noticeable(targets: Targets) -> np.ndarray:
    """Return the difference of a value that counts as another prediction, float64 [T]: a share of the tolerance, else of the range."""
    ranges = [target.range[1] - target.range[0] for target in targets.settings]
    limits = [target.tolerance or width / 10 for target, width in zip(targets.settings, ranges, strict=True)]
    return NOTICEABLE * np.array(limits)


def _of_another_file(name: str) -> Finding:
    return Finding(
        code="export-of-another-file",
        severity="serious",
        message=f"export.json does not list {name} with the sha256 of the file under test, so its checks are of another file.",
        remedy="Run `safeml export` again, and audit the file that it writes.",
    )


def _of_another_model() -> Finding:
    return Finding(
        code="export-of-another-model",
        severity="serious",
        message="export.json and quantization.json name different int8.keras files, so the file under test is not of this quantization.",
        remedy="Run `safeml export` again, and audit the file that it writes.",
    )


def _failed(name: str, reason: str) -> Finding:
    return Finding(
        code="export-check-failed",
        severity="serious",
        message=f"The check {name} of the export failed. {reason}",
        remedy="Mend the model or its recipe, and export again.",
        evidence={"check": name},
    )


def _facts(inputs: AuditInputs, checks: Checks, broken: int, parity: Metric) -> list[Fact]:
    classifier, origin = inputs.classifier, inputs.origin
    facts = [
        Fact(label="Linter", value=counted(broken, "finding")),
        Fact(
            label="Parity",
            value=counted(int(parity.value), "flip") if parity.value is not None else "not measured",
            detail=f"of {counted(parity.n, 'test image')}" if parity.value is not None else parity.reason,
        ),
        Fact(
            label="Checks of the export",
            value=f"{checks.count('passed')} passed",
            detail=f"{checks.count('failed')} failed, {checks.count('not_run')} did not run",
        ),
    ]
    if isinstance(classifier, ExportedClassifier):
        checked = classifier.checked
        facts.append(
            Fact(
                label="Logits of the source",
                value=f"differ by {percent(checked.difference)} of their size",
                detail=f"largest difference {number(checked.largest)}, {checked.images} images",
            )
        )
    if origin is not None:
        facts.append(Fact(label="Size", value=counted(origin.scan.bytes, "byte"), detail=origin.scan.path))
    return facts


def _lint_table(broken: list[Any], exempted: list[Any]) -> Table:
    rows: list[list[Scalar]] = [
        [row.rule, row.node, row.message, row.exemption or "none"] for row in [*broken, *exempted][:SHOWN]
    ]
    return Table(
        id="conversion-linter",
        title="Findings of the linter",
        columns=[
            Column(key="rule", label="Rule", kind="id"),
            Column(key="node", label="Node", kind="id"),
            Column(key="found", label="Found and expected"),
            Column(key="exemption", label="Exemption"),
        ],
        rows=rows,
        caption=f"{len(broken)} findings without an exemption, {len(exempted)} of layers that are in float for a stated reason.",
    )


def _check_table(checks: Checks) -> Table:
    order = {"failed": 0, "not_run": 1, "passed": 2}
    rows: list[list[Scalar]] = [
        [name, STATUS[status], reason]
        for name, status, reason in sorted(checks.rows, key=lambda row: order[row[1]])
    ]
    return Table(
        id="conversion-checks",
        title="Which checks of the export ran",
        columns=[
            Column(key="check", label="Check", kind="id"),
            Column(key="status", label="Result"),
            Column(key="reason", label="Why"),
        ],
        rows=rows,
        caption="From export.json. A check that did not run is no proof.",
    )


def _size_table(checks: Checks) -> Table:
    rows: list[list[Scalar]] = [[name, size] for name, (size, _) in sorted(checks.files.items())]
    return Table(
        id="conversion-sizes",
        title="Files of the export",
        columns=[
            Column(key="file", label="File", kind="id"),
            Column(key="bytes", label="Bytes", kind="number"),
        ],
        rows=rows,
        caption="An ONNX file with explicit quantization holds float kernels on a grid or INT8 codes, by its opset; the engine on the "
        "device holds INT8 codes.",
        fold=True,
    )


# What the linter and the checks give depends on the file, and a plan does not open it.
PERFECT = Perfect(
    run=lambda inputs, settings: StageResult(stage=CONVERSION.name, title=CONVERSION.title),
    calls=lambda inputs, settings, gradient: [],
    gates=False,
)
