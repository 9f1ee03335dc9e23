"""What the model file is, how it was opened, and what of it cannot be seen. Reads the record of the scan; opens nothing."""

from __future__ import annotations

from safeml.audits.base import AuditInputs
from safeml.audits.perfect import Perfect
from safeml.classifiers.base import InputSpec
from safeml.classifiers.contract import contract_key
from safeml.limits import GIB
from safeml.results import Card, Column, Fact, Finding, ModelOrigin, Provenance, StageResult, Table
from safeml.settings.model import InputSettings
from safeml.stages.model import MODEL, ModelFileSettings
from safeml.wording import counted, number

CHOSEN_HERE = (
    "The input contract was chosen on these test images, so the accuracy under it is a little optimistic: "
    "the best of several was taken."
)
KERAS = "public Keras classes, no code and no function objects, no paths, and numbers that are stored in it and finite"
HELD = {
    "Keras archive": KERAS,
    "HDF5 file": KERAS,
    "ONNX file": "standard operators, no data in other files, and numbers that are finite",
    "SavedModel folder": "operators that compute on tensors, and its own saver, which nothing calls; "
    "that its numbers are finite was checked when it was loaded",
}
UNSEEN = (
    "Which images this model was trained on cannot be seen in its file, nor how they were augmented: "
    "these test images may have been among them."
)


MADE_IN_MEMORY = "the model was not loaded from a file, so there is none to report on"


def run(inputs: AuditInputs, settings: ModelFileSettings) -> StageResult:
    """Report on the file that the classifier was loaded from, and on the input contract it is fed by."""
    if inputs.origin is None:
        return StageResult(stage="model", title="Model file", status="skipped", reason=MADE_IN_MEMORY)
    origin, classifier = inputs.origin, inputs.classifier
    scan = origin.scan
    return StageResult(
        stage="model",
        title="Model file",
        tested="What the model file holds, by a static scan before any framework saw it; that it loads within limits in a "
        "process of its own; that its outputs are finite and the same each time.",
        on_what=f"{scan.path}, {counted(scan.bytes, 'byte')}: the bytes that were scanned are the ones that were loaded and audited.",
        facts=[
            Fact(label="Scan", value=scan.status, detail=f"by allow-list, scanner {scan.scanner}"),
            Fact(label="Format", value=scan.format, detail=_version(origin)),
            Fact(label="Parameters", value=number(classifier.parameters)),
            Fact(
                label="Outputs",
                value=number(classifier.classes),
                detail=f"the file gives {classifier.spec.outputs}",
            ),
            Fact(label="File", value=scan.sha256[:12], detail="sha256, first 12 digits"),
        ],
        findings=_findings(inputs, origin, inputs.contract),
        figures=[_scan_table(origin), _contract_table(classifier.spec), *_loading_table(inputs, origin)],
        meaning=[
            f"Accepted means that nothing in the file is outside the list of what an image classifier needs: {HELD[scan.format]}.",
            "It does not mean that the model is good, nor that the framework that reads it is free of errors.",
        ],
        limits=[
            "The scan and the limited process are defence in depth, not isolation: open files of people whom you do not trust "
            "in a container or a virtual machine.",
            "A model trained to misbehave on a secret pattern (a backdoor) is an ordinary file, and no scan sees it.",
        ],
        not_tested=[
            Fact(
                label="Training data",
                value="not visible",
                detail="a file does not say what it was trained on",
            ),
            Fact(label="Backdoors", value="not tested", detail="not visible in a static scan"),
        ],
        reproduce=[
            f"file sha256 {scan.sha256}",
            f"model {classifier.fingerprint}",
            f"safeml scan {scan.path}",
        ],
        card=Card(headline=scan.status, text=f"{scan.format}, {counted(classifier.parameters, 'parameter')}"),
        provenance=Provenance(
            model=classifier.fingerprint,
            data=inputs.test.fingerprint,
            settings=settings.model_dump(mode="json"),
            seed=inputs.seed,
        ),
    )


def _version(origin: ModelOrigin) -> str:
    version = origin.scan.facts.get("Keras version")
    return f"Keras {version}" if version else ""


def _findings(inputs: AuditInputs, origin: ModelOrigin, contract: InputSettings) -> list[Finding]:
    findings = []
    if inputs.train is None or not origin.safeml_trained:
        findings.append(
            Finding(
                code="training-not-visible",
                severity="info" if inputs.train is not None else "warning",
                message=UNSEEN,
                remedy="Configure data.train with what the author used, so that shared images are counted, or test on images "
                "that were taken after the model.",
            )
        )
    measured = contract_key(contract, inputs.test.pixels_fingerprint, inputs.classifier.fingerprint)
    if contract.chosen_on == measured:
        findings.append(
            Finding(
                code="contract-chosen-on-test",
                severity="warning",
                message=CHOSEN_HERE,
                remedy="Run safeml inspect on other labelled images, such as validation images, or ask the author.",
            )
        )
    elif contract.chosen_on:
        findings.append(
            Finding(
                code="contract-measured-elsewhere",
                severity="info",
                message="safeml inspect measured an input contract on other images or on another model, or it was changed since; "
                "whether the images are shared was not compared.",
            )
        )
    elif not origin.safeml_trained:
        findings.append(
            Finding(
                code="contract-not-measured",
                severity="warning",
                message="The input contract was set by hand or left at its default, and was not measured: a wrong channel order "
                "or range loses accuracy without any error.",
                remedy="Run safeml inspect on labelled images, and compare.",
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
    return _table("scan", "What the scan found", [*rows, *facts])


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
    return _table("contract", "How images are fed", [*rows, ["order of the classes", order]])


def _loading_table(inputs: AuditInputs, origin: ModelOrigin) -> list[Table]:
    rows = [["chosen", origin.scan.chosen]] if origin.scan.chosen else []
    rows += [["on loading", note] for note in inputs.classifier.notes]
    memory = (
        f"{origin.memory_limit // GIB} GiB beyond the framework"
        if origin.memory_limit
        else "no limit of memory"
    )
    confined = "confined to its own folder" if origin.confined else "not confined by this system"
    rows.append(
        ["first load", f"in a process of its own with {memory} and "
         f"{origin.seconds_limit} seconds; network {origin.network}; files {confined}"]
    )  # fmt: skip
    return [_table("loading", "How the file was opened", rows)]


def _table(name: str, title: str, rows: list[list[str]]) -> Table:
    columns = [Column(key="what", label="What"), Column(key="value", label="Value")]
    return Table(id=f"model-{name}", title=title, columns=columns, rows=[list(row) for row in rows])


# The stage records no metric, and a plan does not open the file.
PERFECT = Perfect(run=lambda inputs, settings: StageResult(stage=MODEL.name, title=MODEL.title))
