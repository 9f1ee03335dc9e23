"""The page of a bundle: what it holds, who signed it, which devices take it, and on what evidence. Drawn from the bundle alone."""

from __future__ import annotations

from typing import Any

from safeml.bundle import tolerances
from safeml.bundle.reading import OpenedBundle
from safeml.edge.backends.plan import FLOAT
from safeml.edge.errors import REASONS
from safeml.edge.manifest import FLOAT_RESULTS_FILE, Constraints, Manifest, Model, Range
from safeml.edge.moments import utc
from safeml.report.overview import Part, part, table
from safeml.report.page import render_frame
from safeml.report.states import State
from safeml.report.text import cell, short_hash
from safeml.wording import counted, number

RELEASED = State("passed", "pass", "i-pass")
OVERRIDDEN = State("override", "fail", "i-fail")
UNSIGNED = State("unsigned", "fail", "i-fail")
LONGEST_LIST = 40


def bundle_page(opened: OpenedBundle) -> str:
    """Return the page of a bundle that was read."""
    manifest = opened.manifest
    return render_frame(
        "overview.html",
        opened.sha256,
        "Bundles",
        page_title=f"Bundle {manifest.product}, release {manifest.release}",
        word=_state(opened).word,
        verdict=_state(opened),
        sentence=_sentence(opened),
        notes=_notes(opened),
        parts=[
            part("Release", "", [_release_table(opened)]),
            part("Signature", "Ed25519 over the statement, which names the manifest by its sha256. To compare a key: safeml keys show FILE here, safeml-edge keys on the device; compare all digits.", [_signature_table(opened)], "There is no signature. Every device refuses this bundle."),
            part("Evidence", "The verdict that the recorded evidence gave when the bundle was made.", [_evidence_table(opened)]),
            part("Models", "What is audited is model int8; the others are forms of it for other versions of TensorRT.", [_models_table(opened)]),
            part("Tolerances", "Largest difference of a logit from the golden one, on the device. No golden image may change its class.", [_tolerance_table(opened)]),
            part("Devices", "A device that differs, or does not know, refuses the bundle.", [_device_table(manifest.constraints)]),
            part("What a device will refuse", "Before anything is written. Its settings and its keys are outside of the bundle.", [_refusal_table(opened)]),
            part("Files", f"{counted(len(manifest.files), 'file')}; a device compares each with its length and sha256.", [_file_table(manifest)]),
        ],
    )  # fmt: skip


def _state(opened: OpenedBundle) -> State:
    if not opened.signers:
        return UNSIGNED
    return OVERRIDDEN if opened.statement.override is not None else RELEASED


def _sentence(opened: OpenedBundle) -> str:
    statement = opened.statement
    reason = statement.override
    if reason is None:
        audit = "The full audit of the deployed INT8 file passed."
    else:
        words = statement.verdict.replace("_", " ")
        audit = (
            f"Released by override. Verdict {words}, {statement.profile} profile. Reason given: “{reason}”"
        )
    if opened.signers:
        return audit
    return f"{audit.rstrip('.')}. The bundle has no signature: it is for trials on this machine, and every device refuses it."


def _notes(opened: OpenedBundle) -> list[str]:
    notes = []
    if opened.statement.override is not None:
        notes.append("Devices refuse this bundle unless their own settings allow overrides.")
    if opened.manifest.monitor is None:
        notes.append("There is no monitor: a device never answers TRUST.")
    if FLOAT in opened.manifest.models and opened.manifest.float_monitor is None:
        notes.append(
            "There is no monitor of the float model: a device without fast INT8 never answers TRUST."
        )
    if opened.manifest.expires is None:
        notes.append("The bundle never expires: a device cannot notice that it is kept from newer releases.")
    if not opened.verified_by and opened.signers:
        notes.append("The signature was not verified when this page was made.")
    return notes


def _release_table(opened: OpenedBundle) -> Part:
    manifest = opened.manifest
    expires = "never" if manifest.expires is None else utc(manifest.expires)
    rows: list[list[Any]] = [
        ["Product", manifest.product],
        ["Release", cell(str(manifest.release), sub=f"version {manifest.version}")],
        ["Made", cell(utc(manifest.created), sub=f"expires {expires}")],
        ["File", cell(opened.path.name, sub=f"{number(opened.size)} bytes, sha256 {opened.sha256}")],
        ["Edge runtime", f"safeml-edge {_dotted(manifest.runtime)} or newer"],
        ["Input", _input(manifest)],
        ["Monitor", "fitted on the outputs of model int8" if manifest.monitor else "none: a device never answers TRUST"],
        *([["Monitor of the float model", _float_monitor(manifest)]] if FLOAT in manifest.models else []),
        ["Classes", cell(str(manifest.classes), sub=counted(manifest.features, "feature"))],
    ]  # fmt: skip
    return table(["What", "Value"], rows)


def _float_monitor(manifest: Manifest) -> Any:
    own = manifest.float_monitor
    if own is None:
        return "none, because the float model was not audited: a device without fast INT8 never answers TRUST"
    audit = f"verdict {own.verdict.replace('_', ' ')}, {own.profile} profile; results in {FLOAT_RESULTS_FILE}"
    return cell(
        "fitted on the outputs of model float",
        sub=f"{audit}; scores within {own.max_abs:g} of the golden ones",
    )


def _input(manifest: Manifest) -> str:
    entry = manifest.input
    text = f"{entry.height} × {entry.width} {entry.channels}, {entry.low:g} to {entry.high:g}"
    if entry.standardise:
        return f"{text}, each image standardised"
    return f"{text}, minus the mean and divided by std of each channel" if entry.mean else text


def _signature_table(opened: OpenedBundle) -> Part:
    rows: list[list[Any]] = []
    for keyid in opened.signers:
        checked = (
            "verified on this machine" if keyid in opened.verified_by else "not verified on this machine"
        )
        rows.append([cell(keyid, sub="sha256 of the 32 bytes of the public key"), checked])
    if not rows:
        rows.append(["no signature", "every device refuses the bundle"])
    return table(["Key", "State"], rows)


def _evidence_table(opened: OpenedBundle) -> Part:
    evidence, statement = opened.manifest.evidence, opened.statement
    gates = evidence.gates
    rows: list[list[Any]] = [
        ["Verdict", cell(evidence.verdict.replace("_", " "), sub=f"{evidence.profile} profile, rules {evidence.rules}, result {statement.result}")],
        ["Gates", f"{gates['passed']} passed, {gates['failed']} failed, {gates['not_proven']} not proven, {gates['waived']} waived"],
        *([["Override", cell(statement.override, sub="by the person who signed")]] if statement.override is not None else []),
        ["Failed", _listed(statement.failed)],
        ["Not proven or waived", _listed(statement.warned)],
        ["Passed", _listed(statement.passed)],
        ["Audited model", cell(evidence.model_fingerprint, sub="fingerprint of model int8")],
        ["results.json", cell(evidence.results_sha256, sub="sha256; the pages of the audit are in the folder audit/")],
    ]  # fmt: skip
    return table(["What", "Value"], rows)


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - LONGEST_LIST} more" if len(names) > LONGEST_LIST else ""
    return ", ".join(names[:LONGEST_LIST]) + more


def _models_table(opened: OpenedBundle) -> Part:
    sizes = {one.name: one.bytes for one in opened.manifest.files}
    rows: list[list[Any]] = [
        [
            model.key,
            cell(model.path, sub=f"fingerprint {short_hash(model.fingerprint)}"),
            _kind(model),
            cell(number(_size(model, sizes)), True),
        ]
        for model in opened.manifest.models.values()
    ]
    return table(["Key", "File", "Format", "Bytes"], rows, (3,))


def _kind(model: Model) -> dict[str, Any]:
    what = f"ONNX, opset {model.opset}" if model.kind == "onnx" else "SavedModel for TF-TRT"
    return cell(what, sub=f"{', '.join(model.inputs)} → {', '.join(model.outputs)}")


def _size(model: Model, sizes: dict[str, int]) -> int:
    if model.kind == "onnx":
        return sizes[model.path]
    return sum(size for name, size in sizes.items() if name.startswith(f"{model.path}/"))


def _tolerance_table(opened: OpenedBundle) -> Part:
    known = tolerances.read(opened.small[tolerances.FILE]) if tolerances.FILE in opened.small else {}
    rows = []
    limits = {key: one.max_abs for key, one in opened.manifest.golden.tolerances.items()}
    if opened.manifest.float_monitor is not None:
        limits[tolerances.FLOAT_SCORES] = opened.manifest.float_monitor.max_abs
    for key, limit in limits.items():
        record = known.get(key)
        if record is None:
            source = "not recorded"
        else:
            parts = "; ".join(f"{value:g} {name}" for name, value in record.measured.items())
            start = (
                "fixed by the settings; measured"
                if record.fixed
                else f"{tolerances.FACTOR:g} times the largest difference measured"
            )
            source = f"{start}: {parts}"
        rows.append([key, cell(f"{limit:g}", True), source])
    return table(["Precision", "Tolerance", "From"], rows, (1,))


def _device_table(constraints: Constraints) -> Part:
    rows = [
        ["Processor", ", ".join(constraints.architectures) or "any"],
        ["GPU, compute capability", ", ".join(constraints.compute_capabilities) or "any"],
        ["TensorRT", _span(constraints.tensorrt)],
        ["JetPack", _span(constraints.jetpack)],
        ["Memory", f"at least {number(constraints.memory_mb)} MiB" if constraints.memory_mb else "any"],
        ["ONNX Runtime on a PC", "GPU, TensorRT and JetPack do not count where the settings of the device choose it."],
    ]  # fmt: skip
    return table(["What", "Needed"], rows)


def _span(span: Range) -> str:
    least = [] if span.least is None else [f"from {_dotted(span.least)} on"]
    below = [] if span.below is None else [f"below {_dotted(span.below)}"]
    return ", ".join(least + below) or "any"


def _dotted(version: tuple[int, ...]) -> str:
    """Return a version with at least two numbers, as people write it."""
    return ".".join(map(str, (*version, 0) if len(version) == 1 else version))


def _refusal_table(opened: OpenedBundle) -> Part:
    """The reasons that depend on this bundle; docs/edge.md has all of them."""
    manifest = opened.manifest
    always = [] if opened.signers else ["unsigned"]
    rows = [
        *always,
        "unknown-key",
        "bad-signature",
        "wrong-product",
        "rollback",
        "same-release",
        "clock-behind",
        "expired" if manifest.expires is not None else "no-expiry",
        "runtime-too-old",
        "wrong-architecture",
        "wrong-compute-capability",
        "wrong-tensorrt",
        *([] if manifest.constraints.jetpack == Range(None, None) else ["wrong-jetpack"]),
        "too-little-memory",
        *(["override-not-allowed"] if opened.statement.override is not None else []),
        "hash-mismatch",
        "extra-bytes",
    ]
    return table(["Reason code", "When"], [[code, REASONS[code]] for code in rows])


def _file_table(manifest: Manifest) -> Part:
    rows: list[list[Any]] = [[one.name, cell(number(one.bytes), True), one.sha256] for one in manifest.files]
    return table(["File", "Bytes", "sha256"], rows, (1,))
