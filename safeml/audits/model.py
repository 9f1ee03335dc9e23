"""The model file: format, scan, loading and input contract. Reads the record of the scan; opens no file."""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect
from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import contract_key
from safeml.limits import GIB
from safeml.results import Card, Column, Fact, Finding, ModelOrigin, StageResult, Table
from safeml.stages.model import MODEL, ModelFileSettings
from safeml.wording import counted, number

CHOSEN_HERE = (
    "The input contract was selected on these test images, so the accuracy is slightly optimistic: "
    "it is the best of several contracts."
)
KERAS = "public Keras classes, no code, no function objects, no paths, and finite weights stored in the file"
ALLOWED = {
    "Keras archive": KERAS,
    "HDF5 file": KERAS,
    "ONNX file": "standard operators, no data in other files, and finite weights",
    "SavedModel folder": "operators that compute on tensors, and its saver, which is never called; "
    "loading verified that the weights are finite",
}
UNSEEN = (
    "The model file does not record its training images or their augmentation: "
    "the test images may have been among them."
)


MADE_IN_MEMORY = "the model was given in memory, so no file was scanned or audited"


def run(inputs: AuditInputs, settings: ModelFileSettings) -> StageResult:
    """Report on the model file and on the input contract of the classifier."""
    if inputs.origin is None:
        return StageResult(
            stage="model",
            title="Model file",
            status="skipped",
            reason=MADE_IN_MEMORY,
            findings=_contract_findings(inputs),
            figures=[_contract_table(inputs.classifier.spec)],
        )
    origin, classifier = inputs.origin, inputs.classifier
    scan = origin.scan
    return StageResult(
        stage="model",
        title="Model file",
        tested="The contents of the model file, by a static scan before any framework reads it; loading within limits in a "
        "separate process; finite and repeatable outputs.",
        on_what=f"{scan.path}, {counted(scan.bytes, 'byte')}; the scanned bytes are the loaded and audited bytes.",
        facts=[
            Fact(label="Scan", value=scan.status, detail=f"by allow-list, scanner {scan.scanner}"),
            Fact(label="Format", value=scan.format, detail=_version(origin)),
            Fact(label="Parameters", value=number(classifier.parameters)),
            Fact(
                label="Outputs",
                value=number(classifier.classes),
                detail=f"the file returns {classifier.spec.outputs}",
            ),
            Fact(label="File", value=scan.sha256[:12], detail="sha256, first 12 digits"),
        ],
        findings=[*_training_findings(inputs, origin), *_contract_findings(inputs)],
        figures=[_scan_table(origin), _contract_table(classifier.spec), *_loading_table(inputs, origin)],
        meaning=[
            f"Accepted: the file contains only what an image classifier needs: {ALLOWED[scan.format]}.",
            "It does not mean that the model is good, or that the framework that reads it has no vulnerabilities.",
        ],
        limits=[
            "The scan and the limited process are defence in depth, not isolation: open untrusted files "
            "in a container or a virtual machine.",
            "A backdoored model (trained to misbehave on a secret pattern) is an ordinary file; no static scan detects it.",
        ],
        not_tested=[
            Fact(
                label="Training data",
                value="not visible",
                detail="the file does not record it",
            ),
            Fact(label="Backdoors", value="not tested", detail="not detectable by a static scan"),
        ],
        reproduce=[
            f"file sha256 {scan.sha256}",
            f"model {classifier.fingerprint}",
            f"safeml scan {scan.path}",
        ],
        card=Card(headline=scan.status, text=f"{scan.format}, {counted(classifier.parameters, 'parameter')}"),
    )


def _version(origin: ModelOrigin) -> str:
    version = origin.scan.facts.get("Keras version")
    return f"Keras {version}" if version else ""


def _training_findings(inputs: AuditInputs, origin: ModelOrigin) -> list[Finding]:
    if inputs.train is not None and origin.safeml_trained:
        return []
    return [
        Finding(
            code="training-not-visible",
            severity="info" if inputs.train is not None else "warning",
            message=UNSEEN,
            remedy="Set [data.train] to the author's training data, so that shared images are counted, or test on images "
            "that are newer than the model.",
        )
    ]


def _contract_findings(inputs: AuditInputs) -> list[Finding]:
    contract, findings = inputs.contract, []
    measured = contract_key(contract, inputs.test.pixels_fingerprint, inputs.classifier.fingerprint)
    if contract.chosen_on == measured:
        findings.append(
            Finding(
                code="contract-chosen-on-test",
                severity="warning",
                message=CHOSEN_HERE,
                remedy="Run `safeml inspect` on other labelled images, such as validation images, or confirm with the author.",
            )
        )
    elif contract.chosen_on:
        findings.append(
            Finding(
                code="contract-measured-elsewhere",
                severity="info",
                message="The input contract was measured by safeml inspect on other images or another model, "
                "or changed since then; "
                "overlap of those images with the test images was not checked.",
            )
        )
    elif inputs.origin is None or not inputs.origin.safeml_trained:
        findings.append(
            Finding(
                code="contract-not-measured",
                severity="warning",
                message="The input contract was not measured: it was set by hand or is the default. An incorrect channel order "
                "or range lowers the accuracy without an error message.",
                remedy="Run `safeml inspect` on labelled images and compare the result.",
            )
        )
    return findings


def _scan_table(origin: ModelOrigin) -> Table:
    scan = origin.scan
    rows = [
        ["file", scan.path],
        ["format", scan.format],
        ["bytes", number(scan.bytes)],
        ["sha256", scan.sha256],
    ]
    facts = [
        [name, number(value) if isinstance(value, int) else value]
        for name, value in sorted(scan.facts.items())
    ]
    return _table("scan", "Result of the scan", [*rows, *facts])


def _contract_table(spec: InputSpec) -> Table:
    rows = [
        ["size", f"{spec.height} x {spec.width} pixels"],
        ["channels", spec.channels],
        ["pixel 0 becomes", number(spec.low)],
        ["pixel 255 becomes", number(spec.high)],
    ]
    if spec.standardise:
        rows.append(["then", "each image minus its mean, divided by its standard deviation"])
    if spec.mean:
        rows.append(["minus the mean", ", ".join(map(number, spec.mean))])
    if spec.std:
        rows.append(["divided by", ", ".join(map(number, spec.std))])
    order = "as the data" if spec.class_order is None else "as configured"
    return _table("contract", "How images are preprocessed", [*rows, ["order of the classes", order]])


def _loading_table(inputs: AuditInputs, origin: ModelOrigin) -> list[Table]:
    rows = [["chosen", origin.scan.chosen]] if origin.scan.chosen else []
    rows += [["on loading", note] for note in inputs.classifier.notes]
    memory = (
        f"{origin.memory_limit // GIB} GiB beyond the framework" if origin.memory_limit else "no memory limit"
    )
    confined = "confined to its folder" if origin.confined else "not confined on this system"
    rows.append(
        ["first load", f"in a separate process with {memory} and "
         f"{origin.seconds_limit} seconds; network {origin.network}; files {confined}"]
    )  # fmt: skip
    return [_table("loading", "How the file was opened", rows)]


def _table(name: str, title: str, rows: list[list[str]]) -> Table:
    columns = [Column(key="what", label="What"), Column(key="value", label="Value")]
    return Table(id=f"model-{name}", title=title, columns=columns, rows=[list(row) for row in rows])


# The stage records no metric, and a plan does not open the file.
PERFECT = Perfect(run=lambda inputs, settings: StageResult(stage=MODEL.name, title=MODEL.title))
